//! The words, and the list of those that may be asked.

/// Every word of `FourLetterCommands` in 3.9.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Conf,
    Cons,
    Crst,
    Dirs,
    Dump,
    Envi,
    Gtmk,
    Hash,
    Isro,
    Mntr,
    Ruok,
    Srst,
    Srvr,
    Stat,
    Stmk,
    Wchc,
    Wchp,
    Wchs,
}

const WORDS: [(&str, Word); 18] = [
    ("conf", Word::Conf),
    ("cons", Word::Cons),
    ("crst", Word::Crst),
    ("dirs", Word::Dirs),
    ("dump", Word::Dump),
    ("envi", Word::Envi),
    ("gtmk", Word::Gtmk),
    ("hash", Word::Hash),
    ("isro", Word::Isro),
    ("mntr", Word::Mntr),
    ("ruok", Word::Ruok),
    ("srst", Word::Srst),
    ("srvr", Word::Srvr),
    ("stat", Word::Stat),
    ("stmk", Word::Stmk),
    ("wchc", Word::Wchc),
    ("wchp", Word::Wchp),
    ("wchs", Word::Wchs),
];

/// Words that show nothing private and cost little: what is open when the key is unset. Apache opens `srvr`
/// alone, and scrapers then report zeros (influxdata/telegraf#7169).
const HARMLESS: [Word; 10] = [
    Word::Ruok,
    Word::Srvr,
    Word::Stat,
    Word::Mntr,
    Word::Conf,
    Word::Isro,
    Word::Dirs,
    Word::Envi,
    Word::Cons,
    Word::Wchs,
];

impl Word {
    pub(crate) fn from_bytes(bytes: [u8; 4]) -> Option<Self> {
        WORDS.iter().find(|(name, _)| name.as_bytes() == bytes).map(|(_, word)| *word)
    }

    pub(crate) fn name(self) -> &'static str {
        WORDS.iter().find(|(_, word)| *word == self).map_or("", |(name, _)| name)
    }
}

/// The words that are answered (`4lw.commands.whitelist`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whitelist {
    open: Vec<Word>,
}

impl Whitelist {
    /// `setting` is the key's value: a comma-separated list, `*` for all. `srvr` is always open because
    /// `zkServer.sh status` asks it, and `isro` with read-only mode because clients do.
    pub(crate) fn from_setting(setting: Option<&str>, read_only_mode: bool) -> Self {
        let mut open = match setting {
            None => HARMLESS.to_vec(),
            Some(list) => Self::parse(list),
        };
        open.push(Word::Srvr);
        if read_only_mode {
            open.push(Word::Isro);
        }
        Self { open }
    }

    fn parse(list: &str) -> Vec<Word> {
        let names = || list.split(',').map(str::trim);
        if names().any(|name| name == "*") {
            return WORDS.iter().map(|(_, word)| *word).collect();
        }
        names().filter_map(|name| Word::from_bytes(name.as_bytes().try_into().ok()?)).collect()
    }

    /// Every word there is, with whether this list opens it.
    pub fn words(&self) -> impl Iterator<Item = (&'static str, bool)> {
        WORDS.iter().map(|(name, word)| (*name, self.allows(*word)))
    }

    pub(crate) fn allows(&self, word: Word) -> bool {
        self.open.contains(&word)
    }
}

impl Default for Whitelist {
    fn default() -> Self {
        Self::from_setting(None, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(setting: Option<&str>) -> Vec<&'static str> {
        let list = Whitelist::from_setting(setting, false);
        WORDS.iter().filter(|(_, word)| list.allows(*word)).map(|(name, _)| *name).collect()
    }

    #[test]
    fn unset_opens_the_harmless_words_and_a_list_is_obeyed() {
        let harmless = ["conf", "cons", "dirs", "envi", "isro", "mntr", "ruok", "srvr", "stat", "wchs"];
        assert_eq!(open(None), harmless);
        assert_eq!(open(Some("ruok, wchp,nonsense")), ["ruok", "srvr", "wchp"]);
        assert_eq!(open(Some("")), ["srvr"]);
        assert_eq!(open(Some("ruok, *")).len(), WORDS.len());
    }
}
