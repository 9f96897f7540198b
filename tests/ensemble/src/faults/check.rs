//! Compares what clients wrote down with the promises.
//!
//! ZooKeeper orders all writes by zxid and tells each writer the zxid of its write, so no search is needed to find an
//! order that explains the answers: there is one, and it is checked.
//! - Writes are linearizable: a write that was answered before another one was sent has the smaller zxid.
//! - A register's versions are written once each, in zxid order; a version nobody was told of belongs to a write whose
//!   answer was lost. Nothing answered is missing in the end.
//! - A session sees its own writes and never goes back, over all registers and whichever servers it was at.
//! - Ephemeral nodes are those of the living sessions, exactly.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Answer, Diary, Finally, Kind, Op, Register};

/// So many of one kind are listed; the rest is counted.
const LISTED_MAX: usize = 10;

/// What was looked at, and what is wrong.
#[derive(Debug, Default)]
pub struct Verdict {
    pub writes: usize,
    pub reads: usize,
    pub unknown: usize,
    pub refused: usize,
    pub appended: usize,
    pub ephemerals: usize,
    pub sessions: u64,
    /// Empty if every promise was kept.
    pub wrong: Vec<String>,
}

/// One register's history: version → (zxid, value).
type Versions = BTreeMap<i32, (i64, u64)>;

/// Checks everything.
pub fn check(diaries: &[Diary], finally: &Finally) -> Verdict {
    let mut verdict = Verdict::default();
    for diary in diaries {
        count(diary, &mut verdict);
    }
    let ops: Vec<&Op> = diaries.iter().flat_map(|d| &d.ops).collect();
    let registers = versions(&ops, finally, &mut verdict.wrong);
    check_gaps(&ops, &registers, finally, &mut verdict.wrong);
    check_real_time(&ops, &mut verdict.wrong);
    for diary in diaries {
        check_session_order(diary, &registers, &mut verdict.wrong);
        check_appended(diary, finally, &mut verdict.wrong);
    }
    check_ephemerals(diaries, finally, &mut verdict.wrong);
    let failures: BTreeSet<&String> = diaries.iter().flat_map(|d| &d.failures).collect();
    verdict.wrong.extend(failures.into_iter().cloned());
    if verdict.wrong.len() > LISTED_MAX {
        let more = verdict.wrong.len() - LISTED_MAX;
        verdict.wrong.truncate(LISTED_MAX);
        verdict.wrong.push(format!("and {more} more"));
    }
    verdict
}

fn count(diary: &Diary, verdict: &mut Verdict) {
    for op in &diary.ops {
        match (op.kind, op.answer) {
            (_, Answer::Unknown) => verdict.unknown += 1,
            (_, Answer::BadVersion) => verdict.refused += 1,
            (Kind::Read, _) => verdict.reads += 1,
            _ => verdict.writes += 1,
        }
    }
    verdict.appended += diary.appended.iter().filter(|made| made.zxid.is_some()).count();
    verdict.ephemerals += diary.ephemerals.iter().filter(|made| made.zxid.is_some()).count();
    verdict.sessions += diary.sessions;
}

/// Everything anybody was told about each register's versions, and how it ends. Two stories about one are wrong.
fn versions(ops: &[&Op], finally: &Finally, wrong: &mut Vec<String>) -> BTreeMap<Register, Versions> {
    let mut registers: BTreeMap<Register, Versions> = BTreeMap::new();
    let told = ops.iter().filter_map(|op| match op.answer {
        Answer::State { zxid, version, value } => Some((op.register, zxid, version, value)),
        _ => None,
    });
    let ends = finally.registers.iter().map(|(r, (zxid, version, value))| (*r, *zxid, *version, *value));
    for (register, zxid, version, value) in told.chain(ends) {
        let known = registers.entry(register).or_default().entry(version).or_insert((zxid, value));
        if *known != (zxid, value) {
            wrong.push(format!(
                "r{register} version {version} was value {} at 0x{:x}, and value {value} at 0x{zxid:x}",
                known.1, known.0
            ));
        }
    }
    for (register, versions) in &registers {
        for ((v1, (z1, _)), (v2, (z2, _))) in versions.iter().zip(versions.iter().skip(1)) {
            if z1 >= z2 {
                wrong.push(format!("r{register} version {v1} is at 0x{z1:x}, {v2} at 0x{z2:x}"));
            }
        }
    }
    registers
}

