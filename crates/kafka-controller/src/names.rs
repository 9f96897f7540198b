//! Rules for topic names (`Topic.java`).

use thiserror::Error;

/// Longest legal name; with `-` and the partition it becomes a directory name.
pub const TOPIC_NAME_MAX: usize = 249;

/// Topics the brokers themselves write; clients may not create, delete or produce to them freely.
pub const INTERNAL_TOPICS: [&str; 2] = ["__consumer_offsets", "__transaction_state"];

/// Why a name is not legal. The text is Kafka's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TopicNameError {
    /// No characters at all.
    #[error("the empty string is not allowed")]
    Empty,
    /// `.` or `..`.
    #[error("'{0}' is not allowed")]
    Dots(String),
    /// Longer than [`TOPIC_NAME_MAX`].
    #[error("the length of '{0}' is longer than the max allowed length {TOPIC_NAME_MAX}")]
    TooLong(String),
    /// Other characters than ASCII letters and digits, `.`, `_` and `-`.
    #[error("'{0}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")]
    Characters(String),
}

/// Checks a topic name.
///
/// # Errors
/// See [`TopicNameError`].
pub fn check_topic_name(name: &str) -> Result<(), TopicNameError> {
    if name.is_empty() {
        return Err(TopicNameError::Empty);
    }
    if name == "." || name == ".." {
        return Err(TopicNameError::Dots(name.to_string()));
    }
    if name.len() > TOPIC_NAME_MAX {
        return Err(TopicNameError::TooLong(name.to_string()));
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        return Err(TopicNameError::Characters(name.to_string()));
    }
    Ok(())
}

/// True if `name` differs from `other` only in `.` against `_`, so that their metrics would be the same.
pub fn topic_names_collide(name: &str, other: &str) -> bool {
    let folded = |b: u8| if b == b'.' { b'_' } else { b };
    name.len() == other.len() && name.bytes().map(folded).eq(other.bytes().map(folded))
}

/// True for topics of the brokers themselves.
pub fn is_internal_topic(name: &str) -> bool {
    INTERNAL_TOPICS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "A.b_c-9", "...", "__consumer_offsets", &"x".repeat(249)] {
            assert_eq!(check_topic_name(good), Ok(()));
        }
        for bad in ["", ".", "..", "a b", "ü", "a/b", &"x".repeat(250)] {
            assert!(check_topic_name(bad).is_err(), "{bad}");
        }
        assert!(topic_names_collide("a.b_c", "a_b.c") && topic_names_collide("a", "a"));
        assert!(!topic_names_collide("a.b", "a-b") && !topic_names_collide("a", "ab"));
    }
}
