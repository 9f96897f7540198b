//! Who may connect: `max.connections`, `max.connections.per.ip` and its overrides; and the sweep of idle connections.
//!
//! Every connection has an `Entry` here for as long as it lives; the sweeper and the shutdown reach connections only
//! through it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::warn;

use super::complaints::Complaints;
use super::heavy::HeavyTurns;
use crate::config::NetworkConfig;

/// A connection as seen from outside its task.
#[derive(Debug)]
pub struct Entry {
    pub id: u64,
    ip: IpAddr,
    /// Milliseconds on the registry's clock of the last request or reply.
    last_active_ms: AtomicU64,
    /// A request is being worked on; such a connection is not idle, however long it takes.
    busy: AtomicBool,
    close: AtomicBool,
    /// Wakes the connection's task to look at its orders.
    pub wake: Notify,
}

impl Entry {
    pub fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }

    pub fn touch(&self, now_ms: u64) {
        self.last_active_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Whether the connection has been told to end.
    pub fn must_close(&self) -> bool {
        self.close.load(Ordering::Acquire)
    }

    fn order_close(&self) {
        self.close.store(true, Ordering::Release);
        self.wake.notify_one();
    }
}

/// Why a connection was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    TooManyFromAddress { limit: usize },
    TooMany { limit: usize },
}

/// All connections of the broker.
#[derive(Debug)]
pub struct Connections {
    total_max: usize,
    per_ip_max: usize,
    overrides: HashMap<IpAddr, usize>,
    idle_ms_max: Option<u64>,
    next_id: AtomicU64,
    inner: Mutex<Inner>,
    complaints: Complaints,
    /// The turns of requests that take long to compute.
    pub(super) heavy: HeavyTurns,
    started: std::time::Instant,
}

#[derive(Debug, Default)]
struct Inner {
    by_id: HashMap<u64, Arc<Entry>>,
    per_ip: HashMap<IpAddr, usize>,
}

/// Removes its connection from the registry when the connection's task ends, however it ends.
#[derive(Debug)]
pub struct Registered {
    pub entry: Arc<Entry>,
    connections: Arc<Connections>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.connections.remove(&self.entry);
    }
}

impl Connections {
    pub fn new(config: &NetworkConfig) -> Self {
        let resolved = |(host, max): (&String, &usize)| host.parse().ok().map(|ip| (ip, *max));
        Self {
            total_max: config.connections_max,
            per_ip_max: config.connections_per_ip_max,
            overrides: config.connections_per_ip_overrides.iter().filter_map(resolved).collect(),
            idle_ms_max: u64::try_from(config.connections_idle_ms_max).ok(),
            next_id: AtomicU64::new(0),
            inner: Mutex::default(),
            complaints: Complaints::default(),
            heavy: HeavyTurns::default(),
            started: std::time::Instant::now(),
        }
    }

    /// Milliseconds on the clock of `Entry::touch`.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether to log a complaint about a peer; what is left out is summed up by `sweep`.
    pub fn may_complain(&self, ip: IpAddr) -> bool {
        self.complaints.admit(ip.to_canonical(), self.now_ms())
    }

    /// Admits a connection from `ip`, or says which limit it hit.
    pub fn admit(self: &Arc<Self>, ip: IpAddr) -> Result<Registered, Refusal> {
        let ip = ip.to_canonical();
        let mut inner = self.inner.lock();
        if inner.by_id.len() >= self.total_max {
            return Err(Refusal::TooMany { limit: self.total_max });
        }
        let limit = self.overrides.get(&ip).copied().unwrap_or(self.per_ip_max);
        let count = inner.per_ip.entry(ip).or_insert(0);
        if *count >= limit {
            return Err(Refusal::TooManyFromAddress { limit });
        }
        *count += 1;
        let entry = Arc::new(Entry {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            ip,
            last_active_ms: AtomicU64::new(self.now_ms()),
            busy: AtomicBool::new(false),
            close: AtomicBool::new(false),
            wake: Notify::new(),
        });
        inner.by_id.insert(entry.id, entry.clone());
        Ok(Registered { entry, connections: self.clone() })
    }

    fn remove(&self, entry: &Entry) {
        let mut inner = self.inner.lock();
        inner.by_id.remove(&entry.id);
        if let Some(count) = inner.per_ip.get_mut(&entry.ip) {
            *count -= 1;
            if *count == 0 {
                inner.per_ip.remove(&entry.ip);
            }
        }
    }

    pub fn count(&self) -> usize {
        self.inner.lock().by_id.len()
    }

    /// Ends connections that have been idle for longer than `connections.max.idle.ms`, and wakes the quiet ones so
    /// that they give their large buffers back.
    pub fn sweep(&self, quiet_ms: u64) {
        let now = self.now_ms();
        for (ip, count) in self.complaints.roll(now) {
            let who = ip.map_or_else(|| "many addresses".to_owned(), |ip| ip.to_string());
            warn!(
                "{count} more connections of {who} were refused or closed for malformed requests in the last minute"
            );
        }
        for entry in self.inner.lock().by_id.values().filter(|e| !e.busy.load(Ordering::Relaxed)) {
            let idle = now.saturating_sub(entry.last_active_ms.load(Ordering::Relaxed));
            if self.idle_ms_max.is_some_and(|max| idle > max) {
                entry.order_close();
            } else if idle > quiet_ms {
                entry.wake.notify_one();
            }
        }
    }

    /// Tells every connection to end after the request it is working on.
    pub fn close_all(&self) {
        self.heavy.close();
        self.inner.lock().by_id.values().for_each(|entry| entry.order_close());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> NetworkConfig {
        NetworkConfig {
            request_bytes_max: 0,
            send_buffer_bytes: -1,
            receive_buffer_bytes: -1,
            backlog: 1,
            connections_max: 4,
            connections_per_ip_max: 2,
            connections_per_ip_overrides: [("10.0.0.9".to_owned(), 0)].into(),
            connections_idle_ms_max: 0,
        }
    }

    #[test]
    fn limits_hold_per_address_and_in_total_and_are_given_back() {
        let connections = Arc::new(Connections::new(&config()));
        let ip = |n: u8| IpAddr::from([10, 0, 0, n]);
        let first = connections.admit(ip(1)).expect("first");
        let _second = connections.admit(ip(1)).expect("second");
        assert_eq!(connections.admit(ip(1)).expect_err("third"), Refusal::TooManyFromAddress { limit: 2 });
        assert_eq!(connections.admit(ip(9)).expect_err("override"), Refusal::TooManyFromAddress { limit: 0 });
        let _others = [connections.admit(ip(2)).expect("room"), connections.admit(ip(3)).expect("room")];
        assert_eq!(connections.admit(ip(4)).expect_err("full"), Refusal::TooMany { limit: 4 });
        drop(first);
        assert!(connections.admit(ip(1)).is_ok());
    }

    #[test]
    fn a_busy_connection_is_never_idle() {
        let connections = Arc::new(Connections::new(&config()));
        let one = connections.admit(IpAddr::from([10, 0, 0, 1])).expect("room");
        one.entry.set_busy(true);
        while connections.now_ms() == 0 {
            std::hint::spin_loop();
        }
        connections.sweep(0);
        assert!(!one.entry.must_close());
        one.entry.set_busy(false);
        connections.sweep(0);
        assert!(one.entry.must_close());
    }
}