/// Every value was written by somebody, once; versions nobody knows are covered by lost answers; the end is not behind
/// anything answered.
fn check_gaps(
    ops: &[&Op],
    registers: &BTreeMap<Register, Versions>,
    finally: &Finally,
    wrong: &mut Vec<String>,
) {
    for (register, versions) in registers {
        let mine = || ops.iter().filter(|op| op.register == *register);
        let written: BTreeSet<u64> = mine().filter_map(|op| value_of(op.kind)).collect();
        let unknown = mine().filter(|op| op.answer == Answer::Unknown).filter_map(|op| value_of(op.kind));
        let seen: BTreeSet<u64> = versions.values().map(|(_, value)| *value).collect();
        let lost_answers = unknown.filter(|value| !seen.contains(value)).count();
        for (version, (_, value)) in versions.iter().filter(|(version, _)| **version > 0) {
            if !written.contains(value) {
                wrong.push(format!("r{register} version {version} holds {value}, which nobody wrote"));
            }
        }
        if seen.len() < versions.len() {
            wrong.push(format!("r{register}: {} versions hold {} values", versions.len(), seen.len()));
        }
        let last = versions.keys().next_back().copied().unwrap_or(0);
        let missing = (last as usize + 1).saturating_sub(versions.len());
        // Version 0 is made before anybody writes and need not have been read.
        if missing > lost_answers + usize::from(!versions.contains_key(&0)) {
            wrong.push(format!(
                "r{register}: {missing} versions nobody knows, and {lost_answers} lost answers"
            ));
        }
        let end = finally.registers.get(register).map(|(_, version, _)| *version);
        if end != Some(last) {
            wrong.push(format!("r{register}: version {last} was answered, and it ends as {end:?}"));
        }
    }
    for op in ops {
        if let (Kind::Swap { version: from, .. }, Answer::State { version, .. }) = (op.kind, op.answer)
            && version != from + 1
        {
            wrong.push(format!("r{} was swapped from version {from} to {version}", op.register));
        }
    }
}

fn value_of(kind: Kind) -> Option<u64> {
    match kind {
        Kind::Write { value } | Kind::Swap { value, .. } => Some(value),
        Kind::Read => None,
    }
}

/// Writes over all registers: the zxid of one that was sent later than another one was answered is larger.
fn check_real_time(ops: &[&Op], wrong: &mut Vec<String>) {
    let mut sent = Vec::new();
    let mut answered = Vec::new();
    for op in ops.iter().filter(|op| op.kind != Kind::Read) {
        if let Answer::State { zxid, .. } = op.answer {
            sent.push((op.invoked_us, zxid));
            answered.push((op.answered_us, zxid));
        }
    }
    sent.sort_unstable();
    answered.sort_unstable();
    let (mut newest, mut answered) = (0, answered.into_iter().peekable());
    for (at, zxid) in sent {
        while let Some((_, before)) = answered.next_if(|(done, _)| *done < at) {
            newest = newest.max(before);
        }
        if zxid <= newest {
            wrong.push(format!(
                "a write sent at {at} us has 0x{zxid:x}, and 0x{newest:x} was answered before"
            ));
        }
    }
}

/// What a session has seen never goes back: each answer shows a register at least as new as everything seen before
/// makes it.
fn check_session_order(diary: &Diary, registers: &BTreeMap<Register, Versions>, wrong: &mut Vec<String>) {
    // zxids of each register's versions, ascending.
    let zxids: BTreeMap<Register, Vec<i64>> =
        registers.iter().map(|(r, versions)| (*r, versions.values().map(|(z, _)| *z).collect())).collect();
    let mut seen: (i64, i64) = (0, 0);
    for op in &diary.ops {
        if op.session != seen.0 {
            seen = (op.session, 0);
        }
        let Answer::State { zxid, .. } = op.answer else { continue };
        let of_register = zxids.get(&op.register).map(Vec::as_slice).unwrap_or_default();
        let upto = of_register.partition_point(|z| *z <= seen.1);
        let at_least = if upto == 0 { 0 } else { of_register[upto - 1] };
        if zxid < at_least {
            wrong.push(format!(
                "session 0x{:x} had seen 0x{:x}, then r{} as of 0x{zxid:x} instead of 0x{at_least:x}",
                op.session, seen.1, op.register
            ));
        }
        if op.kind != Kind::Read && zxid <= seen.1 {
            wrong.push(format!(
                "session 0x{:x} had seen 0x{:x}, and its write got 0x{zxid:x}",
                op.session, seen.1
            ));
        }
        seen.1 = seen.1.max(zxid);
    }
}

/// Everything acknowledged is there, under the zxid told, and in the order of the session's requests.
fn check_appended(diary: &Diary, finally: &Finally, wrong: &mut Vec<String>) {
    let mut last = (0, 0);
    for made in &diary.appended {
        let found = finally.appended.get(&made.path);
        if let Some(told) = made.zxid
            && found != Some(&told)
        {
            wrong.push(format!("{} was acknowledged at 0x{told:x}; in the end: {found:?}", made.path));
        }
        let Some(zxid) = found else { continue };
        if last.0 == made.session && *zxid <= last.1 {
            wrong.push(format!("{} is at 0x{zxid:x}, before an earlier one of its session", made.path));
        }
        last = (made.session, *zxid);
    }
}

