//! The option grammar of Kafka's Java tools: `--name value`, `--name=value`, flags, repeated options.
//!
//! The messages are those of the originals' parser, because scripts look for them. Unlike Kafka 2.x and later, an
//! unambiguous abbreviation is accepted, as 0.8's tools did. Not for zkCli's and the native commands' arguments.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::ToolError;

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    /// A value, described in the help by this word.
    Value(&'static str),
    /// Perhaps a value.
    MaybeValue(&'static str),
}

/// One option of a tool.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    pub name: &'static str,
    pub takes: Takes,
    pub help: &'static str,
}

/// `spec("topic", Takes::Value("topic"), "…")`, so that a tool's table reads like one.
pub const fn spec(name: &'static str, takes: Takes, help: &'static str) -> Spec {
    Spec { name, takes, help }
}

/// The arguments of one call, parsed.
#[derive(Debug, Default)]
pub struct Options {
    given: BTreeMap<&'static str, Vec<Option<String>>>,
    rest: Vec<String>,
}

impl Options {
    /// Parses `args` by `specs`; the error is the line to print above the usage.
    pub fn parse(specs: &[Spec], args: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut args = args.iter().peekable();
        while let Some(arg) = args.next() {
            let Some(name) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else {
                options.rest.push(arg.clone());
                continue;
            };
            let (name, inline) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            let spec = find(specs, name)?;
            let is_value = |next: &&String| !next.starts_with("--");
            let value = match (spec.takes, inline) {
                (Takes::Nothing, _) => None,
                (_, Some(value)) => Some(value),
                (Takes::Value(_), None) => {
                    Some(args.next().cloned().ok_or(format!("Option {} requires an argument", spec.name))?)
                }
                (Takes::MaybeValue(_), None) => args.next_if(is_value).cloned(),
            };
            options.given.entry(spec.name).or_default().push(value);
        }
        Ok(options)
    }

    pub fn has(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The value of an option, the last one if it was given several times.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.given.get(name)?.iter().rev().find_map(|v| v.as_deref())
    }

    /// Every value of a repeatable option, in order.
    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.given.get(name).into_iter().flatten().filter_map(|v| v.as_deref())
    }

    /// The value as a number; the error is the originals' message.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        self.value(name)
            .map(|v| v.parse().map_err(|_| format!("Cannot parse argument '{v}' of option {name}")))
            .transpose()
    }

    /// The checks of the originals' `CommandLineUtils.checkRequiredArgs`.
    pub fn require(&self, names: &[&str]) -> Result<(), ToolError> {
        match names.iter().find(|name| !self.has(name)) {
            None => Ok(()),
            Some(name) => Err(ToolError::Usage(format!("Missing required argument \"[{name}]\""))),
        }
    }

    /// `used` cannot stand beside any of `others` (`checkInvalidArgs`).
    pub fn forbid(&self, used: &str, others: &[&str]) -> Result<(), ToolError> {
        match others.iter().find(|other| **other != used && self.has(used) && self.has(other)) {
            None => Ok(()),
            Some(other) => {
                Err(ToolError::Usage(format!("Option \"[{used}]\" can't be used with option \"[{other}]\"")))
            }
        }
    }

    /// `name` makes sense only beside one of `others` (jopt-simple's `availableIf`).
    pub fn available_if(&self, name: &str, others: &[&str]) -> Result<(), ToolError> {
        if !self.has(name) || others.iter().any(|other| self.has(other)) {
            return Ok(());
        }
        Err(ToolError::Usage(format!(
            "Option(s) [{name}] are unavailable given other options on the command line"
        )))
    }

    /// Options that mean nothing when given several times.
    pub fn at_most_once(&self, names: &[&str]) -> Result<(), ToolError> {
        let twice = |name: &&&str| self.given.get(**name).is_some_and(|values| values.len() > 1);
        match names.iter().find(twice) {
            None => Ok(()),
            Some(name) => Err(ToolError::Usage(format!(
                "Found multiple arguments for option {name}, but you asked for only one"
            ))),
        }
    }

    /// Arguments that are not options.
    pub fn rest(&self) -> &[String] {
        &self.rest
    }

    /// `key=value` pairs of a repeatable option.
    pub fn pairs(&self, name: &str) -> Result<Vec<(String, String)>, String> {
        match self.values(name).find(|pair| !pair.contains('=')) {
            None => Ok(self.lenient_pairs(name)),
            Some(pair) => Err(format!("Invalid command line properties: {pair}")),
        }
    }

    /// As [`Options::pairs`], and a key alone has an empty value, as with the originals' `--property`.
    pub fn lenient_pairs(&self, name: &str) -> Vec<(String, String)> {
        let pair = |text: &str| {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            (key.to_owned(), value.to_owned())
        };
        self.values(name).map(pair).collect()
    }
}

