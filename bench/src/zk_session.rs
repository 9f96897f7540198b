//! A bare ZooKeeper session on a socket: what a load generator needs and nothing that costs it time.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zk_proto::{
    Acl, ConnectRequest, ConnectResponse, CreateKind, CreateRequest, Id, Reader, ReplyHeader, Request,
    RequestHeader, Writer, perms,
};

use crate::measure::{latencies, record};

const TIMEOUT_MS: i32 = 30_000;

/// What a session is taken up again with on another server.
#[derive(Debug, Clone)]
pub struct Ticket {
    id: i64,
    passwd: Bytes,
}

pub struct Session {
    stream: TcpStream,
    incoming: Vec<u8>,
    at: usize,
    next_xid: i32,
    pub ticket: Ticket,
}

impl Session {
    /// A new session.
    pub async fn open(server: SocketAddr) -> Result<Self> {
        let none = Ticket { id: 0, passwd: Bytes::from_static(&[0; 16]) };
        Self::resume(server, &none).await
    }

    /// Takes up a session again; an error if the server does not know it any more.
    pub async fn resume(server: SocketAddr, ticket: &Ticket) -> Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let ticket = ticket.clone();
        let mut session = Self { stream, incoming: Vec::new(), at: 0, next_xid: 1, ticket };
        let mut w = Writer::new();
        let frame = w.begin_frame();
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: TIMEOUT_MS,
            session_id: session.ticket.id,
            passwd: session.ticket.passwd.clone(),
            read_only: Some(false),
        }
        .encode(&mut w);
        w.end_frame(frame);
        session.stream.write_all(w.as_slice()).await?;
        let reply = session.frame().await?;
        let response = ConnectResponse::decode(&mut Reader::new(&reply))?;
        ensure!(response.session_id != 0 && response.timeout_ms > 0, "the server gave no session");
        session.ticket = Ticket { id: response.session_id, passwd: response.passwd };
        Ok(session)
    }

    /// Sends `count` requests, `in_flight` of them waiting at any time; `request` makes the one of a number.
    pub async fn pipeline(
        mut self,
        request: Rc<dyn Fn(usize) -> Request>,
        count: usize,
        in_flight: usize,
    ) -> Result<Histogram<u64>> {
        let mut latency = latencies();
        let mut sent_at = std::collections::VecDeque::with_capacity(in_flight);
        let mut out = Writer::new();
        let (mut sent, mut answered) = (0, 0);
        while answered < count {
            while sent < count && sent_at.len() < in_flight {
                self.encode(&mut out, &request(sent));
                sent_at.push_back(Instant::now());
                sent += 1;
            }
            self.stream.write_all(out.as_slice()).await?;
            out = Writer::with_capacity(out.len());
            // Whatever has come in is taken before more is sent, so that both ways travel in batches, as in service.
            self.reply().await?;
            let mut came = 1;
            while self.has_frame() {
                self.reply().await?;
                came += 1;
            }
            for begun in sent_at.drain(..came) {
                record(&mut latency, begun.elapsed());
            }
            answered += came;
        }
        Ok(latency)
    }

    /// One request and its answer, which must be no error.
    pub async fn ask(&mut self, request: &Request) -> Result<()> {
        let mut w = Writer::new();
        self.encode(&mut w, request);
        self.stream.write_all(w.as_slice()).await?;
        self.reply().await
    }

    fn encode(&mut self, w: &mut Writer, request: &Request) {
        let frame = w.begin_frame();
        RequestHeader { xid: self.next_xid, op: request.op() as i32 }.encode(w);
        request.encode(w);
        w.end_frame(frame);
        self.next_xid += 1;
    }

    async fn reply(&mut self) -> Result<()> {
        let frame = self.frame().await?;
        let header = ReplyHeader::decode(&mut Reader::new(&frame))?;
        ensure!(header.err == 0, "the server answered {}", header.err);
        Ok(())
    }

    /// The length of the frame at the front of what has come in, if it is whole.
    fn whole_frame(&self) -> Option<usize> {
        let rest = &self.incoming[self.at..];
        let len = u32::from_be_bytes(*rest.first_chunk()?) as usize;
        (rest.len() >= 4 + len).then_some(len)
    }

    fn has_frame(&self) -> bool {
        self.whole_frame().is_some()
    }

    async fn frame(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(len) = self.whole_frame() {
                let frame = self.incoming[self.at + 4..self.at + 4 + len].to_vec();
                self.at += 4 + len;
                return Ok(frame);
            }
            self.incoming.drain(..self.at);
            self.at = 0;
            if self.stream.read_buf(&mut self.incoming).await? == 0 {
                bail!("the server closed the connection");
            }
        }
    }
}

/// A node that anybody may do anything with.
pub fn create(path: String, data: &'static [u8]) -> Request {
    let anyone = Acl { perms: perms::ALL, id: Id { scheme: "world".into(), id: "anyone".into() } };
    Request::Create(CreateRequest {
        kind: CreateKind::Create,
        path,
        data: Some(Bytes::from_static(data)),
        acl: vec![anyone],
        flags: 0,
        ttl_ms: -1,
    })
}

pub fn set(path: String, data: &'static [u8]) -> Request {
    Request::SetData { path, data: Some(Bytes::from_static(data)), version: -1 }
}
