//! One connection to one broker: frames out, frames in, in order.
//!
//! Requests may overlap; the broker answers in order, and each answer is matched with the oldest open request.
//! A call that is dropped does no harm: its answer is read and thrown away. Two tasks serve the
//! connection so that no caller's cancellation can leave half a frame on the socket.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use bytes::Bytes;
use kafka_proto::ErrorCode;
use kafka_proto::frame;
use kafka_proto::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_proto::messages::{ApiKey, Message, Request};
use kafka_proto::wire::{Reader, WireError};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::ClientError;
use crate::options::ClientOptions;
use crate::versions::ApiVersions;

/// Frames waiting for the socket; callers wait when it is full.
const OUTGOING_MAX: usize = 16;
/// The ApiVersions version asked first; older brokers answer it with error 35 in version 0 (KIP-511).
const API_VERSIONS_FIRST: i16 = 3;

/// An open connection that knows what its broker serves.
pub struct Connection {
    address: String,
    options: Arc<ClientOptions>,
    versions: ApiVersions,
    next_correlation_id: AtomicI32,
    outgoing: mpsc::Sender<Bytes>,
    shared: Arc<Mutex<Shared>>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Default)]
struct Shared {
    /// Open requests, oldest first.
    waiting: VecDeque<(i32, oneshot::Sender<Bytes>)>,
    /// Why the connection is of no more use.
    dead: Option<String>,
}

impl Shared {
    fn fail(&mut self, reason: String) {
        self.dead.get_or_insert(reason);
        self.waiting.clear();
    }
}

impl Connection {
    /// Connects and asks for the versions the broker serves.
    pub async fn open(address: &str, options: Arc<ClientOptions>) -> Result<Self, ClientError> {
        let wait = options.connect_timeout;
        let connected = timeout(wait, TcpStream::connect(address)).await;
        let refused = |source| ClientError::Connect { address: address.to_owned(), source };
        let stream = connected.map_err(|_| refused(std::io::ErrorKind::TimedOut.into()))?.map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        let mut connection = Self::serve(stream, address, options);
        connection.versions = connection.negotiate().await?;
        Ok(connection)
    }

    fn serve(stream: TcpStream, address: &str, options: Arc<ClientOptions>) -> Self {
        let (read, write) = stream.into_split();
        let (outgoing, frames) = mpsc::channel(OUTGOING_MAX);
        let shared = Arc::new(Mutex::new(Shared::default()));
        let limit = options.response_bytes_max;
        let tasks = [
            tokio::spawn(write_frames(write, frames, Arc::clone(&shared))),
            tokio::spawn(read_frames(read, limit, Arc::clone(&shared))),
        ];
        Self {
            address: address.to_owned(),
            options,
            versions: ApiVersions::default(),
            next_correlation_id: AtomicI32::new(1),
            outgoing,
            shared,
            tasks,
        }
    }

    pub fn is_alive(&self) -> bool {
        self.shared.lock().dead.is_none()
    }

    /// The version a request of this type would go out in.
    pub fn pick<R: Request>(&self) -> Result<i16, ClientError> {
        self.versions.pick::<R>().map_err(|detail| ClientError::Unsupported {
            address: self.address.clone(),
            api: R::API,
            detail,
        })
    }

    /// Sends a request and waits for its answer, both in `version`.
    pub async fn call<R: Request>(&self, request: &R, version: i16) -> Result<R::Response, ClientError> {
        let answer = self.exchange(request, version).await?;
        let decoded = frame::decode_response::<R>(answer, version);
        decoded.map(|(_, response)| response).map_err(wire(R::API, version))
    }

    /// Sends a request and yields the answer's frame, header included.
    async fn exchange<R: Request>(&self, request: &R, version: i16) -> Result<Bytes, ClientError> {
        let id = self.next_correlation_id.fetch_add(1, Ordering::Relaxed);
        let client_id = Some(self.options.client_id.as_str());
        let frame = frame::encode_request(request, version, id, client_id);
        let frame = frame.map_err(wire(R::API, version))?;
        let frame = frame.to_bytes().expect("requests hold no file regions");
        let wait = self.options.request_timeout;
        match timeout(wait, self.send(id, frame)).await {
            Ok(answer) => answer,
            Err(_) => {
                let what = format!("{} to {}", R::API, self.address);
                self.shared.lock().fail(format!("{what} got no answer"));
                Err(ClientError::Timeout { what, after_ms: wait.as_millis() })
            }
        }
    }

