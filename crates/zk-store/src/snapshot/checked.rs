//! Streams that keep the running Adler-32 of what passed.

use std::io::{self, Read, Write};

use simd_adler32::Adler32;

/// Counts and sums what is written.
pub(super) struct CheckedWriter<W> {
    inner: W,
    sum: Adler32,
    bytes: u64,
}

impl<W: Write> CheckedWriter<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, sum: Adler32::new(), bytes: 0 }
    }

    pub(super) fn checksum(&self) -> i64 {
        i64::from(self.sum.finish())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> Write for CheckedWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.sum.write(&buf[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Counts and sums what is read. The source should be buffered: reads are small.
pub(super) struct CheckedReader<R> {
    inner: R,
    sum: Adler32,
    position: u64,
}

impl<R: Read> CheckedReader<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, sum: Adler32::new(), position: 0 }
    }

    pub(super) fn checksum(&self) -> i64 {
        i64::from(self.sum.finish())
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }
}

impl<R: Read> Read for CheckedReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.sum.write(&buf[..n]);
        self.position += n as u64;
        Ok(n)
    }
}
