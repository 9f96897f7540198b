//! Which partition of `__consumer_offsets` holds a group.
//!
//! Every broker and every old record agrees on this function; a different answer loses offsets in a
//! mixed cluster, silently.

/// `abs(groupId.hashCode) % partitions` with Java's `String.hashCode` (over UTF-16 code units) and
/// Kafka's `Utils.abs`, where `abs(Int.MIN_VALUE)` is 0. The same function places transactional ids.
///
/// # Panics
/// If `partitions` is not positive.
pub fn partition_for(id: &str, partitions: i32) -> i32 {
    assert!(partitions > 0, "a topic has at least one partition");
    let hash = java_hash_code(id);
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive % partitions
}

fn java_hash_code(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two examples were read from a real cluster; the last string's hash is `Int.MIN_VALUE`.
    #[test]
    fn groups_land_where_kafka_puts_them() {
        assert_eq!(partition_for("my-group", 50), 12);
        assert_eq!(partition_for("orders", 50), 31);
        assert_eq!(partition_for("", 50), 0);
        assert_eq!(java_hash_code("polygenelubricants"), i32::MIN);
        assert_eq!(partition_for("polygenelubricants", 50), 0);
    }

    /// Java hashes surrogates one by one, not code points.
    #[test]
    fn characters_outside_the_basic_plane_hash_as_surrogates() {
        assert_eq!(java_hash_code("\u{1F600}"), 0xD83D_i32 * 31 + 0xDE00_i32);
    }
}
