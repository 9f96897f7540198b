//! Replies not sent yet: those to requests that were read together go out together, one system call and one wake-up of
//! the client instead of many.

use std::io;

use kafka_proto::wire::{Chunk, Frame};
use tokio::net::TcpStream;

use super::send;

/// Replies that wait for each other at most.
const REPLIES_MAX: usize = 32;
/// Bytes of memory that wait at most.
const BYTES_MAX: usize = 64 * 1024;

/// Replies in the order of their requests.
#[derive(Debug, Default)]
pub struct Outbox {
    chunks: Vec<Chunk>,
    replies: usize,
    bytes: usize,
}

impl Outbox {
    pub fn put(&mut self, reply: Frame) {
        self.replies += 1;
        self.bytes += reply.len;
        self.chunks.extend(reply.chunks);
    }

    /// Whether it must be sent before another request is served.
    pub fn is_full(&self) -> bool {
        self.replies >= REPLIES_MAX || self.bytes >= BYTES_MAX
    }

    /// Sends everything.
    pub async fn send(&mut self, stream: &TcpStream) -> io::Result<()> {
        if self.chunks.is_empty() {
            return Ok(());
        }
        (self.replies, self.bytes) = (0, 0);
        send(stream, std::mem::take(&mut self.chunks)).await
    }
}
