//! What the client tells without being asked.

use tokio::sync::mpsc;
use zk_proto::{EventKind, KeeperState};

/// A watch that fired (`kind` other than `None`), or a change of the session (`kind` `None`, empty path).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchEvent {
    pub kind: EventKind,
    /// For session changes: `SyncConnected`, `ConnectedReadOnly`, `Disconnected`, `Expired`, `AuthFailed`.
    pub state: KeeperState,
    /// Without the chroot.
    pub path: String,
    /// The change's transaction; -1 if the server does not tell (before 3.9) or nothing changed.
    pub zxid: i64,
}

impl WatchEvent {
    pub(crate) fn session(state: KeeperState) -> Self {
        Self { kind: EventKind::None, state, path: String::new(), zxid: -1 }
    }
}

/// The stream of events. It ends when the session does. While it is full the client stops reading from the server, so
/// read it, or drop it.
#[derive(Debug)]
pub struct Events {
    pub(crate) receiver: mpsc::Receiver<WatchEvent>,
}

impl Events {
    /// The next event; `None` once the session is over and every event was taken.
    pub async fn recv(&mut self) -> Option<WatchEvent> {
        self.receiver.recv().await
    }

    /// The next event if there is one already.
    pub fn try_recv(&mut self) -> Option<WatchEvent> {
        self.receiver.try_recv().ok()
    }
}
