//! A command line of zkCli: words with quotes, and single-letter options among them.

/// Splits a line as the original does: words, or parts in single or double quotes, whose quotes are dropped.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let quoted = matches!(first, '"' | '\'').then(|| rest[1..].find(first)).flatten();
        let (word, after) = match quoted {
            Some(end) => (&rest[1..1 + end], &rest[end + 2..]),
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

/// The arguments of one command: options it knows, and what is left.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Args {
    options: Vec<(char, Option<String>)>,
    pub plain: Vec<String>,
}

impl Args {
    /// Parses by a description of the options: each letter, followed by `:` if it takes a value.
    pub fn parse(known: &str, words: &[String]) -> Result<Self, String> {
        let mut args = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(letter) = option_letter(word) else {
                args.plain.push(word.clone());
                continue;
            };
            let at = known.find(letter).ok_or(format!("Unrecognized option: {word}"))?;
            let takes_value = known[at + 1..].starts_with(':');
            let value = match takes_value {
                true => Some(words.next().cloned().ok_or(format!("Missing argument for option: {letter}"))?),
                false => None,
            };
            args.options.push((letter, value));
        }
        Ok(args)
    }

    pub fn has(&self, letter: char) -> bool {
        self.options.iter().any(|(l, _)| *l == letter)
    }

    pub fn value(&self, letter: char) -> Option<&str> {
        self.options.iter().find(|(l, _)| *l == letter)?.1.as_deref()
    }

    pub fn plain(&self, index: usize) -> Option<&str> {
        self.plain.get(index).map(String::as_str)
    }
}

/// `-s` is an option; `-`, `-12` and `/path` are not.
fn option_letter(word: &str) -> Option<char> {
    let mut chars = word.strip_prefix('-')?.chars();
    match (chars.next(), chars.next()) {
        (Some(letter), None) if !letter.is_ascii_digit() => Some(letter),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_words_together() {
        assert_eq!(words("set /a \"b c\" 'd \"e'"), ["set", "/a", "b c", "d \"e"]);
        assert_eq!(words("  create /x  '' "), ["create", "/x", ""]);
        assert_eq!(words("get /a\"b"), ["get", "/a\"b"]);
    }

    fn parse(known: &str, line: &str) -> Result<Args, String> {
        Args::parse(known, &words(line))
    }

    #[test]
    fn options_stand_anywhere() {
        let args = parse("sv:", "/a data -v 3 -s").expect("parses");
        assert_eq!((args.value('v'), args.has('s')), (Some("3"), true));
        assert_eq!(args.plain, ["/a", "data"]);
    }

    #[test]
    fn a_negative_number_is_a_value_and_an_unknown_letter_an_error() {
        assert_eq!(parse("v:", "/a -1").expect("parses").plain, ["/a", "-1"]);
        assert_eq!(parse("s", "-x /a").unwrap_err(), "Unrecognized option: -x");
        assert_eq!(parse("v:", "-v").unwrap_err(), "Missing argument for option: v");
    }
}
