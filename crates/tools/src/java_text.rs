//! Values in the text forms that Java and jute give them.

use zk_proto::Acl;

/// `DateFormat.SHORT` and `DateFormat.LONG` of the English locale: `11/26/26, 4:10:38 AM UTC`.
pub fn short_date_long_time(ms: i64) -> String {
    let Ok(timestamp) = jiff::Timestamp::from_millisecond(ms) else { return ms.to_string() };
    let zoned = timestamp.to_zoned(jiff::tz::TimeZone::system());
    zoned.strftime("%-m/%-d/%y, %-I:%M:%S %p %Z").to_string()
}

/// `Long.decode`: decimal, `0x…`, `#…`, or octal after a `0`.
pub fn decode_long(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let hex = ["0x", "0X", "#"].iter().find_map(|prefix| digits.strip_prefix(prefix));
    let number = match (hex, digits.strip_prefix('0')) {
        (Some(hex), _) => i64::from_str_radix(hex, 16),
        (None, Some(octal)) if !octal.is_empty() => i64::from_str_radix(octal, 8),
        _ => digits.parse(),
    };
    number.ok().map(|number| if negative { -number } else { number })
}

/// A string as jute's `ToStringOutputArchive` writes it.
pub fn jute_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    out.push('\'');
    for c in text.chars() {
        match c {
            '\0' => out.push_str("%00"),
            '\n' => out.push_str("%0A"),
            '\r' => out.push_str("%0D"),
            ',' => out.push_str("%2C"),
            '}' => out.push_str("%7D"),
            '%' => out.push_str("%25"),
            c => out.push(c),
        }
    }
    out
}

/// An ACL's fields: `31,s{'world,'anyone}`.
pub fn acl(acl: &Acl) -> String {
    format!("{},s{{{},{}}}", acl.perms, jute_string(&acl.id.scheme), jute_string(&acl.id.id))
}

/// A list of ACLs as Java prints it; each record ends in a line break.
pub fn acl_list(list: &[Acl]) -> String {
    let entries: Vec<String> = list.iter().map(|entry| format!("{}\n", acl(entry))).collect();
    format!("[{}]", entries.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longs_are_decoded_as_java_does() {
        let decoded = ["7", "0x1f", "#A", "010", "-0x2", "x", ""].map(decode_long);
        assert_eq!(decoded, [Some(7), Some(31), Some(10), Some(8), Some(-2), None, None]);
    }

    #[test]
    fn acls_look_as_in_the_original() {
        assert_eq!(acl_list(&Acl::open()), "[31,s{'world,'anyone}\n]");
    }
}