    async fn send(&self, id: i32, frame: Bytes) -> Result<Bytes, ClientError> {
        let permit = self.outgoing.reserve().await.map_err(|_| self.lost())?;
        let (sender, answer) = oneshot::channel();
        {
            // Queueing the frame and its waiter is one step: answers come in the order of the frames.
            let mut shared = self.shared.lock();
            if shared.dead.is_some() {
                drop(shared);
                return Err(self.lost());
            }
            shared.waiting.push_back((id, sender));
            permit.send(frame);
        }
        answer.await.map_err(|_| self.lost())
    }

    fn lost(&self) -> ClientError {
        let reason = self.shared.lock().dead.clone();
        ClientError::ConnectionLost {
            address: self.address.clone(),
            reason: reason.unwrap_or_else(|| "it was closed".into()),
        }
    }

    async fn negotiate(&self) -> Result<ApiVersions, ClientError> {
        let request = ApiVersionsRequest {
            client_software_name: "zoolog".into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
        };
        let mut version = API_VERSIONS_FIRST;
        loop {
            let answer = self.exchange(&request, version).await?;
            let response = decode_api_versions(answer, version);
            let response = response.map_err(wire(ApiKey::ApiVersions, version))?;
            match ErrorCode::from_code(response.error_code) {
                ErrorCode::None => return Ok(ApiVersions::from_response(&response)),
                ErrorCode::UnsupportedVersion if version > 0 => {
                    let known = ApiVersions::from_response(&response);
                    let max = known.range(ApiKey::ApiVersions).map_or(0, |(_, max)| max);
                    version = max.clamp(0, version - 1);
                }
                code => {
                    return Err(ClientError::Code {
                        what: format!("asking {} for its versions", self.address),
                        code,
                        message: None,
                    });
                }
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// An unsupported version is answered in version 0, whatever was asked (KIP-511).
fn decode_api_versions(frame: Bytes, version: i16) -> Result<ApiVersionsResponse, WireError> {
    let mut r = Reader::new(frame);
    r.i32()?;
    let code = r.clone().i16()?;
    let unsupported = code == ErrorCode::UnsupportedVersion.code();
    ApiVersionsResponse::decode(&mut r, if unsupported { 0 } else { version })
}

fn wire(api: ApiKey, version: i16) -> impl FnOnce(WireError) -> ClientError {
    move |source| ClientError::Wire { api, version, source }
}

async fn write_frames(
    mut socket: OwnedWriteHalf,
    mut frames: mpsc::Receiver<Bytes>,
    shared: Arc<Mutex<Shared>>,
) {
    while let Some(frame) = frames.recv().await {
        if let Err(e) = socket.write_all(&frame).await {
            shared.lock().fail(e.to_string());
            return;
        }
    }
}

async fn read_frames(mut socket: OwnedReadHalf, limit: usize, shared: Arc<Mutex<Shared>>) {
    let reason = loop {
        let frame = match read_frame(&mut socket, limit).await {
            Ok(frame) => frame,
            Err(reason) => break reason,
        };
        let Some(id) = frame::response_correlation_id(&frame) else {
            break "it sent a frame without a header".into();
        };
        let oldest = shared.lock().waiting.pop_front();
        match oldest {
            Some((expected, waiter)) if expected == id => drop(waiter.send(frame)),
            Some((expected, _)) => break format!("it answered request {id} instead of {expected}"),
            None => break format!("it answered request {id}, which was not asked"),
        }
    };
    shared.lock().fail(reason);
}

/// The next frame, or why there is none.
async fn read_frame(socket: &mut OwnedReadHalf, limit: usize) -> Result<Bytes, String> {
    let len = match socket.read_i32().await {
        Ok(len) => len,
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            return Err("the broker closed it".into());
        }
        Err(e) => return Err(e.to_string()),
    };
    let len = usize::try_from(len).ok().filter(|len| *len <= limit);
    let len = len.ok_or("it sent a frame of an impossible length: does it speak Kafka?")?;
    // Grows with the bytes that really come, not with what the length claims.
    let mut frame = Vec::with_capacity(len.min(64 * 1024));
    let got = socket.take(len as u64).read_to_end(&mut frame).await;
    match got {
        Ok(n) if n == len => Ok(frame.into()),
        Ok(n) => Err(format!("the broker closed it after {n} of {len} bytes of a frame")),
        Err(e) => Err(e.to_string()),
    }
}
