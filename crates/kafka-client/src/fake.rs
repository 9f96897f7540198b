//! A broker for tests: a listener whose answers a closure decides.

use std::sync::Arc;

use kafka_proto::frame::{RequestHeader, encode_response_header};
use kafka_proto::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use kafka_proto::messages::metadata::{MetadataResponse, MetadataResponseBroker};
use kafka_proto::messages::{ApiKey, RequestBody, ResponseBody};
use kafka_proto::wire::{Reader, Writer};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the broker does with a request.
pub enum Reply {
    Respond(ResponseBody),
    /// Answers in another version than the request's.
    RespondIn(i16, ResponseBody),
    /// Closes the connection after these bytes.
    Break(Vec<u8>),
    Silence,
}

type Script = dyn Fn(&RequestHeader, Option<RequestBody>) -> Reply + Send + Sync;

/// A listening broker. It lives as long as the test's runtime.
pub struct Fake {
    pub port: u16,
    /// What was asked, in order: API and version.
    pub log: Arc<Mutex<Vec<(ApiKey, i16)>>>,
}

impl Fake {
    /// Answers on `listener` as `script` says. Requests in versions we do not know have no body.
    pub fn serve(
        listener: TcpListener,
        script: impl Fn(&RequestHeader, Option<RequestBody>) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let port = listener.local_addr().unwrap().port();
        let script: Arc<Script> = Arc::new(script);
        let log = Arc::new(Mutex::new(Vec::new()));
        let fake = Self { port, log: Arc::clone(&log) };
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(converse(socket, Arc::clone(&script), Arc::clone(&log)));
            }
        });
        fake
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How often an API was asked.
    pub fn asked(&self, api: ApiKey) -> usize {
        self.log.lock().iter().filter(|(a, _)| *a == api).count()
    }
}

async fn converse(mut socket: TcpStream, script: Arc<Script>, log: Arc<Mutex<Vec<(ApiKey, i16)>>>) {
    while let Ok(len) = socket.read_i32().await {
        let mut frame = vec![0; len as usize];
        socket.read_exact(&mut frame).await.unwrap();
        let mut r = Reader::new(frame.into());
        let header = RequestHeader::decode(&mut r).unwrap();
        log.lock().push((header.api, header.version));
        let body = RequestBody::decode(header.api, &mut r, header.version).ok();
        let (version, response) = match script(&header, body) {
            Reply::Respond(response) => (header.version, response),
            Reply::RespondIn(version, response) => (version, response),
            Reply::Silence => continue,
            Reply::Break(bytes) => {
                let _ = socket.write_all(&bytes).await;
                return;
            }
        };
        let mut w = Writer::new();
        w.i32(0);
        encode_response_header(&mut w, header.api, version, header.correlation_id);
        response.encode(&mut w, version).unwrap();
        let frame = w.finish_frame().unwrap().to_bytes().unwrap();
        if socket.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// The ApiVersions answer of a broker that serves all that the schema has.
pub fn all_versions() -> ResponseBody {
    versions_up_to(|api| api.info().max_version)
}

/// The same with chosen highest versions.
pub fn versions_up_to(max: impl Fn(ApiKey) -> i16) -> ResponseBody {
    let keys = ApiKey::ALL.iter().map(|api| ApiVersion {
        api_key: api.code(),
        min_version: api.info().min_version,
        max_version: max(*api),
    });
    ResponseBody::ApiVersions(ApiVersionsResponse { api_keys: keys.collect(), ..Default::default() })
}

/// Metadata of brokers (id, port) on this machine.
pub fn metadata(brokers: &[(i32, u16)], controller_id: i32) -> MetadataResponse {
    let broker = |(node_id, port): &(i32, u16)| MetadataResponseBroker {
        node_id: *node_id,
        host: "127.0.0.1".into(),
        port: i32::from(*port),
        ..Default::default()
    };
    MetadataResponse {
        brokers: brokers.iter().map(broker).collect(),
        cluster_id: Some("test".into()),
        controller_id,
        ..Default::default()
    }
}
