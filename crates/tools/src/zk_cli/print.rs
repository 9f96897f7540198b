//! The shapes in which zkCli prints, and the ACL notation it reads.

use base64::Engine as _;
use zk_proto::{Acl, Id, Stat, perms};

/// A stat in eleven lines.
pub fn stat(stat: &Stat) -> String {
    format!(
        "cZxid = 0x{:x}\nctime = {}\nmZxid = 0x{:x}\nmtime = {}\npZxid = 0x{:x}\ncversion = {}\ndataVersion = {}\n\
         aclVersion = {}\nephemeralOwner = 0x{:x}\ndataLength = {}\nnumChildren = {}",
        stat.czxid,
        date(stat.ctime_ms),
        stat.mzxid,
        date(stat.mtime_ms),
        stat.pzxid,
        stat.cversion,
        stat.version,
        stat.aversion,
        stat.ephemeral_owner,
        stat.data_length,
        stat.num_children,
    )
}

/// `java.util.Date.toString`: `Sat Nov 21 18:55:33 UTC 2026`, in the local time zone.
pub fn date(ms: i64) -> String {
    let Ok(timestamp) = jiff::Timestamp::from_millisecond(ms) else { return ms.to_string() };
    let zoned = timestamp.to_zoned(jiff::tz::TimeZone::system());
    zoned.strftime("%a %b %d %H:%M:%S %Z %Y").to_string()
}

/// `cdrwa`, the letters of the permissions that are set.
pub fn permissions(bits: i32) -> String {
    [(perms::CREATE, 'c'), (perms::DELETE, 'd'), (perms::READ, 'r'), (perms::WRITE, 'w'), (perms::ADMIN, 'a')]
        .into_iter()
        .filter_map(|(bit, letter)| (bits & bit != 0).then_some(letter))
        .collect()
}

/// Two lines an entry: the identity's text form ends in a line break in the original.
pub fn acl(acl: &[Acl]) -> String {
    let entries: Vec<String> = acl
        .iter()
        .map(|entry| format!("'{},'{}\n: {}", entry.id.scheme, entry.id.id, permissions(entry.perms)))
        .collect();
    entries.join("\n")
}

/// `scheme:id:perms,…`; what is wrong is said on stderr and left out, as the original does.
pub fn parse_acl(text: &str) -> Vec<Acl> {
    text.split(',').filter_map(parse_acl_entry).collect()
}

fn parse_acl_entry(entry: &str) -> Option<Acl> {
    let parts = entry.split_once(':').and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once(':')?)));
    let Some((scheme, (id, letters))) = parts else {
        eprintln!("{entry} does not have the form scheme:id:perm");
        return None;
    };
    let bit = |letter| match letter {
        'r' => perms::READ,
        'w' => perms::WRITE,
        'c' => perms::CREATE,
        'd' => perms::DELETE,
        'a' => perms::ADMIN,
        other => {
            eprintln!("Unknown perm type: {other}");
            0
        }
    };
    let bits = letters.chars().map(bit).fold(0, |all, bit| all | bit);
    Some(Acl { perms: bits, id: Id { scheme: scheme.to_owned(), id: id.to_owned() } })
}

/// `[a, b]`, a Java list.
pub fn list(items: &[String]) -> String {
    format!("[{}]", items.join(", "))
}

/// Sixteen bytes a line, offset, hexadecimal and text, between rules.
pub fn hex_dump(data: &[u8]) -> String {
    const HEAD: &str = "         +-------------------------------------------------+\n         \
                        |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |\n\
                        +--------+-------------------------------------------------+----------------+";
    const FOOT: &str = "+--------+-------------------------------------------------+----------------+";
    let rows = data.chunks(16).enumerate().map(|(row, bytes)| {
        let hex: String = bytes.iter().map(|b| format!(" {b:02x}")).collect();
        let text: String =
            bytes.iter().map(|&b| if (0x20..0x7f).contains(&b) { b as char } else { '.' }).collect();
        format!("|{:08x}|{hex:<48} |{text:<16}|\n", row * 16)
    });
    format!("{HEAD}\n{}{FOOT}", rows.collect::<String>())
}

pub fn base64(data: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(data)
}

pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acl_survives_being_written_and_read() {
        let parsed = parse_acl("digest:bob:x=:crw,world:anyone:r,nonsense");
        assert_eq!(parsed.len(), 2);
        assert_eq!((parsed[0].id.scheme.as_str(), parsed[0].id.id.as_str()), ("digest", "bob:x="));
        assert_eq!(acl(&parsed), "'digest,'bob:x=\n: crw\n'world,'anyone\n: r");
    }

    #[test]
    fn permissions_are_listed_in_the_originals_order() {
        assert_eq!(permissions(perms::ALL), "cdrwa");
    }

    #[test]
    fn lists_look_like_javas() {
        assert_eq!(list(&["a".into(), "b".into()]), "[a, b]");
        assert_eq!(list(&[]), "[]");
    }
}
