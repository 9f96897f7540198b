use super::*;

#[test]
fn ids_carry_server_and_clock_and_count_up() {
    let mut sessions = Sessions::new(3, 2000, 0x0123_4567_89ab);
    let id = sessions.create(4000, 0);
    assert_eq!(id as u64 >> 56, 3);
    // (ms << 24) >>> 8 in 64 bits: the low 40 bits of the clock, 16 bits up.
    assert_eq!(id & 0x00ff_ffff_ffff_ffff, 0x0123_4567_89ab << 16 & 0x00ff_ffff_ffff_ffff);
    assert_eq!(sessions.create(4000, 0), id + 1);
}

#[test]
fn a_deadline_is_the_end_of_its_tick() {
    let mut sessions = Sessions::new(1, 2000, 0);
    let id = sessions.create(4000, 100);
    assert_eq!(sessions.next_deadline_ms(), Some(6000));
    assert_eq!(sessions.expire(5999), []);
    assert!(sessions.touch(id, 1999));
    assert_eq!(sessions.next_deadline_ms(), Some(6000), "the same bucket");
    assert!(sessions.touch(id, 2000));
    assert_eq!(sessions.next_deadline_ms(), Some(8000));
    assert_eq!(sessions.expire(8000), [id]);
    assert_eq!(sessions.expire(8000), [], "told once");
    sessions.check_invariants();
}

#[test]
fn an_expired_session_takes_no_more_requests() {
    let mut sessions = Sessions::new(1, 1000, 0);
    let id = sessions.create(1000, 0);
    assert_eq!(sessions.check(id, 7), Ok(()));
    sessions.expire(10_000);
    assert_eq!(sessions.check(id, 7), Err(ErrorCode::SessionExpired));
    assert!(!sessions.touch(id, 10_000));
    sessions.remove(id);
    assert_eq!(sessions.check(id, 7), Err(ErrorCode::UnknownSession));
    sessions.check_invariants();
}

#[test]
fn a_session_moves_with_its_reconnect() {
    let mut sessions = Sessions::new(1, 1000, 0);
    let id = sessions.create(1000, 0);
    assert_eq!(sessions.check(id, 7), Ok(()));
    assert_eq!(sessions.check(id, 8), Err(ErrorCode::SessionMoved));
    assert_eq!(sessions.set_owner(id, 8), Ok(()));
    assert_eq!(sessions.check(id, 7), Err(ErrorCode::SessionMoved));
    assert_eq!(sessions.check(id, 8), Ok(()));
}

#[test]
fn random_lives_keep_the_wheel_whole() {
    let mut random = fastrand::Rng::with_seed(5);
    let mut sessions = Sessions::new(1, 100, 0);
    let mut ids = Vec::new();
    let mut now = 0;
    for _ in 0..5000 {
        now += random.i64(0..60);
        match random.u8(0..6) {
            0 => ids.push(sessions.create(random.i32(100..2000), now)),
            1 if !ids.is_empty() => sessions.remove(ids.swap_remove(random.usize(0..ids.len()))),
            2 if !ids.is_empty() => sessions.set_closing(ids[random.usize(0..ids.len())]),
            3 => {
                for id in sessions.expire(now) {
                    assert!(!sessions.is_open(id));
                    sessions.remove(id);
                    ids.retain(|i| *i != id);
                }
            }
            _ if !ids.is_empty() => {
                sessions.touch(ids[random.usize(0..ids.len())], now);
            }
            _ => {}
        }
        sessions.check_invariants();
    }
}
