//! Whatever comes from the network: no panic, no broken rule.

use bytes::Bytes;
use fastrand::Rng;
use zk_proto::quorum::{Packet, PacketKind};
use zk_zab::{Input, LinkId, Stored};

use crate::solo::{Solo, entry, stable, three, z};
use crate::world::options;

fn any_packet(rng: &mut Rng) -> Packet {
    let kind = PacketKind::from_code(rng.i32(1..20)).unwrap();
    let zxid = match rng.u32(..8) {
        0 => rng.i64(..),
        1 => -1,
        2 => i64::MAX,
        _ => z(rng.i64(0..7), rng.i64(0..6)),
    };
    let data: Option<Bytes> = match rng.u32(..6) {
        0 => None,
        1 => Some(Bytes::from((0..rng.usize(..40)).map(|_| rng.u8(..)).collect::<Vec<_>>())),
        2 => Some(Bytes::from(three().to_string())),
        3 => Some(Bytes::from(rng.i32(-2..7).to_be_bytes().to_vec())),
        4 => Some(Bytes::from([&rng.i64(..4).to_be_bytes()[..], &entry(zxid).payload].concat())),
        _ => Some(entry(zxid).payload),
    };
    Packet { kind, zxid, data, auth: Vec::new() }
}

#[test]
fn a_hostile_leader_breaks_nothing() {
    for seed in 0..3000 {
        let mut rng = Rng::with_seed(seed);
        let mut solo = match rng.u32(..3) {
            0 => Solo::joining(1, stable(1, &[z(1, 1)])),
            1 => Solo::joining(9, stable(1, &[z(1, 1)])),
            _ => Solo::serving(1, stable(1, &[z(1, 1)]), 5),
        };
        for _ in 0..30 {
            solo.step(Input::FromLeader { packet: any_packet(&mut rng) });
            if rng.u32(..4) == 0 {
                let epoch = solo.peer.status().accepted_epoch;
                solo.stored(Stored::AcceptedEpoch { epoch });
            }
        }
    }
}

#[test]
fn hostile_learners_break_nothing() {
    for seed in 0..3000 {
        let mut rng = Rng::with_seed(seed);
        let mut solo = match rng.u32(..3) {
            0 => Solo::new(options(3), stable(4, &[z(4, 1)])),
            1 => Solo::elected(options(3), stable(4, &[z(4, 1)])),
            _ => Solo::leading(options(3), stable(4, &[z(4, 1)])),
        };
        for _ in 0..30 {
            let link = LinkId(rng.u64(1..6));
            match rng.u32(..5) {
                0 => solo.step(Input::LearnerConnected { link: LinkId(rng.u64(3..6)) }),
                1 => solo.greet(rng.u64(3..1000), rng.i64(-1..6), rng.i64(0..6)),
                _ => solo.step(Input::FromLearner { link, packet: any_packet(&mut rng) }),
            };
        }
    }
}
