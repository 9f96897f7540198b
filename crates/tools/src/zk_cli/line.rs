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
    options: Vec<(String, Option<String>)>,
    pub plain: Vec<String>,
}

impl Args {
    /// Parses by a description of the options: letters, each followed by `:` if it takes a value, and after a space
    /// those of several letters (`sv: file: add:`).
    pub fn parse(known: &str, words: &[String]) -> Result<Self, String> {
        let mut args = Self::default();
        let has_long = known.contains(' ');
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(name) = option_name(word, has_long) else {
                args.plain.push(word.clone());
                continue;
            };
            let (name, inline) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            let takes_value = takes_value(known, name).ok_or(format!("Unrecognized option: {word}"))?;
            let value = match (takes_value, inline) {
                (true, Some(value)) => Some(value),
                (true, None) => {
                    Some(words.next().cloned().ok_or(format!("Missing argument for option: {name}"))?)
                }
                (false, _) => None,
            };
            args.options.push((name.to_owned(), value));
        }
        Ok(args)
    }

    pub fn has(&self, letter: char) -> bool {
        self.has_option(letter.encode_utf8(&mut [0; 4]))
    }

    pub fn value(&self, letter: char) -> Option<&str> {
        self.option(letter.encode_utf8(&mut [0; 4]))
    }

    pub fn has_option(&self, name: &str) -> bool {
        self.options.iter().any(|(known, _)| known == name)
    }

    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(known, _)| known == name)?.1.as_deref()
    }

    /// The names of the options that were given, in order.
    pub fn given(&self) -> impl Iterator<Item = &str> {
        self.options.iter().map(|(name, _)| name.as_str())
    }

    pub fn plain(&self, index: usize) -> Option<&str> {
        self.plain.get(index).map(String::as_str)
    }
}

/// Whether a known option takes a value; `None` for an unknown one.
fn takes_value(known: &str, name: &str) -> Option<bool> {
    let (letters, long) = known.split_once(' ').unwrap_or((known, ""));
    let mut chars = name.chars();
    if let (Some(letter), None) = (chars.next(), chars.next()) {
        let at = letters.find(letter)?;
        return Some(letters[at + letter.len_utf8()..].starts_with(':'));
    }
    let found = long.split(' ').find(|option| option.trim_end_matches(':') == name)?;
    Some(found.ends_with(':'))
}

/// `-s` is an option; `-`, `-12` and `/path` are not. `-file` is one only where there are such.
fn option_name(word: &str, has_long: bool) -> Option<&str> {
    let name = word.strip_prefix('-')?;
    let first = name.chars().next()?;
    let one_letter = name.len() == first.len_utf8();
    (!first.is_ascii_digit() && (one_letter || has_long)).then_some(name)
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

    #[test]
    fn options_of_several_letters_take_their_value_behind_or_after_an_equals_sign() {
        let known = "sv: file: add: remove:";
        let args = parse(known, "-s -add 5=h:1:2;3 -remove=4,6").expect("parses");
        assert_eq!((args.option("add"), args.option("remove")), (Some("5=h:1:2;3"), Some("4,6")));
        assert!(args.has('s') && !args.has_option("file") && args.plain.is_empty());
        assert_eq!(parse(known, "-adds x").unwrap_err(), "Unrecognized option: -adds");
        assert_eq!(parse(known, "-file").unwrap_err(), "Missing argument for option: file");
    }
}
