//! One member of a group.

use bytes::Bytes;

use crate::effect::Token;
use crate::request::Protocol;

/// A member: who it is, what it supports, what it waits for.
#[derive(Debug, Clone)]
pub struct Member {
    pub id: String,
    /// `group.instance.id`; such a member keeps its place while it restarts (KIP-345).
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    /// In order of preference, each name once, never empty.
    pub protocols: Vec<Protocol>,
    pub assignment: Bytes,
    /// Has not been told its place in a generation yet, so it cannot send heartbeats.
    pub is_new: bool,
    /// Without a sign of life until then the member is removed. Monotonic.
    pub session_deadline_ms: Option<i64>,
    join: Option<Token>,
    sync: Option<Token>,
}

impl Member {
    pub(super) fn new(id: String, protocols: Vec<Protocol>) -> Self {
        Member {
            id,
            instance_id: None,
            client_id: String::new(),
            client_host: String::new(),
            rebalance_timeout_ms: 0,
            session_timeout_ms: 0,
            protocols,
            assignment: Bytes::new(),
            is_new: false,
            session_deadline_ms: None,
            join: None,
            sync: None,
        }
    }

    pub fn is_joining(&self) -> bool {
        self.join.is_some()
    }

    pub fn is_syncing(&self) -> bool {
        self.sync.is_some()
    }

    pub(super) fn is_joining_as(&self, token: Token) -> bool {
        self.join == Some(token)
    }

    /// Returns the token of an earlier join that is now superseded. The group counts those who join.
    pub(super) fn park_join(&mut self, token: Token) -> Option<Token> {
        self.join.replace(token)
    }

    pub(super) fn take_join(&mut self) -> Option<Token> {
        self.join.take()
    }

    /// Returns the token of an earlier sync that is now superseded.
    pub(super) fn park_sync(&mut self, token: Token) -> Option<Token> {
        self.sync.replace(token)
    }

    pub(super) fn take_sync(&mut self) -> Option<Token> {
        self.sync.take()
    }

    /// Whoever waits for the coordinator's answer need not send heartbeats, except newcomers: their
    /// connections may be long dead, so their wait is limited.
    pub(super) fn is_excused_from_heartbeats(&self) -> bool {
        !self.is_new && (self.is_joining() || self.is_syncing())
    }

    /// The subscription for a protocol; empty if the member does not support it.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|own| own.name == protocol)
            .map(|own| own.metadata.clone())
            .unwrap_or_default()
    }
}
