//! One session with one server: blocking, every byte under the test's control.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use zk_proto::header::xid;
use zk_proto::{
    ConnectRequest, ConnectResponse, OpCode, Reader, ReplyHeader, Request, RequestHeader, Response,
    WatcherEvent, Writer,
};

/// A watch event and the zxid in its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub zxid: i64,
    pub event: WatcherEvent,
}

/// What came back for one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The connection was closed instead.
    Closed,
    Answer {
        zxid: i64,
        err: i32,
        body: Option<Response>,
    },
}

pub struct Session {
    stream: TcpStream,
    pub id: i64,
    pub passwd: Bytes,
    pub timeout_ms: i32,
    next_xid: i32,
    /// Events that have come and were not looked at yet.
    pub events: Vec<Event>,
}

impl Session {
    /// Opens a new session (`id` 0) or takes one up again; `None` if the server refuses it.
    pub fn open(port: u16, id: i64, passwd: &[u8], timeout_ms: i32) -> Result<Option<Self>> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let passwd = Bytes::copy_from_slice(passwd);
        let mut session =
            Self { stream, id, passwd: passwd.clone(), timeout_ms, next_xid: 1, events: Vec::new() };
        let mut w = Writer::new();
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms,
            session_id: id,
            passwd,
            read_only: Some(false),
        };
        request.encode(&mut w);
        session.send_frame(w.as_slice())?;
        let frame = session.read_frame()?.context("closed during the handshake")?;
        let response = ConnectResponse::decode(&mut Reader::new(&frame))?;
        if response.session_id == 0 {
            return Ok(None);
        }
        session.id = response.session_id;
        session.passwd = response.passwd;
        session.timeout_ms = response.timeout_ms;
        Ok(Some(session))
    }

    /// Sends a request and reads up to its reply.
    pub fn ask(&mut self, request: &Request) -> Result<Reply> {
        let mut w = Writer::new();
        request.encode(&mut w);
        self.ask_raw(request.op() as i32, w.as_slice())
    }

    /// As [`Session::ask`] with an operation and a body that need not be any known request.
    pub fn ask_raw(&mut self, op: i32, body: &[u8]) -> Result<Reply> {
        let xid = match OpCode::from_code(op) {
            Some(OpCode::Ping) => xid::PING,
            Some(OpCode::Auth) => xid::AUTH,
            Some(OpCode::SetWatches | OpCode::SetWatches2) => xid::SET_WATCHES,
            _ => {
                self.next_xid += 1;
                self.next_xid
            }
        };
        let mut w = Writer::new();
        RequestHeader { xid, op }.encode(&mut w);
        w.raw(body);
        if self.send_frame(w.as_slice()).is_err() {
            return Ok(Reply::Closed);
        }
        loop {
            let Some(frame) = self.read_frame()? else { return Ok(Reply::Closed) };
            let mut r = Reader::new(&frame);
            let header = ReplyHeader::decode(&mut r)?;
            if header.xid == zk_proto::header::xid::NOTIFICATION {
                self.events.push(Event { zxid: header.zxid, event: WatcherEvent::decode(&mut r)? });
                continue;
            }
            ensure!(header.xid == xid, "reply {} to request {xid}", header.xid);
            let body = match OpCode::from_code(op) {
                Some(op) if header.err == 0 => Some(Response::decode_for(op, &mut r)?),
                _ => None,
            };
            ensure!(r.is_empty(), "{} bytes behind the reply to operation {op}", r.rest().len());
            return Ok(Reply::Answer { zxid: header.zxid, err: header.err, body });
        }
    }

    /// Breaks the connection; the session lives on until it expires.
    pub fn hang_up(&mut self) -> Result<()> {
        Ok(self.stream.shutdown(std::net::Shutdown::Both)?)
    }

    fn send_frame(&mut self, payload: &[u8]) -> std::io::Result<()> {
        let len = u32::try_from(payload.len()).expect("test frames are small");
        self.stream.write_all(&[&len.to_be_bytes(), payload].concat())
    }

    /// The next frame; `None` when the server has closed the connection.
    fn read_frame(&mut self) -> Result<Option<Vec<u8>>> {
        let mut len = [0; 4];
        match self.stream.read_exact(&mut len) {
            Ok(()) => {}
            Err(error) if is_closed(&error) => return Ok(None),
            Err(error) => return Err(error).context("no reply"),
        }
        let mut frame = vec![0; u32::from_be_bytes(len) as usize];
        self.stream.read_exact(&mut frame)?;
        Ok(Some(frame))
    }
}

fn is_closed(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}
