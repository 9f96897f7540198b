//! Session passwords: a function of the id alone, so that any server can check one without having seen the
//! session. It guards against mistakes, not against attackers: the secret is a constant of Apache's source.

/// `ZooKeeperServer.superSecret`
const SECRET: i64 = 0xB341_5C00;

/// `new java.util.Random(id ^ SECRET).nextBytes(16 bytes)`, bit for bit.
pub fn password(session_id: i64) -> [u8; 16] {
    let mut random = JavaRandom::new(session_id ^ SECRET);
    let mut bytes = [0; 16];
    for chunk in bytes.as_chunks_mut::<4>().0 {
        *chunk = random.next_int().to_le_bytes();
    }
    bytes
}

/// Session 0 has no password; that id asks for a new session.
pub fn check_password(session_id: i64, given: &[u8]) -> bool {
    session_id != 0 && given == password(session_id)
}

/// The linear congruential generator `java.util.Random` is specified to be.
struct JavaRandom {
    state: u64,
}

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const MASK: u64 = (1 << 48) - 1;

impl JavaRandom {
    fn new(seed: i64) -> Self {
        Self { state: (seed as u64 ^ MULTIPLIER) & MASK }
    }

    fn next_int(&mut self) -> i32 {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        (self.state >> 16) as u32 as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_javas() {
        let mut random = JavaRandom::new(42);
        assert_eq!([random.next_int(), random.next_int()], [-1_170_105_035, 234_785_527]);
        assert_eq!(JavaRandom::new(0).next_int(), -1_155_484_576);
    }

    #[test]
    fn only_the_sessions_own_password_opens_it() {
        let id = 0x0100_0000_0000_0007;
        assert!(check_password(id, &password(id)));
        assert!(!check_password(id + 1, &password(id)));
        assert!(!check_password(id, &[0; 16]));
        assert!(!check_password(id, b""));
        assert!(!check_password(0, &password(0)));
    }
}
