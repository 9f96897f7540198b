//! What the stored owner field of a znode means (`EphemeralType`).

use crate::config::TreeConfig;

/// Owner value of every container.
pub const CONTAINER_OWNER: i64 = i64::MIN;

/// Top byte that marks an extended type when those are enabled.
const EXTENDED_MASK: i64 = 0xff << 56;
/// Bits that name the extended feature; 0 is the TTL.
const FEATURE_MASK: i64 = 0x00ff_ff00_0000_0000;
/// Largest TTL, 2^40 - 1 milliseconds or about 34 years.
pub const TTL_MS_MAX: i64 = (1 << 40) - 1;

/// Kinds of znodes by lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Stays until deleted.
    None,
    /// Goes with its session.
    Session(i64),
    /// Goes after its last child.
    Container,
    /// Goes when unchanged and childless for so many milliseconds.
    TtlMs(i64),
}

impl Owner {
    /// Reads a stored owner. A `0xff…` value with an unknown feature reads as a session: with extended types
    /// enabled no such session id can be made, and without them it is one.
    pub fn classify(stored: i64, config: &TreeConfig) -> Self {
        if stored == 0 {
            return Self::None;
        }
        if config.extended_types_enabled && stored < 0 {
            if config.emulate_353_ttl_nodes && stored != CONTAINER_OWNER {
                return Self::TtlMs(stored & TTL_MS_MAX);
            }
            if stored & EXTENDED_MASK == EXTENDED_MASK && stored & FEATURE_MASK == 0 {
                return Self::TtlMs(stored & TTL_MS_MAX);
            }
        }
        if stored == CONTAINER_OWNER { Self::Container } else { Self::Session(stored) }
    }

    /// The session of an ephemeral node, else 0: what clients see.
    pub fn client_view(stored: i64, config: &TreeConfig) -> i64 {
        match Self::classify(stored, config) {
            Self::Session(id) => id,
            _ => 0,
        }
    }

    /// The stored form of a TTL in 1..=[`TTL_MS_MAX`].
    pub fn ttl_to_stored(ttl_ms: i64) -> i64 {
        EXTENDED_MASK | (ttl_ms & TTL_MS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reading_of_an_owner_depends_on_extended_types() {
        let off = TreeConfig::default();
        let on = TreeConfig { extended_types_enabled: true, ..TreeConfig::default() };
        let ttl = Owner::ttl_to_stored(5000);
        assert_eq!(ttl as u64, 0xff00_0000_0000_1388);
        assert_eq!(Owner::classify(ttl, &on), Owner::TtlMs(5000));
        assert_eq!(Owner::classify(ttl, &off), Owner::Session(ttl));
        for config in [&off, &on] {
            assert_eq!(Owner::classify(0, config), Owner::None);
            assert_eq!(Owner::classify(i64::MIN, config), Owner::Container);
            assert_eq!(Owner::classify(77, config), Owner::Session(77));
        }
    }

    #[test]
    fn old_ttl_nodes_are_read_only_on_request() {
        let on = TreeConfig { extended_types_enabled: true, ..TreeConfig::default() };
        let emulating = TreeConfig { emulate_353_ttl_nodes: true, ..on.clone() };
        let stored = i64::MIN | 1000;
        assert_eq!(Owner::classify(stored, &on), Owner::Session(stored));
        assert_eq!(Owner::classify(stored, &emulating), Owner::TtlMs(1000));
        assert_eq!(Owner::classify(i64::MIN, &emulating), Owner::Container);
    }
}
