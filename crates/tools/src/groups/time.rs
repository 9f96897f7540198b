//! Points in time as the reset scenarios take them: Java's date format and ISO 8601 durations.

/// Milliseconds since 1970 of `yyyy-MM-ddTHH:mm:ss.SSS`, with an offset behind (`Z`, `+02:00`, `+0200`, `+02`) or none for
/// UTC.
pub fn parse_datetime(text: &str) -> Result<i64, String> {
    let Some((_, time)) = text.split_once('T') else {
        return Err(
            "Error parsing timestamp. It does not contain a 'T' according to ISO8601 format".to_owned()
        );
    };
    let unparseable = || format!("Unparseable date: \"{text}\"");
    let at = time.find(['Z', '+', '-']);
    let (local, offset) = text.split_at(at.map_or(text.len(), |at| text.len() - time.len() + at));
    // Java's pattern wants milliseconds; a text without them is refused by it, too.
    if !local.contains('.') {
        return Err(unparseable());
    }
    let local: jiff::civil::DateTime = local.parse().map_err(|_| unparseable())?;
    let seconds = offset_seconds(offset).ok_or_else(unparseable)?;
    let utc = local.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| unparseable())?;
    Ok(utc.timestamp().as_millisecond() - seconds * 1000)
}

fn offset_seconds(offset: &str) -> Option<i64> {
    if offset.is_empty() || offset == "Z" {
        return Some(0);
    }
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let digits: String = offset[1..].chars().filter(|c| *c != ':').collect();
    if !digits.bytes().all(|b| b.is_ascii_digit()) || !matches!(digits.len(), 2 | 4) {
        return None;
    }
    let hours: i64 = digits[..2].parse().ok()?;
    let minutes: i64 = digits.get(2..).filter(|m| !m.is_empty()).map_or(Some(0), |m| m.parse().ok())?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60)
}

/// Milliseconds of `PnDTnHnMn.nS`, each part with a sign of its own if it likes (`java.time.Duration.parse`).
pub fn parse_duration(text: &str) -> Result<i64, String> {
    duration_ms(text).ok_or_else(|| "Text cannot be parsed to a Duration".to_owned())
}

fn duration_ms(text: &str) -> Option<i64> {
    let upper = text.to_ascii_uppercase();
    let (sign, rest) = match upper.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, upper.strip_prefix('+').unwrap_or(&upper)),
    };
    let rest = rest.strip_prefix('P')?;
    let (days, time) = match rest.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let (days, left) = take_unit(days, 'D', 86_400_000)?;
    if !left.is_empty() {
        return None;
    }
    let (hours, time) = take_unit(time, 'H', 3_600_000)?;
    let (minutes, time) = take_unit(time, 'M', 60_000)?;
    let seconds = if time.is_empty() { 0 } else { seconds_ms(time.strip_suffix('S')?)? };
    let total = days.checked_add(hours)?.checked_add(minutes)?.checked_add(seconds)?;
    total.checked_mul(sign)
}

/// A number before `unit` in milliseconds, and what is left of the text.
fn take_unit(text: &str, unit: char, unit_ms: i64) -> Option<(i64, &str)> {
    match text.split_once(unit) {
        None => Some((0, text)),
        Some((number, left)) => Some((number.parse::<i64>().ok()?.checked_mul(unit_ms)?, left)),
    }
}

fn seconds_ms(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let negative = whole.starts_with('-');
    let whole: i64 = whole.parse().ok()?;
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let ms: i64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    whole.checked_mul(1000)?.checked_add(if negative { -ms } else { ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_utc_unless_they_say_otherwise() {
        let check = |text: &str, expect: i64| assert_eq!(parse_datetime(text), Ok(expect), "{text}");
        check("1970-01-01T00:00:01.500", 1500);
        check("2020-02-29T12:00:00.000Z", 1_582_977_600_000);
        check("2020-02-29T12:00:00.000+02:00", 1_582_970_400_000);
        check("2020-02-29T12:00:00.000-0130", 1_582_983_000_000);
        check("2020-02-29T12:00:00.000+01", 1_582_974_000_000);
    }

    #[test]
    fn other_dates_are_refused() {
        for text in ["2020-02-30T12:00:00.000", "2020-02-20T12:00:00", "2020-02-20T12:00:00.000+1", "xT0.1"] {
            assert_eq!(parse_datetime(text), Err(format!("Unparseable date: \"{text}\"")));
        }
        assert!(parse_datetime("2020-02-20").unwrap_err().contains("does not contain a 'T'"));
    }

    #[test]
    fn durations_are_javas() {
        let check = |text: &str, expect: i64| assert_eq!(parse_duration(text), Ok(expect), "{text}");
        check("P1DT2H3M4S", 93_784_000);
        check("PT20.345S", 20_345);
        check("PT-0.5S", -500);
        check("-PT6H", -21_600_000);
        check("P2D", 172_800_000);
        check("pt15m", 900_000);
        for text in ["", "P", "PT", "1D", "P1H", "PT1D", "PT1.S", "PT1S2M", "P1DT"] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }
}
