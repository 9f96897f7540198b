//! `setquota`, `listquota`, `delquota`: limits on a subtree, kept as nodes below `/zookeeper/quota`.
//!
//! There can be a limit above another's path or below it, not both: the original refuses it here, not in the server.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use zk_client::{CreateMode, ErrorCode, open_acl};
use zk_proto::path::validate;

use super::CliError;
use super::commands::{Call, Done, bad_path};
use crate::out::say_line;

const ROOT: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";

/// Letter, field, and the text commons-cli shows for each option.
const OPTIONS: [(char, &str, &str); 4] = [
    ('n', "count", "num soft quota"),
    ('b', "bytes", "bytes soft quota"),
    ('N', "countHardLimit", "num hard quota"),
    ('B', "byteHardLimit", "bytes hard quota"),
];

/// Numbers by name, the text of both nodes (`StatsTrack`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Track(BTreeMap<String, i64>);

impl Track {
    /// Nothing limited, as `setquota` writes it.
    fn unlimited() -> Self {
        Self(OPTIONS.iter().map(|(_, field, _)| ((*field).to_owned(), -1)).collect())
    }

    fn parse(data: &[u8]) -> Result<Self, CliError> {
        let text = String::from_utf8_lossy(data);
        let mut track = Self::default();
        for pair in text.split([',', ';']).filter(|pair| !pair.is_empty()) {
            let mut parts = pair.split('=');
            let (key, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let value = if value.is_empty() { "-1" } else { value };
            let value = value.parse().map_err(|_| CliError::new(format!("{text} is no quota")))?;
            track.0.insert(key.to_owned(), value);
        }
        Ok(track)
    }

    fn get(&self, field: &str) -> i64 {
        self.0.get(field).copied().unwrap_or(-1)
    }

    fn set(&mut self, field: &str, value: i64) {
        self.0.insert(field.to_owned(), value);
    }

    fn to_bytes(&self) -> Option<Bytes> {
        Some(Bytes::from(self.to_string()))
    }
}

/// Count and bytes first, and an `=` too many before the rest, so that releases that know only these read it.
impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "count={},bytes={}", self.get("count"), self.get("bytes"))?;
        let rest = self.0.iter().filter(|(key, _)| !matches!(key.as_str(), "count" | "bytes"));
        for (index, (key, value)) in rest.enumerate() {
            write!(f, "{}{key}={value}", if index == 0 { "=;" } else { ";" })?;
        }
        Ok(())
    }
}

/// At most one option, as in commons-cli's option group.
fn only_option(call: &Call<'_>) -> Result<Option<char>, CliError> {
    let mut given = call.args.given();
    let first = given.next();
    if let (Some(first), Some(second)) = (first, given.find(|other| Some(*other) != first)) {
        return Err(CliError::new(format!(
            "The option '{second}' was specified but an option from this group has already been selected: '{first}'"
        )));
    }
    Ok(first.and_then(|name| name.chars().next()))
}

fn field(letter: char) -> &'static str {
    OPTIONS.iter().find(|(known, _, _)| *known == letter).map_or("", |(_, field, _)| field)
}

pub(super) fn set(call: &Call<'_>) -> Done {
    let Some(letter) = only_option(call)? else {
        let group: Vec<String> =
            OPTIONS.iter().map(|(letter, _, text)| format!("-{letter} {text}")).collect();
        return Err(CliError::new(format!("Missing required option: [{}]", group.join(", "))));
    };
    let path = call.word(0)?;
    // The original is content with having said the following.
    if path.starts_with(ROOT) {
        eprintln!("cannot set a quota under the path: {ROOT}");
        return Ok(());
    }
    let text = call.args.value(letter).unwrap_or_default();
    let counts = matches!(letter, 'n' | 'N');
    let value = if counts { text.parse::<i32>().map(i64::from) } else { text.parse::<i64>() };
    let refusal = match value {
        Err(_) => Some("NumberFormatException happens when parsing the option value"),
        Ok(value) if counts && value <= 0 => Some("the num quota must be greater than zero"),
        Ok(value) if value < 0 => Some("the bytes quota must be greater than or equal to zero"),
        Ok(_) => None,
    };
    if let Some(refusal) = refusal {
        eprintln!("{refusal}");
        return Ok(());
    }
    let mut quota = Track::unlimited();
    quota.set(field(letter), value.unwrap_or(-1));
    create(call, path, &quota)
}

