//! Writes responses: memory in one vectored write, ranges of log files with sendfile.
//!
//! From 32 KiB on the file's pages go to the socket without passing through memory (twice the bytes per CPU second at
//! 1 MiB); smaller ranges are read and written together with what stands before them, one system call instead of three.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use bytes::{Buf, Bytes, BytesMut};
use kafka_proto::wire::{Chunk, FileRegion};
use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Ranges below this are copied.
const SENDFILE_BYTES_MIN: usize = 32 * 1024;
/// Most one sendfile call moves: keeps a fast reader from holding a worker for long.
const SENDFILE_BYTES_MAX: usize = 1 << 20;
/// Cold ranges are read in steps of this.
const WARM_STEP_BYTES: usize = 256 * 1024;
/// Slices in one vectored write.
const SLICES_MAX: usize = 64;

/// Sends `chunks` completely, in order.
///
/// # Errors
/// Socket errors; `UnexpectedEof` if a file is shorter than its range says (truncated since), after which the stream
/// is out of step and must be closed.
pub async fn send(stream: &TcpStream, chunks: Vec<Chunk>) -> io::Result<()> {
    let mut pending: Vec<Bytes> = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        match chunk {
            Chunk::Bytes(bytes) => pending.push(bytes),
            Chunk::File(region) if region.len < SENDFILE_BYTES_MIN => pending.push(read_region(&region)?),
            Chunk::File(region) => {
                warm(&region).await;
                write_all(stream, std::mem::take(&mut pending), SendFlags::MORE).await?;
                send_file(stream, &region).await?;
            }
        }
    }
    write_all(stream, pending, SendFlags::empty()).await
}

fn read_region(region: &FileRegion) -> io::Result<Bytes> {
    let mut buffer = BytesMut::zeroed(region.len);
    region.file.read_exact_at(&mut buffer, region.offset)?;
    Ok(buffer.freeze())
}

async fn write_all(stream: &TcpStream, chunks: Vec<Bytes>, flags: SendFlags) -> io::Result<()> {
    let mut chunks = std::collections::VecDeque::from(chunks);
    loop {
        while chunks.front().is_some_and(Bytes::is_empty) {
            chunks.pop_front();
        }
        if chunks.is_empty() {
            return Ok(());
        }
        stream.writable().await?;
        match stream.try_io(Interest::WRITABLE, || write_once(stream, &chunks, flags)) {
            Ok(written) => consume(&mut chunks, written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

fn write_once(
    stream: &TcpStream,
    chunks: &std::collections::VecDeque<Bytes>,
    flags: SendFlags,
) -> io::Result<usize> {
    if let (1, Some(only)) = (chunks.len(), chunks.front()) {
        return Ok(rustix::net::send(stream.as_fd(), only, flags | SendFlags::NOSIGNAL)?);
    }
    let slices: Vec<IoSlice<'_>> = chunks.iter().take(SLICES_MAX).map(|chunk| IoSlice::new(chunk)).collect();
    let mut control = rustix::net::SendAncillaryBuffer::default();
    Ok(rustix::net::sendmsg(stream.as_fd(), &slices, &mut control, flags | SendFlags::NOSIGNAL)?)
}

fn consume(chunks: &mut std::collections::VecDeque<Bytes>, mut written: usize) {
    while let Some(front) = chunks.front_mut() {
        if written < front.len() {
            front.advance(written);
            return;
        }
        written -= front.len();
        chunks.pop_front();
    }
}

/// Brings a cold range into the page cache on the blocking pool: sendfile would wait for the disk on a thread that
/// serves other connections too. Two probes that never block tell cold from warm.
async fn warm(region: &FileRegion) {
    let cached = |offset: u64| {
        let mut byte = [0u8];
        let mut into = [IoSliceMut::new(&mut byte)];
        let probe =
            rustix::io::preadv2(region.file.as_fd(), &mut into, offset, rustix::io::ReadWriteFlags::NOWAIT);
        // Whatever else goes wrong shows in sendfile.
        !matches!(probe, Err(rustix::io::Errno::AGAIN))
    };
    if cached(region.offset) && cached(region.offset + region.len as u64 - 1) {
        return;
    }
    let region = region.clone();
    let read_through = move || {
        let mut scratch = vec![0; region.len.min(WARM_STEP_BYTES)];
        let mut done = 0;
        while done < region.len {
            let step = scratch.len().min(region.len - done);
            match region.file.read_at(&mut scratch[..step], region.offset + done as u64) {
                Ok(read @ 1..) => done += read,
                _ => return,
            }
        }
    };
    let _ = tokio::task::spawn_blocking(read_through).await;
}

async fn send_file(stream: &TcpStream, region: &FileRegion) -> io::Result<()> {
    let mut offset = region.offset;
    let end = region.offset + region.len as u64;
    while offset < end {
        let count = usize::try_from(end - offset).unwrap_or(usize::MAX).min(SENDFILE_BYTES_MAX);
        let once =
            || Ok(rustix::fs::sendfile(stream.as_fd(), region.file.as_fd(), Some(&mut offset), count)?);
        stream.writable().await?;
        match stream.try_io(Interest::WRITABLE, once) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::sync::Arc;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn sent(chunks: Vec<Chunk>) -> io::Result<Vec<u8>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let reader = tokio::spawn(async move {
            let mut got = Vec::new();
            TcpStream::connect(address).await?.read_to_end(&mut got).await?;
            Ok::<_, io::Error>(got)
        });
        let (stream, _) = listener.accept().await?;
        let outcome = send(&stream, chunks).await;
        drop(stream);
        let got = reader.await.map_err(io::Error::other)??;
        outcome.map(|()| got)
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime").block_on(future)
    }

    fn file_of(bytes: &[u8]) -> Arc<File> {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(bytes).expect("written");
        Arc::new(file)
    }

    #[test]
    fn memory_small_ranges_and_large_ranges_arrive_in_order() {
        let content: Vec<u8> = (0..3_000_000u32).map(|n| (n / 7) as u8).collect();
        let file = file_of(&content);
        let region = |offset: u64, len| Chunk::File(FileRegion { file: file.clone(), offset, len });
        let chunks = vec![
            Chunk::Bytes(Bytes::from_static(b"head")),
            region(5, 100),
            Chunk::Bytes(Bytes::from_static(b"mid")),
            region(1000, 2_500_000),
            Chunk::Bytes(Bytes::from_static(b"tail")),
        ];
        let expect =
            [b"head".as_slice(), &content[5..105], b"mid", &content[1000..2_501_000], b"tail"].concat();
        let got = run(sent(chunks)).expect("sent");
        assert!(got == expect, "{} bytes arrived, {} were sent", got.len(), expect.len());
    }

    #[test]
    fn a_file_that_shrank_is_an_error_not_a_hang() {
        let region = FileRegion { file: file_of(&[0; 1000]), offset: 0, len: 100_000 };
        let error = run(sent(vec![Chunk::File(region)])).expect_err("short");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
