//! Random lives: packets and disks at any pace, crashes, cuts, purged logs; then everything heals.

use fastrand::Rng;
use zk_proto::quorum::Sid;
use zk_zab::Options;

use crate::world::{World, config};

/// Seeds of an everyday run; `ZAB_SEEDS` asks for more, from `ZAB_FROM` on, and `ZAB_SEED` for one.
const SEEDS: u64 = 150;

fn live(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let voters: Vec<Sid> = (1..=[3, 3, 4, 5][rng.usize(..4)]).collect();
    let observers: Vec<Sid> = if rng.bool() { vec![9] } else { Vec::new() };
    let count = [2, 10, 100][rng.usize(..3)];
    let reconfig = rng.u32(..3) == 0;
    let mut world = World::with(config(&voters, &observers), |options: &mut Options| {
        options.reconfig_enabled = reconfig;
        options.seed = seed;
        options.commit_log_count = count;
    });
    // A majority of the old and of the new configuration may be one server short already.
    world.loses_disks = rng.bool() && !reconfig;
    world.start_all();
    for _ in 0..rng.usize(500..4000) {
        disturb(&mut world, &mut rng);
    }
    world.heal();
    for sid in world.nodes.keys().copied().collect::<Vec<_>>() {
        world.node(sid).held_disk = false;
        if world.node(sid).peer.is_none() {
            world.start(sid);
        }
    }
    world.run(10_000);
    world.assert_healed();
    world.write(3);
    world.run(100);
    world.assert_healed();
}

fn disturb(world: &mut World, rng: &mut Rng) {
    let sids: Vec<Sid> = world.nodes.keys().copied().collect();
    let any = |rng: &mut Rng| sids[rng.usize(..sids.len())];
    match rng.u32(..1000) {
        0..600 => {
            let events = world.events();
            if !events.is_empty() {
                world.happen(events[rng.usize(..events.len())]);
            }
        }
        600..800 => {
            world.now_ms += rng.u64(1..30);
            world.tick();
        }
        800..900 => drop(world.propose()),
        900..960 => {
            for _ in 0..rng.usize(..60) {
                match world.events()[..] {
                    [] => break,
                    ref events => world.happen(events[rng.usize(..events.len())]),
                }
            }
        }
        960..963 => {
            let sid = any(rng);
            if world.node(sid).peer.is_some() {
                world.crash(sid);
            }
        }
        963..975 => {
            let sid = any(rng);
            if world.node(sid).peer.is_none() {
                world.start(sid);
            }
        }
        975..977 => {
            let (one, other) = (any(rng), any(rng));
            if one != other {
                world.cut(one, other);
            }
        }
        977..980 => world.heal(),
        980..985 => {
            let sid = any(rng);
            world.node(sid).held_disk ^= true;
        }
        985..987 => {
            let sid = any(rng);
            if world.node(sid).peer.is_none() {
                world.node(sid).disk.compact();
            }
        }
        987..990 => reconfigure(world, rng),
        990..992 => {
            let sid = any(rng);
            let others_are_sound = world.nodes.values().all(|node| !node.disk.damaged);
            if world.node(sid).peer.is_none() && others_are_sound && world.loses_disks {
                let config = world.node(sid).disk.config.take();
                world.node(sid).disk = crate::disk::Disk { damaged: true, config, ..Default::default() };
            }
        }
        _ => {}
    }
}

/// Other roles for the same servers, if the leader may propose it.
fn reconfigure(world: &mut World, rng: &mut Rng) {
    let Some(leader) = world.leader() else { return };
    let mut sids: Vec<Sid> = world.nodes.keys().copied().collect();
    rng.shuffle(&mut sids);
    let (voters, observers) = sids.split_at(rng.usize(3..=sids.len()));
    let config = config(voters, observers);
    let peer = world.nodes[&leader].peer.as_ref().unwrap();
    if world.nodes[&leader].options.reconfig_enabled
        && peer.config_outstanding().is_none()
        && peer.has_synced_quorum(&config)
    {
        world.propose_config(config);
    }
}

#[test]
fn whatever_happens_nothing_committed_is_lost_and_all_agree() {
    if let Some(seed) = std::env::var("ZAB_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return live(seed);
    }
    let number = |key| std::env::var(key).ok().and_then(|n| n.parse().ok());
    let from: u64 = number("ZAB_FROM").unwrap_or(0);
    for seed in from..from + number("ZAB_SEEDS").unwrap_or(SEEDS) {
        if std::panic::catch_unwind(|| live(seed)).is_err() {
            panic!("ZAB_SEED={seed} lives it again, ZAB_TRACE=1 tells it");
        }
    }
}