fn create(call: &Call<'_>, path: &str, quota: &Track) -> Done {
    validate(path).map_err(|error| bad_path(path, error))?;
    if call.wait(call.zk.exists(path, false), path)?.is_none() {
        return Err(CliError::new(format!("{path} does not exist.")));
    }
    refuse_below(call, path)?;
    refuse_above(call, path)?;

    let mut node = String::from(ROOT);
    if call.wait(call.zk.exists(&node, false), &node)?.is_none() {
        make(call, "/zookeeper")?;
        make(call, ROOT)?;
    }
    for part in path.split('/').skip(1) {
        node = format!("{node}/{part}");
        make(call, &node)?;
    }
    let (limits, stats) = (format!("{node}/{LIMITS}"), format!("{node}/{STATS}"));
    let open = |path: &str, track: &Track| {
        call.wait(call.zk.create(path, track.to_bytes(), open_acl(), CreateMode::Persistent), path)
    };
    if call.wait(call.zk.exists(&limits, false), &limits)?.is_none() {
        open(&limits, quota)?;
        let mut used = Track::default();
        used.set("count", 0);
        used.set("bytes", 0);
        open(&stats, &used)?;
        // The server has counted what is there.
        warn_if_exceeded(&read(call, &limits)?, &read(call, &stats)?);
        return Ok(());
    }
    let mut merged = read(call, &limits)?;
    for (key, value) in quota.0.iter().filter(|(_, value)| **value > -1) {
        merged.set(key, *value);
    }
    warn_if_exceeded(&merged, &read(call, &stats)?);
    call.wait(call.zk.set_data(&limits, merged.to_bytes(), -1), &limits)?;
    Ok(())
}

/// A node that may be there already.
fn make(call: &Call<'_>, path: &str) -> Done {
    match call.ask(call.zk.create(path, None, open_acl(), CreateMode::Persistent)) {
        Err(error) if !error.is(ErrorCode::NodeExists) => Err(CliError::refused(&error, path)),
        _ => Ok(()),
    }
}

fn read(call: &Call<'_>, path: &str) -> Result<Track, CliError> {
    let (data, _) = call.wait(call.zk.get_data(path, false), path)?;
    Track::parse(&data.unwrap_or_default())
}

fn warn_if_exceeded(limits: &Track, used: &Track) {
    let below = |field: &str, used: i64| limits.get(field) > -1 && limits.get(field) < used;
    let (count, bytes) = (used.get("count"), used.get("bytes"));
    if below("count", count) || below("countHardLimit", count) {
        say_line!("[Warning]: the count quota you create is less than the existing count:{count}");
    }
    if below("bytes", bytes) || below("byteHardLimit", bytes) {
        say_line!("[Warning]: the bytes quota you create is less than the existing bytes:{bytes}");
    }
}

/// A quota further down (`SetQuotaCommand.checkIfChildQuota`).
fn refuse_below(call: &Call<'_>, path: &str) -> Done {
    let own = format!("{ROOT}{path}");
    validate(&own).map_err(|error| bad_path(&own, error))?;
    let mut waiting = vec![own.clone()];
    while let Some(node) = waiting.pop() {
        let mut children = match call.ask(call.zk.get_children(&node, false)) {
            Ok(children) => children,
            Err(error) if error.is(ErrorCode::NoNode) => continue,
            Err(error) => return Err(CliError::refused(&error, &node)),
        };
        if node != own && children.iter().any(|child| child == LIMITS) {
            let child = &node[ROOT.len()..];
            return Err(CliError::new(format!("{path} has a child {child} which has a quota")));
        }
        children.sort_unstable();
        waiting.extend(children.into_iter().rev().map(|child| format!("{node}/{child}")));
    }
    Ok(())
}

