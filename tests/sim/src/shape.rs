//! What a seed decides before anything happens: servers, settings, load, and which faults may come.

use fastrand::Rng;
use zk_proto::quorum::config::Address;
use zk_proto::quorum::{Config, Member, Role, Sid};

use crate::bugs::Bug;
use crate::faults::FaultKind;

/// One world, fixed by its seed.
#[derive(Debug, Clone)]
pub struct Shape {
    pub seed: u64,
    pub config: Config,
    /// Servers that begin outside the configuration and are added by reconfig.
    pub spares: u8,
    pub reconfig: bool,
    pub tick_ms: u64,
    pub init_limit: u64,
    pub sync_limit: u64,
    pub commit_log_count: usize,
    pub snap_count: u32,
    /// Snapshots kept; the log behind the oldest goes.
    pub snapshots_kept: usize,
    pub outstanding_limit: usize,
    pub clients: usize,
    /// A client's pause between requests, on average.
    pub think_ms: u64,
    /// Requests a client has under way at most.
    pub pipeline: usize,
    /// Of 2000 requests, so many close their session.
    pub closes: u16,
    pub safety_ms: u64,
    /// One way through the network, at least and at most.
    pub delay_ms: (u64, u64),
    pub fsync_ms: (u64, u64),
    /// Between two pieces of a snapshot, at most.
    pub piece_ms: u64,
    /// The last counter of an epoch, where a leader steps down; small so that it is reached.
    pub counter_max: Option<i64>,
    /// Which may come.
    pub faults: Vec<FaultKind>,
    /// A historic bug that is put back.
    pub bug: Option<Bug>,
}

impl Shape {
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x5eed_5eed);
        let voters = *pick(&mut rng, &[1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5, 7]);
        let observers = if rng.u8(..3) == 0 { rng.i64(1..=2) } else { 0 };
        let reconfig = rng.u8(..4) == 0;
        let fast = rng.bool();
        let tick_ms = *pick(&mut rng, &[100, 200, 500]);
        let (clients, think_ms) = (rng.usize(2..=6), *pick(&mut rng, &[10, 30, 100]));
        // An epoch that is used up within some seconds, not at once.
        let writes_a_second = 500 * clients as i64 / think_ms as i64;
        let counter_max = writes_a_second.max(10) * rng.i64(3..=10);
        Self {
            seed,
            config: config(&mut rng, voters, observers),
            spares: if reconfig { rng.u8(0..=1) } else { 0 },
            reconfig,
            tick_ms,
            init_limit: rng.u64(5..=10),
            sync_limit: rng.u64(3..=5),
            commit_log_count: *pick(&mut rng, &[2, 5, 20, 100]),
            snap_count: *pick(&mut rng, &[10, 30, 100, 100_000]),
            snapshots_kept: rng.usize(1..=3),
            outstanding_limit: *pick(&mut rng, &[3, 20, 1000]),
            clients,
            think_ms,
            pipeline: *pick(&mut rng, &[1, 2, 8]),
            closes: *pick(&mut rng, &[3, 3, 30]),
            safety_ms: rng.u64(10_000..=30_000),
            delay_ms: if fast { (0, 3) } else { (1, tick_ms / 10) },
            fsync_ms: if rng.bool() { (0, 3) } else { (1, tick_ms / 10) },
            piece_ms: *pick(&mut rng, &[4, 4, tick_ms / 12]),
            counter_max: (rng.u8(..8) == 0).then_some(counter_max),
            faults: FaultKind::ALL.to_vec(),
            bug: None,
        }
    }

    /// Every server there will ever be.
    pub fn sids(&self) -> Vec<Sid> {
        let last = self.config.members.keys().last().copied().unwrap_or(0);
        let spares = (1..=i64::from(self.spares)).map(|n| last + n);
        self.config.members.keys().copied().chain(spares).collect()
    }

    /// The configuration a server starts with; one that is to be added knows the others and itself.
    pub fn first_config(&self, sid: Sid) -> Config {
        let mut config = self.config.clone();
        config.members.entry(sid).or_insert_with(|| member(sid, Role::Observer));
        config
    }

    /// Within this time of healing an ensemble has to serve.
    pub fn heal_ms_max(&self) -> u64 {
        2 * (self.init_limit + self.sync_limit) * self.tick_ms + 10_000
    }

    /// One line for a report.
    pub fn summary(&self) -> String {
        let voters = self.config.voters().count();
        format!(
            "{voters} voters{}, {} observers, {} spares, tick {} ms, commit log {}, snapshot every {}, {} clients, {} ms",
            if self.config.groups.is_empty() { "" } else { " in groups" },
            self.config.members.len() - voters,
            self.spares,
            self.tick_ms,
            self.commit_log_count,
            self.snap_count,
            self.clients,
            self.safety_ms,
        )
    }
}

/// How a server is written in every configuration here.
pub fn member(sid: Sid, role: Role) -> Member {
    let host = format!("s{sid}");
    let addresses = vec![Address { host, quorum_port: 2888, election_port: 3888 }];
    Member { addresses, role, client: Some(("0.0.0.0".into(), 2181)) }
}

fn config(rng: &mut Rng, voters: i64, observers: i64) -> Config {
    let mut config = Config::default();
    for sid in 1..=voters + observers {
        let role = if sid <= voters { Role::Participant } else { Role::Observer };
        config.members.insert(sid, member(sid, role));
    }
    if voters >= 5 && rng.u8(..4) == 0 {
        for sid in 1..=voters + observers {
            config.groups.insert(sid, (sid - 1) % 3);
            if rng.u8(..3) == 0 {
                config.weights.insert(sid, rng.i64(0..=3));
            }
        }
    }
    config
}

pub fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(..from.len())]
}
