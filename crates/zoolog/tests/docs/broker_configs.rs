//! Tables of `server.properties` and of topic configurations.

use kafka_broker::config::keys::{KEYS, Key, Status, topic_standing};
use kafka_broker::config::values::{Check, Kind};
use kafka_log::config::TOPIC_CONFIGS;

use crate::{code, table};

const STATUSES: [(Status, &str); 5] = [
    (Status::Honoured, "It has its effect."),
    (
        Status::Pending,
        "It belongs to something that is not there yet; without effect, and named once at start when set.",
    ),
    (
        Status::Moot,
        "It tunes a mechanism of the Java broker that does not exist here; without effect, and named once at start when set.",
    ),
    (
        Status::Kraft,
        "It belongs to KRaft or to features no ZooKeeper-mode broker has; without effect, and named once at start when set.",
    ),
    (
        Status::Refused,
        "Starting without what it asks for would be unsafe or wrong: any value but the default refuses the start.",
    ),
];

fn name(status: Status) -> String {
    format!("{status:?}").to_lowercase()
}

pub fn statuses() -> String {
    table(&["status", "meaning"], STATUSES.map(|(status, meaning)| vec![name(status), meaning.to_owned()]))
}

pub fn counts() -> String {
    let count = |status| KEYS.iter().filter(|key| key.status == status).count();
    let parts = STATUSES.map(|(status, _)| format!("{} {}", count(status), name(status)));
    format!("{} keys: {}.\n", KEYS.len(), parts.join(", "))
}

pub fn keys() -> String {
    let rows = KEYS.iter().map(|key| {
        vec![code(key.name), kind(key.kind).to_owned(), default(key), valid(key.check), name(key.status)]
    });
    table(&["key", "type", "default", "valid", "status"], rows)
}

fn default(key: &Key) -> String {
    match key.default {
        None => "null".to_owned(),
        Some("") => "empty".to_owned(),
        Some(text) => code(&text.replace(',', ", ")),
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "boolean",
        Kind::Short => "short",
        Kind::Int => "int",
        Kind::Long => "long",
        Kind::Double => "double",
        Kind::Str => "string",
        Kind::List => "list",
        Kind::Class => "class",
        Kind::Password => "password",
    }
}

fn valid(check: Check) -> String {
    match check {
        Check::Any => String::new(),
        Check::Min(min) => format!("≥ {min}"),
        Check::Between(min, max) => format!("{min} … {max}"),
        Check::OneOf(values) => values.iter().map(|value| code(value)).collect::<Vec<_>>().join(", "),
    }
}

pub fn topics() -> String {
    let rows = TOPIC_CONFIGS.iter().map(|def| {
        let behind = def.broker_keys().map(code).collect::<Vec<_>>().join(", ");
        let default = if def.default.is_empty() { "empty".to_owned() } else { code(def.default) };
        vec![code(def.name), def.kind.java_name().to_lowercase(), default, behind, name(topic_standing(def))]
    });
    table(&["topic configuration", "type", "default", "broker keys that set the default", "status"], rows)
}
