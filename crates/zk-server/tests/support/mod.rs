//! A server over a temporary directory and a client that waits for each answer.

#![allow(dead_code, clippy::unwrap_used)]

pub mod trio;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use properties::Properties;
use zk_proto::{
    Acl, ConnectRequest, ConnectResponse, CreateKind, CreateRequest, ErrorCode, Reader, ReplyHeader, Request,
    RequestHeader, Response, Writer,
};
use zk_server::{Config, Handle, StartError, SystemProperties, start};

/// Longer than anything here takes; only a hang meets it.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn config(dir: &Path, more: &str) -> Config {
    let text = format!(
        "dataDir={}\nclientPort=0\nclientPortAddress=127.0.0.1\ntickTime=2000\npreAllocSize=64\n{more}",
        dir.display()
    );
    Config::from_properties(&Properties::parse(&text).unwrap(), &SystemProperties::new()).unwrap()
}

pub fn serve(dir: &Path, more: &str) -> Handle {
    try_serve(dir, more).unwrap()
}

pub fn try_serve(dir: &Path, more: &str) -> Result<Handle, StartError> {
    start(config(dir, more))
}

pub fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Asks a four-letter word.
pub fn word(address: SocketAddr, word: &str) -> String {
    let mut stream = dial(address);
    stream.write_all(word.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// The same of a server that may hang up.
pub fn try_word(address: SocketAddr, word: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(word.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

pub fn read_frame(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

pub struct Client {
    pub stream: TcpStream,
    pub session: ConnectResponse,
    xid: i32,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::renew(address, 0, &[0; 16])
    }

    /// A session that only reads.
    pub fn read_only(address: SocketAddr) -> Self {
        Self::open(address, 0, &[0; 16], true).unwrap()
    }

    pub fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        Self::open(address, 0, &[0; 16], false)
    }

    pub fn renew(address: SocketAddr, session_id: i64, passwd: &[u8]) -> Self {
        Self::open(address, session_id, passwd, false).unwrap()
    }

    fn open(address: SocketAddr, session_id: i64, passwd: &[u8], read_only: bool) -> std::io::Result<Self> {
        let mut stream = dial(address);
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: 30_000,
            session_id,
            passwd: Bytes::copy_from_slice(passwd),
            read_only: Some(read_only),
        };
        let mut w = Writer::new();
        let at = w.begin_frame();
        request.encode(&mut w);
        w.end_frame(at);
        stream.write_all(w.as_slice())?;
        let frame = read_frame(&mut stream)?;
        let session = ConnectResponse::decode(&mut Reader::new(&frame)).unwrap();
        Ok(Self { stream, session, xid: 0 })
    }

    pub fn send(&mut self, request: &Request) {
        self.xid += 1;
        let mut w = Writer::new();
        let at = w.begin_frame();
        RequestHeader { xid: self.xid, op: request.op().code() }.encode(&mut w);
        request.encode(&mut w);
        w.end_frame(at);
        self.stream.write_all(w.as_slice()).unwrap();
    }

    /// The next reply for a request of this kind.
    pub fn receive(&mut self, request: &Request) -> std::io::Result<Result<Response, ErrorCode>> {
        loop {
            let frame = read_frame(&mut self.stream)?;
            let mut r = Reader::new(&frame);
            let header = ReplyHeader::decode(&mut r).unwrap();
            if header.xid == -1 {
                continue;
            }
            return Ok(match ErrorCode::from_code(header.err).unwrap() {
                ErrorCode::Ok => Ok(Response::decode_for(request.op(), &mut r).unwrap()),
                err => Err(err),
            });
        }
    }

    pub fn call(&mut self, request: &Request) -> Result<Response, ErrorCode> {
        self.send(request);
        self.receive(request).unwrap()
    }
}

pub fn create(path: &str, data: &[u8]) -> Request {
    create_with(path, data, 0)
}

pub fn create_with(path: &str, data: &[u8], flags: i32) -> Request {
    Request::Create(CreateRequest {
        kind: CreateKind::Create,
        path: path.to_owned(),
        data: Some(Bytes::copy_from_slice(data)),
        acl: Acl::open(),
        flags,
        ttl_ms: -1,
    })
}

pub fn get(path: &str) -> Request {
    Request::GetData { path: path.to_owned(), watch: false }
}

pub fn data(response: Result<Response, ErrorCode>) -> Vec<u8> {
    match response {
        Ok(Response::Data { data, .. }) => data.unwrap_or_default().to_vec(),
        other => panic!("data was expected, not {other:?}"),
    }
}
