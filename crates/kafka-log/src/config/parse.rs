//! Text to values, with Kafka's messages for what is wrong (`ConfigDef.parseType` and its validators).

use std::collections::BTreeMap;

use super::ConfigError;
use super::defs::{ConfigDef, ConfigType, Unit, Valid};

/// A topic default out of the broker's keys; the table's default if none is set.
pub(super) fn broker_default<'a>(
    def: &ConfigDef,
    get: impl Fn(&str) -> Option<&'a str>,
) -> Result<String, ConfigError> {
    for (key, unit) in def.broker_keys {
        let Some(text) = get(key).map(str::trim) else { continue };
        let per_unit = match unit {
            Unit::Same => return Ok(text.to_owned()),
            Unit::Minutes => 60_000,
            Unit::Hours => 3_600_000,
        };
        let value: i64 = text.parse().map_err(|_| invalid(key, text, "Not a number of type INT"))?;
        // Any negative retention time means "no limit", in whatever unit it is given.
        return Ok(if value < 0 { -1 } else { value.saturating_mul(per_unit) }.to_string());
    }
    Ok(def.default.to_owned())
}

/// Checks type and valid values.
pub(super) fn check(def: &ConfigDef, value: &str) -> Result<(), ConfigError> {
    let text = value.trim();
    let not_a_number = || invalid(def.name, value, &format!("Not a number of type {}", def.kind.java_name()));
    match def.kind {
        ConfigType::Boolean => {
            if !text.eq_ignore_ascii_case("true") && !text.eq_ignore_ascii_case("false") {
                return Err(invalid(def.name, value, "Expected value to be either true or false"));
            }
            Ok(())
        }
        ConfigType::Int => {
            let n: i32 = text.parse().map_err(|_| not_a_number())?;
            check_number(def, text, f64::from(n))
        }
        ConfigType::Long => {
            let n: i64 = text.parse().map_err(|_| not_a_number())?;
            check_number(def, text, n as f64)
        }
        ConfigType::Double => {
            let n: f64 = text.parse().map_err(|_| not_a_number())?;
            check_number(def, text, n)
        }
        ConfigType::String => check_text(def, text),
        ConfigType::List => check_list(def, text),
    }
}

fn check_number(def: &ConfigDef, text: &str, n: f64) -> Result<(), ConfigError> {
    let range = match def.valid {
        Valid::AtLeast(min) => (Some(min), None),
        Valid::Between(min, max) => (Some(min), Some(max)),
        Valid::GzipLevel if n != -1.0 && !(1.0..=9.0).contains(&n) => {
            return Err(invalid(def.name, text, "Value must be between 1 and 9 or equal to -1"));
        }
        _ => (None, None),
    };
    match range {
        (Some(min), _) if n < min as f64 => {
            Err(invalid(def.name, text, &format!("Value must be at least {min}")))
        }
        (_, Some(max)) if n > max as f64 => {
            Err(invalid(def.name, text, &format!("Value must be no more than {max}")))
        }
        _ => Ok(()),
    }
}

fn check_text(def: &ConfigDef, text: &str) -> Result<(), ConfigError> {
    match def.valid {
        Valid::OneOf(allowed) if !allowed.contains(&text) => {
            Err(invalid(def.name, text, &format!("String must be one of: {}", allowed.join(", "))))
        }
        Valid::MetadataVersion if !is_release(text) => {
            Err(invalid(def.name, text, &format!("Version {text} is not a valid version")))
        }
        _ => Ok(()),
    }
}

fn check_list(def: &ConfigDef, text: &str) -> Result<(), ConfigError> {
    let elements = split_list(text);
    match def.valid {
        Valid::Each(allowed) => match elements.iter().find(|e| !allowed.contains(&e.as_str())) {
            Some(bad) => {
                Err(invalid(def.name, bad, &format!("String must be one of: {}", allowed.join(", "))))
            }
            None => Ok(()),
        },
        Valid::ThrottledReplicas if elements.concat() != "*" && !elements.iter().all(|e| is_replica(e)) => {
            Err(invalid(
                def.name,
                text,
                &format!(
                    "{} must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
                    def.name
                ),
            ))
        }
        _ => Ok(()),
    }
}

fn is_replica(element: &str) -> bool {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    element.is_empty() || element.split_once(':').is_some_and(|(p, b)| digits(p) && digits(b))
}

/// `2.7`, `2.7-IV2`, `0.10.2`, `0.10.2-IV0`, `0.8.0` and the like.
fn is_release(text: &str) -> bool {
    let (numbers, interim) = text.split_once('-').map_or((text, None), |(n, i)| (n, Some(i)));
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = numbers.split('.').collect();
    (2..=4).contains(&parts.len())
        && parts.iter().all(|p| digits(p))
        && interim.is_none_or(|i| i.strip_prefix("IV").is_some_and(digits))
}

fn invalid(name: &str, value: &str, reason: &str) -> ConfigError {
    ConfigError::InvalidValue { name: name.to_owned(), value: value.to_owned(), reason: reason.to_owned() }
}

fn split_list(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',').map(|e| e.trim().to_owned()).collect()
}

/// Typed access to texts that [`check`] has passed.
pub(super) struct Values<'a>(pub &'a BTreeMap<&'static str, String>);

impl Values<'_> {
    pub fn text(&self, name: &str) -> String {
        self.0.get(name).map(|v| v.trim().to_owned()).unwrap_or_default()
    }

    pub fn long(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or_default()
    }

    pub fn int(&self, name: &str) -> i32 {
        self.text(name).parse().unwrap_or_default()
    }

    /// An INT that the table keeps from being negative.
    pub fn size(&self, name: &str) -> u32 {
        u32::try_from(self.int(name)).unwrap_or_default()
    }

    pub fn double(&self, name: &str) -> f64 {
        self.text(name).parse().unwrap_or_default()
    }

    pub fn boolean(&self, name: &str) -> bool {
        self.text(name).eq_ignore_ascii_case("true")
    }

    pub fn list(&self, name: &str) -> Vec<String> {
        split_list(&self.text(name))
    }
}
