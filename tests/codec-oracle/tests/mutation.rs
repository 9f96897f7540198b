//! A fuzz loop for everyday test runs: valid bodies, damaged at random, through every decoder.
//!
//! `CODEC_ORACLE_MUTATIONS` (default 100 000) is the number of bodies. `fuzz.sh` searches deeper.

use bytes::Bytes;
use codec_oracle::{Target, fuzz_one, fuzz_prefix, fuzz_records, rng, runs, schema, seeds};
use kafka_codegen::sample;

fn damage(rng: &mut fastrand::Rng, body: &mut Vec<u8>) {
    for _ in 0..rng.usize(1..4) {
        if body.is_empty() {
            return;
        }
        let at = rng.usize(..body.len());
        match rng.u8(..6) {
            0 => body.truncate(at),
            1 => body[at] = rng.u8(..),
            2 => body[at] ^= 1 << rng.u8(..8),
            3 => body.insert(at, 0xff),
            4 => drop(body.remove(at)),
            // A lying length, where there happens to be one.
            _ => {
                let end = body.len().min(at + 4);
                body[at..end].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff][..end - at]);
            }
        }
    }
}

/// Damaged bodies are refused, or accepted and then written back in a form that is read the same.
/// Where the other codec accepts that form too, it must write the same bytes.
#[test]
fn damaged_bodies_do_no_harm() {
    let mut rng = rng();
    let messages = schema();
    let (mut accepted, mut agreed) = (0, 0);
    let total = runs("CODEC_ORACLE_MUTATIONS", 100_000);
    for _ in 0..total {
        let message = &messages[rng.usize(..messages.len())];
        let version = rng.i16(message.versions.lo..=message.versions.hi);
        let target = Target::new(message, version);
        let mut body = sample::sample(message, version, &mut || rng.u64(..));
        damage(&mut rng, &mut body);
        fuzz_one(&[&fuzz_prefix(target)[..], &body].concat());
        let Ok((bytes, _)) = target.ours(Bytes::from(body)) else {
            continue;
        };
        accepted += 1;
        if !target.known_to_theirs() {
            continue;
        }
        let theirs = target.theirs(bytes.clone());
        assert_eq!(theirs, Ok((bytes, 0)), "{target:?}");
        agreed += 1;
    }
    println!("{total} damaged bodies, {accepted} accepted, {agreed} confirmed by the other codec");
    assert!(agreed > total / 20, "most damage is in values, not in structure");
}

/// Bytes without any structure.
#[test]
fn random_bytes_do_no_harm() {
    let mut rng = rng();
    for _ in 0..runs("CODEC_ORACLE_MUTATIONS", 100_000) {
        let len = rng.usize(..200);
        let body: Vec<u8> = (0..len).map(|_| rng.u8(..)).collect();
        fuzz_one(&body);
    }
}

/// Record batches and message sets of every codec, damaged, through everything that reads them.
#[test]
fn damaged_records_do_no_harm() {
    let mut rng = rng();
    let seeds = seeds();
    for _ in 0..runs("CODEC_ORACLE_MUTATIONS", 100_000) / 5 {
        let mut data = seeds[rng.usize(..seeds.len())].clone();
        if rng.bool() {
            data.extend(&seeds[rng.usize(..seeds.len())]);
        }
        damage(&mut rng, &mut data);
        fuzz_records(&data);
    }
}
