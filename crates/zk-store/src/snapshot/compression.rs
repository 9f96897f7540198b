//! How a snapshot's bytes lie in its file (`snapshot.compression.method`).

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::snappy_java::{SnappyJavaReader, SnappyJavaWriter};

const BUFFER_BYTES: usize = 256 << 10;

/// The compression, told by the file name's extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    #[default]
    None,
    Gzip,
    /// In snappy-java's framing, not the standard one.
    Snappy,
}

impl Compression {
    /// With its dot; empty for none.
    pub fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Snappy => ".snappy",
        }
    }

    /// The value of `snapshot.compression.method`; anything unknown means none, as in Apache.
    pub fn from_config(value: &str) -> Self {
        Self::from_extension(Some(&value.to_ascii_lowercase())).unwrap_or_default()
    }

    pub(crate) fn from_extension(extension: Option<&str>) -> Option<Self> {
        match extension {
            None => Some(Self::None),
            Some("gz") => Some(Self::Gzip),
            Some("snappy") => Some(Self::Snappy),
            Some(_) => None,
        }
    }
}

/// Writes to the file, compressing on the way.
pub(super) enum Sink {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
    Snappy(Box<SnappyJavaWriter<BufWriter<File>>>),
}

impl Sink {
    pub(super) fn new(file: File, compression: Compression) -> io::Result<Self> {
        let out = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(match compression {
            Compression::None => Self::Plain(out),
            Compression::Gzip => Self::Gzip(Box::new(GzEncoder::new(out, flate2::Compression::default()))),
            Compression::Snappy => Self::Snappy(Box::new(SnappyJavaWriter::new(out)?)),
        })
    }

    /// Ends the compressed stream and gives back the file, all bytes handed to the kernel.
    pub(super) fn finish(self) -> io::Result<File> {
        let out = match self {
            Self::Plain(out) => out,
            Self::Gzip(gz) => gz.finish()?,
            Self::Snappy(snappy) => snappy.finish()?,
        };
        out.into_inner().map_err(|e| e.into_error())
    }
}

impl Write for Sink {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(buf),
            Self::Gzip(out) => out.write(buf),
            Self::Snappy(out) => out.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Gzip(out) => out.flush(),
            Self::Snappy(out) => out.flush(),
        }
    }
}

/// The uncompressed bytes of a file.
pub(super) fn source(file: File, compression: Compression) -> io::Result<Box<dyn Read>> {
    let input = BufReader::with_capacity(BUFFER_BYTES, file);
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(input))),
        Compression::Snappy => Box::new(SnappyJavaReader::new(input)?),
    })
}
