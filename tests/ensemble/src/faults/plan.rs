//! Which fault comes next: a kind, its victims, its length, all drawn from a seed.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::ValueEnum;
use fastrand::Rng;

use crate::hosts::Port;

/// Every kind of fault, in the order of the table that is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Fault {
    /// The leader hears nobody and nobody hears it.
    IsolateLeader,
    IsolateFollower,
    /// Two groups that do not see each other.
    Halves,
    /// Everybody sees a majority, no two the same one.
    Ring,
    /// Two groups that see each other only through one server.
    Bridge,
    /// One server sends and hears nothing.
    OneWayIn,
    /// One server hears and is not heard.
    OneWayOut,
    /// Clients do not reach the leader.
    ClientsFromLeader,
    /// Clients reach nobody, longer than their sessions live.
    ClientsFromAll,
    /// SIGSTOP, shorter than a session lives.
    PauseShort,
    /// SIGSTOP, longer than a session lives.
    PauseLong,
    KillLeader,
    KillFollower,
    KillAll,
    /// A partition and, meanwhile, kill -9 of somebody.
    CutAndKill,
    PowerOne,
    PowerMajority,
    PowerAll,
    DiskFull,
    FlipInLog,
    FlipInSnapshot,
    LoseDisk,
    ClockForward,
    ClockBack,
}

impl Fault {
    /// Whether it needs `libfaketime` around the servers.
    pub fn is_clock(self) -> bool {
        matches!(self, Self::ClockForward | Self::ClockBack)
    }

    /// Draws the next one.
    pub fn draw(rng: &mut Rng, from: &[Self]) -> Self {
        from[rng.usize(0..from.len())]
    }

    /// How long it lasts before it is healed.
    pub fn length(self, rng: &mut Rng, session_ms: u64) -> Duration {
        let ms = match self {
            Self::PauseShort => rng.u64(200..session_ms / 2),
            Self::PauseLong | Self::ClientsFromAll => session_ms + rng.u64(1000..2500),
            Self::KillLeader | Self::KillFollower | Self::KillAll => rng.u64(0..2000),
            Self::PowerOne | Self::PowerMajority | Self::PowerAll => 0,
            Self::FlipInLog | Self::FlipInSnapshot | Self::LoseDisk => 0,
            _ => rng.u64(1500..6000),
        };
        Duration::from_millis(ms)
    }
}

/// Directed pairs to cut among `servers`; the leader's place decides for some shapes. `clients` is the clients' host.
pub fn pairs(
    fault: Fault,
    servers: &[Port],
    leader: Port,
    clients: Port,
    rng: &mut Rng,
) -> BTreeSet<(Port, Port)> {
    let others: Vec<Port> = servers.iter().copied().filter(|s| *s != leader).collect();
    let one = others[rng.usize(0..others.len())];
    let anyone = servers[rng.usize(0..servers.len())];
    let mut cut = BTreeSet::new();
    match fault {
        Fault::IsolateLeader => both_ways(&mut cut, &[leader], &others),
        Fault::IsolateFollower => {
            let rest: Vec<Port> = servers.iter().copied().filter(|s| *s != one).collect();
            both_ways(&mut cut, &[one], &rest);
            if rng.bool() {
                both_ways(&mut cut, &[one], &[clients]);
            }
        }
        Fault::Halves | Fault::CutAndKill => {
            let mut shuffled = servers.to_vec();
            rng.shuffle(&mut shuffled);
            let (small, large) = shuffled.split_at(servers.len() / 2);
            both_ways(&mut cut, small, large);
        }
        Fault::Ring => ring(&mut cut, servers),
        Fault::Bridge => {
            let mut rest: Vec<Port> = servers.iter().copied().filter(|s| *s != anyone).collect();
            rng.shuffle(&mut rest);
            let (a, b) = rest.split_at(rest.len() / 2);
            both_ways(&mut cut, a, b);
        }
        Fault::OneWayIn => cut.extend(servers.iter().filter(|s| **s != anyone).map(|s| (*s, anyone))),
        Fault::OneWayOut => cut.extend(servers.iter().filter(|s| **s != anyone).map(|s| (anyone, *s))),
        Fault::ClientsFromLeader => both_ways(&mut cut, &[leader], &[clients]),
        Fault::ClientsFromAll => both_ways(&mut cut, servers, &[clients]),
        _ => {}
    }
    cut
}

/// Each sees its neighbours: of five, two on the ring and itself are a majority.
fn ring(cut: &mut BTreeSet<(Port, Port)>, servers: &[Port]) {
    let n = servers.len();
    for (i, a) in servers.iter().enumerate() {
        for (j, b) in servers.iter().enumerate() {
            let distance = (i + n - j) % n;
            if distance > 1 && distance < n - 1 {
                cut.insert((*a, *b));
            }
        }
    }
}

fn both_ways(cut: &mut BTreeSet<(Port, Port)>, a: &[Port], b: &[Port]) {
    for x in a {
        for y in b {
            cut.extend([(*x, *y), (*y, *x)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who sees whom, both ways.
    fn sees(cut: &BTreeSet<(Port, Port)>, servers: &[Port], a: Port) -> usize {
        servers.iter().filter(|b| !cut.contains(&(a, **b)) && !cut.contains(&(**b, a))).count()
    }

    #[test]
    fn shapes_are_what_they_are_called() {
        let (servers, mut rng) = ([1, 2, 3, 4, 5], Rng::with_seed(1));
        let mut shape = |fault| pairs(fault, &servers, 2, 6, &mut rng);
        let ring = shape(Fault::Ring);
        assert!(servers.iter().all(|s| sees(&ring, &servers, *s) == 3));
        assert_eq!(sees(&shape(Fault::IsolateLeader), &servers, 2), 1);
        let bridge = shape(Fault::Bridge);
        assert_eq!(servers.iter().filter(|s| sees(&bridge, &servers, **s) == 5).count(), 1);
        assert_eq!(servers.iter().filter(|s| sees(&bridge, &servers, **s) == 3).count(), 4);
        assert_eq!(shape(Fault::OneWayIn).len(), 4);
        assert_eq!(shape(Fault::ClientsFromLeader), [(2, 6), (6, 2)].into());
        let halves = shape(Fault::Halves);
        assert_eq!(halves.len(), 2 * 2 * 3);
    }
}
