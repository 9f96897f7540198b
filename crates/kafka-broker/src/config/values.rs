//! Typed reading of configuration values: Java's number and boolean forms, ranges, and `ConfigException`'s words.

use super::keys::Key;
use thiserror::Error;

/// Why a configuration cannot be used. The texts are Kafka's where Kafka has one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    #[error("Invalid value {value} for configuration {key}: {reason}")]
    Invalid { key: String, value: String, reason: String },
    /// Values that are fine alone and wrong together.
    #[error("{0}")]
    Rule(String),
    /// The value is right for Kafka, this broker cannot do it.
    #[error("{key}={value} cannot be honoured: {reason}")]
    Unsupported { key: String, value: String, reason: String },
}

impl ConfigError {
    pub fn invalid(key: &str, value: &str, reason: impl Into<String>) -> Self {
        Self::Invalid { key: key.to_owned(), value: value.to_owned(), reason: reason.into() }
    }
}

/// `ConfigDef.Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Short,
    Int,
    Long,
    Double,
    Str,
    /// Comma-separated.
    List,
    /// A Java class name: never loaded here.
    Class,
    Password,
}

/// `ConfigDef.Validator`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    Any,
    Min(i64),
    Between(i64, i64),
    OneOf(&'static [&'static str]),
}

/// A parsed value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Bool(bool),
    /// `SHORT`, `INT` and `LONG`.
    Int(i64),
    Double(f64),
    Text(String),
    List(Vec<String>),
}

/// Parses and checks `text` as a value of `key`.
pub fn parse(key: &Key, text: &str) -> Result<Value, ConfigError> {
    parse_named(key.name, key.kind, key.check, text)
}

/// The same for a key of another table (topic configurations).
pub fn parse_named(name: &str, kind: Kind, check: Check, text: &str) -> Result<Value, ConfigError> {
    let text = text.trim();
    let invalid = |reason: &str| ConfigError::invalid(name, text, reason);
    let value = match kind {
        Kind::Bool if text.eq_ignore_ascii_case("true") => Value::Bool(true),
        Kind::Bool if text.eq_ignore_ascii_case("false") => Value::Bool(false),
        Kind::Bool => return Err(invalid("Expected value to be either true or false")),
        Kind::Short => {
            Value::Int(i64::from(text.parse::<i16>().map_err(|_| invalid("Not a number of type SHORT"))?))
        }
        Kind::Int => {
            Value::Int(i64::from(text.parse::<i32>().map_err(|_| invalid("Not a number of type INT"))?))
        }
        Kind::Long => Value::Int(text.parse().map_err(|_| invalid("Not a number of type LONG"))?),
        Kind::Double => Value::Double(text.parse().map_err(|_| invalid("Not a number of type DOUBLE"))?),
        Kind::Str | Kind::Class | Kind::Password => Value::Text(text.to_owned()),
        Kind::List => Value::List(list(text)),
    };
    range(name, text, check, &value)?;
    Ok(value)
}

/// A comma-separated list; white space around the items is dropped, an empty text is an empty list.
pub fn list(text: &str) -> Vec<String> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    text.split(',').map(|item| item.trim().to_owned()).collect()
}

fn range(name: &str, text: &str, check: Check, value: &Value) -> Result<(), ConfigError> {
    let invalid = |reason: String| Err(ConfigError::invalid(name, text, reason));
    match (check, value) {
        (Check::Min(min) | Check::Between(min, _), Value::Int(n)) if *n < min => {
            invalid(format!("Value must be at least {min}"))
        }
        (Check::Min(min) | Check::Between(min, _), Value::Double(n)) if *n < min as f64 => {
            invalid(format!("Value must be at least {min}"))
        }
        (Check::Between(_, max), Value::Int(n)) if *n > max => {
            invalid(format!("Value must be no more than {max}"))
        }
        (Check::Between(_, max), Value::Double(n)) if *n > max as f64 => {
            invalid(format!("Value must be no more than {max}"))
        }
        (Check::OneOf(allowed), Value::Text(text)) if !allowed.contains(&text.as_str()) => {
            invalid(format!("String must be one of: {}", allowed.join(", ")))
        }
        (Check::OneOf(allowed), Value::List(items)) => {
            match items.iter().find(|item| !allowed.contains(&item.as_str())) {
                Some(_) => invalid(format!("String must be one of: {}", allowed.join(", "))),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys;
    use super::*;

    fn check(key: &str, text: &str, expect: Result<Value, &str>) {
        let got = parse(keys::find(key).expect("known key"), text).map_err(|e| e.to_string());
        assert_eq!(got, expect.map_err(str::to_owned));
    }

    #[test]
    fn values_are_read_as_java_reads_them() {
        check("num.partitions", " 3 ", Ok(Value::Int(3)));
        check("auto.create.topics.enable", "TRUE", Ok(Value::Bool(true)));
        check(
            "log.cleanup.policy",
            "compact, delete",
            Ok(Value::List(vec!["compact".into(), "delete".into()])),
        );
        check("log.retention.ms", "-1", Ok(Value::Int(-1)));
    }

    #[test]
    fn errors_are_kafkas_words() {
        check(
            "num.partitions",
            "x",
            Err("Invalid value x for configuration num.partitions: Not a number of type INT"),
        );
        check(
            "num.partitions",
            "0",
            Err("Invalid value 0 for configuration num.partitions: Value must be at least 1"),
        );
        check(
            "auto.create.topics.enable",
            "yes",
            Err(
                "Invalid value yes for configuration auto.create.topics.enable: Expected value to be either true or false",
            ),
        );
        check(
            "log.message.timestamp.type",
            "now",
            Err(
                "Invalid value now for configuration log.message.timestamp.type: String must be one of: CreateTime, LogAppendTime",
            ),
        );
    }
}
