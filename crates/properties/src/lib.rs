//! Java properties files, the format of `zoo.cfg` and `server.properties`.
//!
//! Reads what `java.util.Properties.load` reads: `#` and `!` comments, `=`, `:` or white space between
//! key and value, backslash escapes, `\uXXXX`, and lines continued by a trailing backslash. Order is kept,
//! a later key replaces an earlier one in place. Not for writing files back: nothing here keeps comments.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a properties file could not be used.
#[derive(Debug, Error)]
pub enum PropertiesError {
    #[error("cannot read {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: line {line}: \\u must be followed by four hexadecimal digits")]
    BadUnicodeEscape { path: PathBuf, line: usize },
}

/// Keys and values in the order of their first appearance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    entries: Vec<(String, String)>,
}

impl Properties {
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads and parses a file.
    pub fn load(path: &Path) -> Result<Self, PropertiesError> {
        let text =
            std::fs::read(path).map_err(|source| PropertiesError::Io { path: path.to_owned(), source })?;
        Self::parse(&String::from_utf8_lossy(&text))
            .map_err(|BadEscape { line }| PropertiesError::BadUnicodeEscape { path: path.to_owned(), line })
    }

    /// Parses text; the only thing that can be wrong is a `\u` escape.
    pub fn parse(text: &str) -> Result<Self, BadEscape> {
        let mut properties = Self::new();
        for (line, logical) in logical_lines(text) {
            let (key, value) = split_entry(&logical);
            let unescape = |s| unescape(s).ok_or(BadEscape { line });
            properties.set(unescape(key)?, unescape(value)?);
        }
        Ok(properties)
    }

    /// The value of `key`, with the white space around it that editors leave behind cut off.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().find(|(k, _)| k == key).map(|(_, v)| v.trim())
    }

    /// Sets `key`, keeping its place if it is there already.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        let (key, value) = (key.into(), value.into());
        match self.entries.iter_mut().find(|(k, _)| *k == key) {
            Some(entry) => entry.1 = value,
            None => self.entries.push((key, value)),
        }
    }

    /// All entries in file order, values trimmed.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(k, v)| (k.as_str(), v.trim()))
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// A `\u` escape without four hexadecimal digits, and the line its entry starts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("line {line}: \\u must be followed by four hexadecimal digits")]
pub struct BadEscape {
    pub line: usize,
}

/// Joins continued lines and drops comments and blank lines; yields (number of the first line, text).
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut logical: Vec<(usize, String)> = Vec::new();
    let mut continued = false;
    for (index, raw) in text.split(['\n', '\r']).enumerate() {
        let line = raw.trim_start_matches([' ', '\t', '\x0c']);
        if !continued && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        let continues = backslashes % 2 == 1;
        let part = if continues { &line[..line.len() - 1] } else { line };
        match logical.last_mut() {
            Some((_, whole)) if continued => whole.push_str(part),
            _ => logical.push((index + 1, part.to_owned())),
        }
        continued = continues;
    }
    logical
}

/// Cuts an entry at the first unescaped `=`, `:` or white space.
fn split_entry(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line
        .char_indices()
        .find(|&(_, c)| {
            let ends = !escaped && matches!(c, '=' | ':' | ' ' | '\t' | '\x0c');
            escaped = c == '\\' && !escaped;
            ends
        })
        .map_or(line.len(), |(at, _)| at);
    let blank = [' ', '\t', '\x0c'];
    let rest = line[end..].trim_start_matches(blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&line[..end], rest.trim_start_matches(blank))
}

fn unescape(text: &str) -> Option<String> {
    if !text.contains('\\') {
        return Some(text.to_owned());
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\x0c'),
            Some('u') => out.push(unicode_escape(&mut chars)?),
            Some(other) => out.push(other),
            None => {}
        }
    }
    Some(out)
}

fn unicode_escape(chars: &mut std::str::Chars<'_>) -> Option<char> {
    let mut code = 0;
    for _ in 0..4 {
        code = code * 16 + chars.next()?.to_digit(16)?;
    }
    Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[(&str, &str)]) {
        let got = Properties::parse(text).expect("parses");
        assert_eq!(got.iter().collect::<Vec<_>>(), expect, "{text:?}");
    }

    #[test]
    fn separators_are_equals_colon_or_white_space() {
        check("a=1\nb:2\nc 3\nd\t= 4\ne", &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "")]);
    }

    #[test]
    fn only_the_first_separator_counts() {
        check("server.1=host:2888:3888;2181", &[("server.1", "host:2888:3888;2181")]);
        check("k = a = b", &[("k", "a = b")]);
    }

    #[test]
    fn comments_and_blank_lines_are_skipped() {
        check("# x=1\n  ! y=2\n\n z=3\r\n", &[("z", "3")]);
    }

    #[test]
    fn a_trailing_backslash_continues_and_a_doubled_one_does_not() {
        check("a=1,\\\n   2\nb=c:\\\\\nd=4", &[("a", "1,2"), ("b", "c:\\"), ("d", "4")]);
    }

    #[test]
    fn a_comment_inside_a_continued_entry_is_part_of_it() {
        check("a=1\\\n#2", &[("a", "1#2")]);
    }

    #[test]
    fn escapes_are_those_of_java() {
        check("a\\ b\\=c=\\u0041\\t\\q", &[("a b=c", "A\tq")]);
        assert_eq!(Properties::parse("ok=1\nx=\\u00g0"), Err(BadEscape { line: 2 }));
    }

    #[test]
    fn the_last_value_of_a_key_wins_and_keeps_the_first_place() {
        check("a=1\nb=2\na=3", &[("a", "3"), ("b", "2")]);
    }

    #[test]
    fn trailing_white_space_is_not_part_of_a_value() {
        check("dataDir=/var/zk  \n", &[("dataDir", "/var/zk")]);
    }
}
