//! The topics a consumer subscribes to, read from its opaque subscription bytes.
//!
//! Version 0 of the consumer protocol is a prefix of all later ones, so only that much is read: version
//! int16, then an array of topic names. Anything that does not fit yields `None`: the coordinator then
//! does not know, and treats every topic as subscribed.

/// The subscribed topics in the order written; `None` if the bytes are not a consumer subscription.
pub(crate) fn topics(metadata: &[u8]) -> Option<Vec<&str>> {
    let (_version, rest) = split_i16(metadata)?;
    let (count_bytes, mut rest) = rest.split_at_checked(4)?;
    let count = i32::from_be_bytes(count_bytes.try_into().ok()?);
    let mut names = Vec::new();
    for _ in 0..usize::try_from(count).ok()? {
        let (length, after_length) = split_i16(rest)?;
        let (name, after_name) = after_length.split_at_checked(usize::try_from(length).ok()?)?;
        names.push(std::str::from_utf8(name).ok()?);
        rest = after_name;
    }
    Some(names)
}

fn split_i16(bytes: &[u8]) -> Option<(i16, &[u8])> {
    let (head, rest) = bytes.split_at_checked(2)?;
    Some((i16::from_be_bytes(head.try_into().ok()?), rest))
}

#[cfg(test)]
pub(crate) fn encode(topics: &[&str]) -> bytes::Bytes {
    let mut out = vec![0, 0];
    out.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        out.extend((topic.len() as i16).to_be_bytes());
        out.extend(topic.as_bytes());
    }
    out.extend((-1i32).to_be_bytes());
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written is read back, and a later version's extra fields do not matter.
    #[test]
    fn topics_are_read_from_any_version() {
        let mut bytes = encode(&["a", "orders"]).to_vec();
        assert_eq!(topics(&bytes), Some(vec!["a", "orders"]));
        bytes[1] = 3;
        bytes.extend([9; 20]);
        assert_eq!(topics(&bytes), Some(vec!["a", "orders"]));
    }

    /// A lying count or length is refused, without allocating for it.
    #[test]
    fn bytes_that_are_no_subscription_are_refused() {
        assert_eq!(topics(&[]), None);
        assert_eq!(topics(&[0, 0, 0x7f, 0xff, 0xff, 0xff]), None);
        assert_eq!(topics(&[0, 0, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(topics(&[0, 0, 0, 0, 0, 1, 0, 9, b'x']), None);
    }
}
