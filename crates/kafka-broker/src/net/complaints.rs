//! Keeps a hostile or broken peer from filling the log: a few lines an address and minute, then a count.

use std::collections::HashMap;
use std::net::IpAddr;

use parking_lot::Mutex;

/// Lines an address gets a minute.
const LINES_MAX: u32 = 10;
const WINDOW_MS: u64 = 60_000;
/// Addresses remembered; beyond them everything counts as one.
const ADDRESSES_MAX: usize = 1024;

/// Counts complaints by address.
#[derive(Debug, Default)]
pub struct Complaints {
    windows: Mutex<HashMap<Option<IpAddr>, Window>>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    started_ms: u64,
    count: u32,
}

impl Complaints {
    /// Whether a complaint about `ip` is to be logged.
    pub fn admit(&self, ip: IpAddr, now_ms: u64) -> bool {
        let mut windows = self.windows.lock();
        let key =
            if windows.contains_key(&Some(ip)) || windows.len() < ADDRESSES_MAX { Some(ip) } else { None };
        let window = windows.entry(key).or_insert(Window { started_ms: now_ms, count: 0 });
        window.count = window.count.saturating_add(1);
        window.count <= LINES_MAX
    }

    /// Ends windows that are over; returns how many complaints of each address were not logged.
    pub fn roll(&self, now_ms: u64) -> Vec<(Option<IpAddr>, u32)> {
        let mut suppressed = Vec::new();
        self.windows.lock().retain(|ip, window| {
            let over = now_ms.saturating_sub(window.started_ms) >= WINDOW_MS;
            if over && window.count > LINES_MAX {
                suppressed.push((*ip, window.count - LINES_MAX));
            }
            !over
        });
        suppressed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_minute_then_a_count() {
        let (complaints, ip) = (Complaints::default(), IpAddr::from([10, 0, 0, 1]));
        let logged = (0..100).filter(|_| complaints.admit(ip, 0)).count();
        assert_eq!(logged, 10);
        assert_eq!(complaints.roll(WINDOW_MS - 1), []);
        assert_eq!(complaints.roll(WINDOW_MS), [(Some(ip), 90)]);
        assert!(complaints.admit(ip, WINDOW_MS));
    }

    #[test]
    fn a_flood_of_addresses_takes_bounded_memory() {
        let complaints = Complaints::default();
        for n in 0..10_000u32 {
            complaints.admit(IpAddr::from(n.to_be_bytes()), 0);
        }
        assert!(complaints.windows.lock().len() <= ADDRESSES_MAX + 1);
    }
}