fn check_ephemerals(diaries: &[Diary], finally: &Finally, wrong: &mut Vec<String>) {
    let alive: BTreeSet<i64> = diaries.iter().map(|d| d.session).collect();
    for (path, owner) in &finally.ephemerals {
        if !alive.contains(owner) {
            wrong.push(format!("{path} belongs to session 0x{owner:x}, which is over"));
        }
    }
    for diary in diaries {
        for made in diary.ephemerals.iter().filter(|m| m.session == diary.session && m.zxid.is_some()) {
            if finally.ephemerals.get(&made.path) != Some(&made.session) {
                wrong.push(format!("{} is gone, and its session 0x{:x} is alive", made.path, made.session));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::Made;
    use super::*;

    fn op(session: i64, kind: Kind, times: (u64, u64), answer: Answer) -> Op {
        Op { session, register: 0, kind, invoked_us: times.0, answered_us: times.1, answer }
    }

    fn state(zxid: i64, version: i32, value: u64) -> Answer {
        Answer::State { zxid, version, value }
    }

    /// Two sessions, a lost answer, a read, an appended and an ephemeral node: all as it should be.
    fn story() -> (Vec<Diary>, Finally) {
        let one = Diary {
            ops: vec![
                op(1, Kind::Write { value: 10 }, (0, 5), state(100, 1, 10)),
                op(1, Kind::Write { value: 11 }, (6, 9), Answer::Unknown),
                op(1, Kind::Read, (20, 21), state(102, 3, 12)),
            ],
            appended: vec![Made { path: "/a".into(), session: 1, zxid: Some(103) }],
            ephemerals: vec![Made { path: "/e".into(), session: 1, zxid: Some(104) }],
            session: 1,
            ..Diary::default()
        };
        let two = Diary {
            ops: vec![op(2, Kind::Swap { value: 12, version: 2 }, (7, 12), state(102, 3, 12))],
            session: 2,
            ..Diary::default()
        };
        let finally = Finally {
            registers: [(0, (102, 3, 12))].into(),
            appended: [("/a".into(), 103)].into(),
            ephemerals: [("/e".into(), 1)].into(),
        };
        (vec![one, two], finally)
    }

    fn is_caught(what: &str, doctor: impl FnOnce(&mut Vec<Diary>, &mut Finally)) {
        let (mut diaries, mut finally) = story();
        doctor(&mut diaries, &mut finally);
        assert!(!check(&diaries, &finally).wrong.is_empty(), "{what} went unnoticed");
    }

    #[test]
    fn a_true_history_passes() {
        let (diaries, finally) = story();
        assert_eq!(check(&diaries, &finally).wrong, Vec::<String>::new());
    }

    #[test]
    fn every_lie_is_caught() {
        is_caught("a lost write", |_, f| f.registers.extend([(0, (100, 1, 10))]));
        is_caught("a rewritten version", |d, _| d[0].ops[2].answer = state(105, 3, 77));
        is_caught("a value nobody wrote", |d, f| {
            d[0].ops[2].answer = state(103, 4, 99);
            f.registers.insert(0, (103, 4, 99));
        });
        is_caught("a write done twice", |d, f| {
            d[0].ops[2].answer = state(103, 4, 12);
            f.registers.insert(0, (103, 4, 12));
        });
        is_caught("a gap without a lost answer", |d, _| d[0].ops[1].answer = Answer::BadVersion);
        is_caught("zxids against versions", |d, _| d[0].ops[0].answer = state(103, 1, 10));
        is_caught("zxids against time", |d, _| {
            d[0].ops[0].invoked_us = 30;
            d[0].ops[0].answered_us = 31;
        });
        is_caught("a read of the past", |d, _| {
            d[0].ops[0].answer = state(102, 3, 10);
            d[0].ops[2].answer = state(100, 1, 12);
        });
        is_caught("a swap of another version", |d, _| {
            d[1].ops[0].kind = Kind::Swap { value: 12, version: 1 }
        });
        is_caught("a lost node", |_, f| f.appended.clear());
        is_caught("nodes out of order", |d, f| {
            d[0].appended.push(Made { path: "/b".into(), session: 1, zxid: None });
            f.appended.insert("/b".into(), 101);
        });
        is_caught("a lost ephemeral node", |_, f| f.ephemerals.clear());
        is_caught("an ephemeral node of the dead", |_, f| f.ephemerals.extend([("/x".into(), 9)]));
        is_caught("what a client saw itself", |d, _| d[0].failures.push("a watch told nothing".into()));
    }
}