fn find<'a>(specs: &'a [Spec], name: &str) -> Result<&'a Spec, String> {
    if let Some(spec) = specs.iter().find(|s| s.name == name) {
        return Ok(spec);
    }
    let mut starting = specs.iter().filter(|s| !name.is_empty() && s.name.starts_with(name));
    match (starting.next(), starting.next()) {
        (Some(spec), None) => Ok(spec),
        _ => Err(format!("{name} is not a recognized option")),
    }
}

/// The table that help and errors show, in the originals' two columns.
pub fn usage(specs: &[Spec]) -> String {
    const LEFT: usize = 40;
    const RIGHT: usize = 79;
    let mut sorted: Vec<&Spec> = specs.iter().collect();
    sorted.sort_by_key(|s| s.name);
    let mut out = format!("{:<LEFT$}Description\n{:<LEFT$}-----------\n", "Option", "------");
    for spec in sorted {
        let left = match spec.takes {
            Takes::Nothing => format!("--{}", spec.name),
            Takes::Value(what) => format!("--{} <String: {what}>", spec.name),
            Takes::MaybeValue(what) => format!("--{} [String: {what}]", spec.name),
        };
        for (index, line) in wrap(spec.help, RIGHT - LEFT + 20).iter().enumerate() {
            let head = if index == 0 { left.as_str() } else { "" };
            let _ = writeln!(out, "{head:<width$} {line}", width = LEFT - 1);
        }
    }
    out
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECS: [Spec; 4] = [
        spec("topic", Takes::Value("topic"), "The topic."),
        spec("list", Takes::Nothing, "List."),
        spec("compression-codec", Takes::MaybeValue("codec"), "Codec."),
        spec("config", Takes::Value("k=v"), "A config."),
    ];

    fn parse(args: &[&str]) -> Result<Options, String> {
        let args: Vec<String> = args.iter().map(|s| s.to_string()).collect();
        Options::parse(&SPECS, &args)
    }

    #[test]
    fn values_come_after_a_space_or_an_equals_sign() {
        let options = parse(&["--topic", "a", "--config=x=1", "--config", "y=2"]).expect("parses");
        assert_eq!(options.value("topic"), Some("a"));
        assert_eq!(options.pairs("config").expect("pairs")[1], ("y".to_owned(), "2".to_owned()));
    }

    #[test]
    fn an_optional_value_is_not_the_next_option() {
        let options = parse(&["--compression-codec", "--list"]).expect("parses");
        assert!(options.has("compression-codec") && options.has("list"));
        assert_eq!(options.value("compression-codec"), None);
    }

    #[test]
    fn unambiguous_abbreviations_are_accepted() {
        assert_eq!(parse(&["--top", "a"]).expect("parses").value("topic"), Some("a"));
        assert_eq!(parse(&["--co", "a"]).unwrap_err(), "co is not a recognized option");
    }

    #[test]
    fn combinations_are_checked_in_the_originals_words() {
        let options = parse(&["--list", "--topic", "a", "--topic", "b"]).expect("parses");
        let words = |outcome: Result<(), ToolError>| outcome.unwrap_err().to_string();
        assert_eq!(words(options.require(&["list", "config"])), "Missing required argument \"[config]\"");
        let refused = words(options.forbid("topic", &["topic", "config", "list"]));
        assert_eq!(refused, "Option \"[topic]\" can't be used with option \"[list]\"");
        assert!(
            words(options.available_if("topic", &["config"]))
                .starts_with("Option(s) [topic] are unavailable")
        );
        assert!(
            words(options.at_most_once(&["list", "topic"])).contains("multiple arguments for option topic")
        );
        assert!(
            options.forbid("list", &["config"]).is_ok() && options.available_if("topic", &["list"]).is_ok()
        );
    }

    #[test]
    fn errors_use_the_words_scripts_know() {
        assert_eq!(parse(&["--nope"]).unwrap_err(), "nope is not a recognized option");
        assert_eq!(parse(&["--topic"]).unwrap_err(), "Option topic requires an argument");
    }
}
