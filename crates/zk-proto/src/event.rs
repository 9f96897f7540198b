//! Watch events, sent by the server with xid -1.

use crate::jute::{Reader, WireError, Writer};

/// What happened (`Watcher.Event.EventType`). Kinds 5 to 7 are made inside clients; no server sends them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum EventKind {
    None = -1,
    NodeCreated = 1,
    NodeDeleted = 2,
    NodeDataChanged = 3,
    NodeChildrenChanged = 4,
    DataWatchRemoved = 5,
    ChildWatchRemoved = 6,
    PersistentWatchRemoved = 7,
}

impl EventKind {
    pub const fn code(self) -> i32 {
        self as i32
    }

    pub fn from_code(code: i32) -> Option<Self> {
        Some(match code {
            -1 => Self::None,
            1 => Self::NodeCreated,
            2 => Self::NodeDeleted,
            3 => Self::NodeDataChanged,
            4 => Self::NodeChildrenChanged,
            5 => Self::DataWatchRemoved,
            6 => Self::ChildWatchRemoved,
            7 => Self::PersistentWatchRemoved,
            _ => return None,
        })
    }
}

/// State of the session an event speaks of (`Watcher.Event.KeeperState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum KeeperState {
    Disconnected = 0,
    SyncConnected = 3,
    AuthFailed = 4,
    ConnectedReadOnly = 5,
    SaslAuthenticated = 6,
    Closed = 7,
    Expired = -112,
}

impl KeeperState {
    pub const fn code(self) -> i32 {
        self as i32
    }

    pub fn from_code(code: i32) -> Option<Self> {
        Some(match code {
            0 => Self::Disconnected,
            3 => Self::SyncConnected,
            4 => Self::AuthFailed,
            5 => Self::ConnectedReadOnly,
            6 => Self::SaslAuthenticated,
            7 => Self::Closed,
            -112 => Self::Expired,
            _ => return None,
        })
    }
}

/// Body of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatcherEvent {
    pub kind: EventKind,
    pub state: KeeperState,
    pub path: String,
}

impl WatcherEvent {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let kind = r.i32()?;
        let state = r.i32()?;
        Ok(Self {
            kind: EventKind::from_code(kind).ok_or(WireError::Unknown { what: "event type", value: kind })?,
            state: KeeperState::from_code(state)
                .ok_or(WireError::Unknown { what: "keeper state", value: state })?,
            path: r.string_opt()?.unwrap_or_default(),
        })
    }

    pub fn encode(&self, w: &mut Writer) {
        encode(w, self.kind, self.state, &self.path);
    }
}

/// Writes the body without building a [`WatcherEvent`].
pub fn encode(w: &mut Writer, kind: EventKind, state: KeeperState, path: &str) {
    w.i32(kind.code());
    w.i32(state.code());
    w.string(path);
}
