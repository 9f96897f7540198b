//! A socket as frames: a length i32 and as many bytes.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

const READ_BYTES: usize = 64 << 10;

pub(super) struct Wire {
    stream: TcpStream,
    input: BytesMut,
    output: BytesMut,
    frame_bytes_max: usize,
}

/// Both may be waited for at the same time.
pub(super) struct Input<'a> {
    socket: ReadHalf<'a>,
    buffer: &'a mut BytesMut,
}

pub(super) struct Output<'a> {
    socket: WriteHalf<'a>,
    buffer: &'a mut BytesMut,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, frame_bytes_max: usize) -> Self {
        Self { stream, input: BytesMut::new(), output: BytesMut::new(), frame_bytes_max }
    }

    pub(super) fn queue(&mut self, bytes: Vec<u8>) {
        self.output.extend_from_slice(&bytes);
    }

    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    pub(super) fn output_bytes(&self) -> usize {
        self.output.len()
    }

    pub(super) fn halves(&mut self) -> (Input<'_>, Output<'_>) {
        let (reader, writer) = self.stream.split();
        (
            Input { socket: reader, buffer: &mut self.input },
            Output { socket: writer, buffer: &mut self.output },
        )
    }

    /// The next whole frame that was read, without its length.
    pub(super) fn next_frame(&mut self) -> Result<Option<Bytes>, String> {
        let Some(head) = self.input.first_chunk::<4>() else { return Ok(None) };
        let length = i32::from_be_bytes(*head);
        let Some(bytes) = usize::try_from(length).ok().filter(|n| *n <= self.frame_bytes_max) else {
            return Err(format!("frame of {length} bytes, at most {} are taken", self.frame_bytes_max));
        };
        if self.input.len() < 4 + bytes {
            return Ok(None);
        }
        self.input.advance(4);
        Ok(Some(self.input.split_to(bytes).freeze()))
    }
}

impl Input<'_> {
    /// Cancelling loses nothing.
    pub(super) async fn read(&mut self) -> Result<(), String> {
        self.buffer.reserve(READ_BYTES);
        match self.socket.read_buf(self.buffer).await {
            Ok(0) => Err("the server closed the connection".into()),
            Ok(_) => Ok(()),
            Err(e) => Err(e.to_string()),
        }
    }
}

impl Output<'_> {
    /// Cancelling loses nothing.
    pub(super) async fn write(&mut self) -> Result<(), String> {
        let written = self.socket.write(self.buffer).await.map_err(|e| e.to_string())?;
        self.buffer.advance(written);
        Ok(())
    }
}