/// A quota further up (`SetQuotaCommand.checkIfParentQuota`).
fn refuse_above(call: &Call<'_>, path: &str) -> Done {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let mut node = String::from(ROOT);
    for part in parts.iter().take(parts.len().saturating_sub(1)) {
        node = format!("{node}/{part}");
        match call.ask(call.zk.get_children(&node, false)) {
            Ok(children) if children.iter().any(|child| child == LIMITS) => {
                let parent = &node[ROOT.len()..];
                return Err(CliError::new(format!("{path} has a parent {parent} which has a quota")));
            }
            Ok(children) if !children.is_empty() => {}
            Err(error) if !error.is(ErrorCode::NoNode) => return Err(CliError::refused(&error, &node)),
            _ => return Ok(()),
        }
    }
    Ok(())
}

pub(super) fn list(call: &Call<'_>) -> Done {
    let path = call.word(0)?;
    let (limits, stats) = (format!("{ROOT}{path}/{LIMITS}"), format!("{ROOT}{path}/{STATS}"));
    eprintln!("absolute path is {limits}");
    validate(&limits).map_err(|error| bad_path(&limits, error))?;
    for (what, node) in [("quota", &limits), ("stat", &stats)] {
        match call.ask(call.zk.get_data(node, false)) {
            Ok((data, _)) => {
                say_line!("Output {what} for {path} {}", Track::parse(&data.unwrap_or_default())?)
            }
            Err(error) if error.is(ErrorCode::NoNode) => {
                eprintln!("quota for {path} does not exist.");
                return Ok(());
            }
            Err(error) => return Err(CliError::refused(&error, node)),
        }
    }
    Ok(())
}

pub(super) fn delete(call: &Call<'_>) -> Done {
    let letter = only_option(call)?;
    let path = call.word(0)?;
    let (parent, limits) = (format!("{ROOT}{path}"), format!("{ROOT}{path}/{LIMITS}"));
    validate(&limits).map_err(|error| bad_path(&limits, error))?;
    if call.wait(call.zk.exists(&limits, false), &limits)?.is_none() {
        say_line!("Quota does not exist for {path}");
        return Ok(());
    }
    if let Some(letter) = letter {
        let mut left = read(call, &limits)?;
        left.set(field(letter), -1);
        call.wait(call.zk.set_data(&limits, left.to_bytes(), -1), &limits)?;
        return Ok(());
    }
    for child in call.wait(call.zk.get_children(&parent, false), &parent)? {
        let node = format!("{parent}/{child}");
        call.wait(call.zk.delete(&node, -1), &node)?;
    }
    // What was made for the way down goes too, as far as nothing else needs it.
    let mut node = parent.as_str();
    while node != ROOT && call.wait(call.zk.get_children(node, false), node)?.is_empty() {
        call.wait(call.zk.delete(node, -1), node)?;
        node = node.rsplit_once('/').map_or(ROOT, |(up, _)| up);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_is_written_so_that_old_releases_read_it() {
        let mut track = Track::unlimited();
        track.set("count", 5);
        let text = "count=5,bytes=-1=;byteHardLimit=-1;countHardLimit=-1";
        assert_eq!(track.to_string(), text);
        assert_eq!(Track::parse(text.as_bytes()).unwrap(), track);
        let old = Track::parse(b"count=2,bytes=").unwrap();
        assert_eq!((old.get("count"), old.get("bytes"), old.get("byteHardLimit")), (2, -1, -1));
        assert_eq!(old.to_string(), "count=2,bytes=-1");
        assert!(Track::parse(b"count=x").is_err());
    }
}
