//! Who asks: the connection a request came on, and the request's own header.

use std::net::SocketAddr;
use std::sync::Arc;

use kafka_proto::frame::RequestHeader;
use kafka_proto::messages::ApiKey;

/// What does not change while a connection lives.
#[derive(Debug)]
pub struct Peer {
    pub connection_id: u64,
    pub address: SocketAddr,
    /// Name of the listener the client came through: replies name the endpoints of the same listener.
    pub listener: Arc<str>,
}

/// A connection's state between requests.
#[derive(Debug)]
pub struct ConnectionContext {
    pub peer: SocketAddr,
    pub listener: Arc<str>,
    shared: Arc<Peer>,
    client_id: Option<Arc<str>>,
}

impl ConnectionContext {
    pub fn new(connection_id: u64, peer: SocketAddr, listener: Arc<str>) -> Self {
        let shared = Arc::new(Peer { connection_id, address: peer, listener: listener.clone() });
        Self { peer, listener, shared, client_id: None }
    }

    /// The client id of the last request.
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// The context of the next request.
    pub fn request(&mut self, header: &RequestHeader) -> RequestContext {
        // Clients do not change their id; one allocation per connection is enough.
        if self.client_id.as_deref() != header.client_id.as_deref() {
            self.client_id = header.client_id.as_deref().map(Arc::from);
        }
        RequestContext {
            api: header.api,
            version: header.version,
            correlation_id: header.correlation_id,
            client_id: self.client_id.clone(),
            peer: self.shared.clone(),
        }
    }
}

/// One request's circumstances, for its handler.
#[derive(Debug, Clone)]
pub struct RequestContext {
    pub api: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: Option<Arc<str>>,
    pub peer: Arc<Peer>,
}

impl RequestContext {
    /// The client id, empty if it sent none.
    pub fn client_id(&self) -> &str {
        self.client_id.as_deref().unwrap_or("")
    }

    /// The client's address as Java prints it in group descriptions: `/127.0.0.1`.
    pub fn client_host(&self) -> String {
        format!("/{}", self.peer.address.ip().to_canonical())
    }
}
