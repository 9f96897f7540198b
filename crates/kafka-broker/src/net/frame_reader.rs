//! Cuts a socket's byte stream into frames (`length i32 · payload`) in one reused buffer.
//!
//! Two invariants. A frame's payload is a slice of the connection's buffer: no copy, and no fresh pages once the
//! buffer has its size. And a length alone allocates nothing: the buffer grows as bytes arrive, so ten thousand
//! connections that announce 100 MB each cost ten thousand small buffers.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;
use tokio::io::AsyncReadExt;

/// Read-ahead while the next frame's length is unknown: enough for a handful of small requests a system call.
const READ_AHEAD_BYTES: usize = 16 * 1024;
/// First growth step towards a large frame; doubled as the bytes arrive.
const GROWTH_BYTES_MIN: usize = 4 * 1024;
/// What a connection without a buffer reads first: thousands of idle ones cost no buffers.
const FIRST_READ_BYTES: usize = 64;

/// Why a stream of frames ends early.
#[derive(Debug, Error)]
pub enum FrameError {
    /// Kafka's words: people search for them.
    #[error("Invalid receive (size = {size} larger than {limit})")]
    TooLarge { size: i64, limit: usize, start: [u8; 8] },
    #[error("Invalid receive (size = {size})")]
    Negative { size: i64, start: [u8; 8] },
    #[error("connection closed {missing} bytes before the end of a frame of {size}")]
    Truncated { size: usize, missing: usize },
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The reading side of one connection.
#[derive(Debug)]
pub struct FrameReader {
    buffer: BytesMut,
    limit: usize,
    /// Size of recent frames: what the buffer should hold, from its front, before one begins.
    recent_bytes: usize,
}

impl FrameReader {
    /// `limit` is the largest payload accepted (`socket.request.max.bytes`).
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), limit, recent_bytes: 0 }
    }

    /// The next payload, or `None` at a clean end of the stream. Cancel safe: what has been read stays in the buffer.
    ///
    /// The previous payload should have been dropped by then; while a part of it lives, a new buffer is taken.
    pub async fn next<S: AsyncReadExt + Unpin>(
        &mut self,
        stream: &mut S,
    ) -> Result<Option<Bytes>, FrameError> {
        // A buffer used up to its last byte has no capacity left either, but an allocation to take up again.
        if self.buffer.capacity() == 0 && self.recent_bytes == 0 {
            let mut first = [0; FIRST_READ_BYTES];
            let count = stream.read(&mut first).await?;
            if count == 0 {
                return Ok(None);
            }
            self.buffer.extend_from_slice(&first[..count]);
        }
        while self.buffer.len() < 4 {
            self.make_room();
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return match self.buffer.len() {
                    0 => Ok(None),
                    n => Err(FrameError::Truncated { size: 4, missing: 4 - n }),
                };
            }
        }
        let size = self.frame_size()?;
        while self.buffer.len() < 4 + size {
            let missing = 4 + size - self.buffer.len();
            let room = missing.min(self.buffer.len().max(GROWTH_BYTES_MIN));
            self.buffer.reserve(room);
            // Never beyond this frame: a large payload must not have to be moved to make room for the next one.
            if stream.read_buf(&mut (&mut self.buffer).limit(missing)).await? == 0 {
                return Err(FrameError::Truncated { size, missing });
            }
        }
        Ok(Some(self.cut(size)))
    }

    /// The next payload if all of it has been read already (a client that pipelines).
    pub fn buffered(&mut self) -> Result<Option<Bytes>, FrameError> {
        if self.buffer.len() < 4 {
            return Ok(None);
        }
        let size = self.frame_size()?;
        Ok((self.buffer.len() >= 4 + size).then(|| self.cut(size)))
    }

    fn cut(&mut self, size: usize) -> Bytes {
        self.buffer.advance(4);
        self.recent_bytes = (4 + size).max(self.recent_bytes - self.recent_bytes / 8);
        self.buffer.split_to(size).freeze()
    }

    /// Gives an empty buffer back; called when the connection has been quiet for a while.
    pub fn shrink(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
            self.recent_bytes = 0;
        }
    }

    /// Room to read into. With an empty buffer this takes up the allocation from its front again: a large frame then
    /// lies where the one before lay, in pages that are there already, and nothing has to be moved for it.
    fn make_room(&mut self) {
        let wanted =
            if self.buffer.is_empty() { self.recent_bytes + READ_AHEAD_BYTES } else { READ_AHEAD_BYTES };
        self.buffer.reserve(wanted);
    }

    fn frame_size(&self) -> Result<usize, FrameError> {
        let size = i32::from_be_bytes([self.buffer[0], self.buffer[1], self.buffer[2], self.buffer[3]]);
        let mut start = [0; 8];
        let known = self.buffer.len().min(8);
        start[..known].copy_from_slice(&self.buffer[..known]);
        match usize::try_from(size) {
            Ok(size) if size <= self.limit => Ok(size),
            Ok(_) => Err(FrameError::TooLarge { size: i64::from(size), limit: self.limit, start }),
            Err(_) => Err(FrameError::Negative { size: i64::from(size), start }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, ReadBuf};

    use super::*;

    fn framed(payload: &[u8]) -> Vec<u8> {
        let mut out = i32::try_from(payload.len()).expect("small").to_be_bytes().to_vec();
        out.extend_from_slice(payload);
        out
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("runtime").block_on(future)
    }

    #[test]
    fn frames_come_out_whole_and_in_order_however_they_arrive() {
        let big: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
        let stream = [framed(b"one"), framed(b""), framed(&big), framed(b"two")].concat();
        run(async {
            let mut reader = FrameReader::new(1 << 20);
            let mut chunks = stream.as_slice();
            for expect in [b"one".as_slice(), b"", &big, b"two"] {
                let frame = reader.next(&mut chunks).await.expect("frame").expect("more");
                assert_eq!(frame, expect);
            }
            assert!(reader.next(&mut chunks).await.expect("end").is_none());
        });
    }

    #[test]
    fn a_frame_lies_where_the_one_before_lay() {
        let stream = [framed(&[1; 100_000]), framed(&[2; 100_000]), framed(&[3; 100_000])].concat();
        run(async {
            let mut reader = FrameReader::new(1 << 20);
            let mut chunks = stream.as_slice();
            drop(reader.next(&mut chunks).await.expect("first"));
            let second = reader.next(&mut chunks).await.expect("second").expect("more").as_ptr();
            let third = reader.next(&mut chunks).await.expect("third").expect("more").as_ptr();
            assert_eq!(second, third);
        });
    }

    /// Yields a frame a read, as a client does that waits for each reply, and counts the reads.
    struct OneByOne {
        frames: std::vec::IntoIter<Vec<u8>>,
        current: Vec<u8>,
        reads: usize,
    }

    impl AsyncRead for OneByOne {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.reads += 1;
            if self.current.is_empty() {
                self.current = self.frames.next().unwrap_or_default();
            }
            let count = into.remaining().min(self.current.len());
            into.put_slice(&self.current[..count]);
            self.current.drain(..count);
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn small_frames_take_one_read_each_from_the_second_on() {
        for size in [190, 1000, 30_000] {
            let frames: Vec<_> = (0..20).map(|_| framed(&vec![1; size])).collect();
            let mut stream = OneByOne { frames: frames.into_iter(), current: Vec::new(), reads: 0 };
            run(async {
                let mut reader = FrameReader::new(1 << 20);
                drop(reader.next(&mut stream).await.expect("first"));
                let reads_before = stream.reads;
                for _ in 1..20 {
                    drop(reader.next(&mut stream).await.expect("a frame"));
                }
                assert_eq!(stream.reads - reads_before, 19, "frames of {size}");
            });
        }
    }

    #[test]
    fn frames_read_ahead_are_there_without_waiting() {
        let stream = [framed(b"one"), framed(b"two"), framed(b"three")[..6].to_vec()].concat();
        run(async {
            let mut reader = FrameReader::new(1 << 20);
            assert!(reader.buffered().expect("nothing yet").is_none());
            let first = reader.next(&mut stream.as_slice()).await.expect("a frame").expect("more");
            assert_eq!(first, &b"one"[..]);
            assert_eq!(reader.buffered().expect("whole").expect("buffered"), &b"two"[..]);
            assert!(reader.buffered().expect("incomplete").is_none());
        });
    }

    #[test]
    fn a_quiet_connection_keeps_no_buffer() {
        run(async {
            let mut reader = FrameReader::new(1 << 20);
            drop(reader.next(&mut framed(&[1; 1000]).as_slice()).await.expect("a frame"));
            reader.shrink();
            assert_eq!(reader.buffer.capacity(), 0);
            assert_eq!(
                reader.next(&mut framed(b"again").as_slice()).await.expect("a frame").expect("more"),
                &b"again"[..]
            );
        });
    }

    #[test]
    fn a_lying_length_allocates_little() {
        run(async {
            let mut reader = FrameReader::new(100 << 20);
            let lying = [(90i32 << 20).to_be_bytes().to_vec(), vec![0; 10]].concat();
            let error = reader.next(&mut lying.as_slice()).await.expect_err("truncated");
            assert!(matches!(error, FrameError::Truncated { .. }), "{error}");
            assert!(reader.buffer.capacity() < 16 << 10);
        });
    }

    #[test]
    fn lengths_outside_the_limit_are_refused_with_kafkas_words() {
        run(async {
            let error =
                FrameReader::new(100).next(&mut b"GET / HTTP/1.1".as_slice()).await.expect_err("http");
            assert_eq!(error.to_string(), "Invalid receive (size = 1195725856 larger than 100)");
            let error = FrameReader::new(100).next(&mut [0xff; 8].as_slice()).await.expect_err("negative");
            assert_eq!(error.to_string(), "Invalid receive (size = -1)");
            let error =
                FrameReader::new(100).next(&mut [0, 0, 0, 101].as_slice()).await.expect_err("one over");
            assert!(matches!(error, FrameError::TooLarge { size: 101, .. }));
        });
    }
}
