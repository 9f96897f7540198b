//! Elections under random delays, losses, cuts, restarts and damaged disks, by seed.
//!
//! First everything goes wrong, then the world heals. In the first part: no server is established as leader without
//! what is committed. In the second: every server comes to stand behind one leader, soon.

use std::collections::BTreeMap;
use std::fmt::Write;

use zk_proto::quorum::{Config, Sid};

use super::world::{History, World};

const SEEDS: u64 = 150;

fn random_config(rng: &mut fastrand::Rng) -> Config {
    let voters = rng.i64(1..=5);
    let observers = rng.i64(0..=2);
    let mut text = String::new();
    for n in 1..=voters + observers {
        let role = if n <= voters { "participant" } else { "observer" };
        writeln!(text, "server.{n}=h{n}:2888:3888:{role}").unwrap();
    }
    Config::parse(&text).unwrap()
}

fn random_histories(world: &mut World) {
    for server in world.servers.values_mut() {
        let epoch = world.rng.i64(0..3);
        server.history = History { epoch, zxid: (epoch << 32) + world.rng.i64(0..3) };
    }
}

fn go_wrong(world: &mut World) {
    let sids: Vec<Sid> = world.servers.keys().copied().collect();
    let any = |rng: &mut fastrand::Rng| sids[rng.usize(..sids.len())];
    let (a, b) = (any(&mut world.rng), any(&mut world.rng));
    match world.rng.u32(0..10) {
        0..=3 => world.start(a),
        4 | 5 => world.stop(a),
        6 if a != b => world.cut(a, b),
        7 => world.heal(),
        8 if world.servers.values().all(|server| !server.damaged) => world.damage(a),
        _ => {
            world.delay_max_ms = world.rng.u64(1..600);
            world.lost_per_mille = world.rng.u32(0..400);
        }
    }
    let ms = world.rng.u64(1..800);
    world.run(ms);
}

#[test]
fn whatever_goes_wrong_no_history_is_lost_and_afterwards_all_agree() {
    for seed in 0..SEEDS {
        let mut rng = fastrand::Rng::with_seed(seed);
        let config = random_config(&mut rng);
        let voters: Vec<Sid> = config.voters().collect();
        let mut world = World::new(config, seed);
        random_histories(&mut world);
        for sid in world.servers.keys().copied().collect::<Vec<_>>() {
            if world.rng.bool() {
                world.start(sid);
            }
        }
        for _ in 0..40 {
            go_wrong(&mut world);
        }
        world.heal();
        for sid in world.servers.keys().copied().collect::<Vec<_>>() {
            world.start(sid);
        }
        if voters.iter().filter(|sid| !world.servers[sid].damaged).count() <= voters.len() / 2 {
            continue; // One or two voters of which one is damaged: nobody may lead.
        }
        let (_, took) = world.settle(20_000);
        assert!(took < 6_000, "seed {seed}: {took} ms");
    }
}

#[test]
fn on_a_good_network_all_vote_for_the_best_in_one_round() {
    for seed in 0..SEEDS {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new(random_config(&mut rng), seed);
        world.delay_max_ms = 20;
        random_histories(&mut world);
        let best = world.config.voters().max_by_key(|sid| (world.servers[sid].history, *sid)).unwrap();
        for sid in world.servers.keys().copied().collect::<Vec<_>>() {
            world.start(sid);
            let pause = world.rng.u64(0..20);
            world.run(pause);
        }
        if world.config.voters().count() > 1 {
            assert_eq!(world.settle(3_000).0, best, "seed {seed}");
        }
        let mut of_round: BTreeMap<i64, Sid> = BTreeMap::new();
        for (_, sid, round, leader) in &world.verdicts {
            let first = of_round.entry(*round).or_insert(*leader);
            assert_eq!(first, leader, "seed {seed}: {sid} in round {round}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_elections() {
    let run = || {
        let mut world = World::new(random_config(&mut fastrand::Rng::with_seed(3)), 3);
        for sid in world.servers.keys().copied().collect::<Vec<_>>() {
            world.start(sid);
        }
        for _ in 0..20 {
            go_wrong(&mut world);
        }
        world.verdicts
    };
    assert_eq!(run(), run());
}
