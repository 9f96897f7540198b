//! `-D` properties out of the environment variables in which operators give them to a JVM.
//!
//! People set servers through `SERVER_JVMFLAGS=-Dzookeeper.snapCount=…` or `KAFKA_OPTS=-D…`; those settings must
//! keep working where there is no JVM. Other JVM flags (heap, collector, debugging) mean nothing here.

/// Every `-Dkey=value` of the named variables, in order; later ones win where they are applied in order.
pub fn system_properties(variables: &[&str]) -> Vec<(String, String)> {
    variables.iter().filter_map(|name| std::env::var(name).ok()).flat_map(|flags| parse(&flags)).collect()
}

fn parse(flags: &str) -> Vec<(String, String)> {
    words(flags)
        .iter()
        .filter_map(|word| word.strip_prefix("-D"))
        .map(|property| match property.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (property.to_owned(), String::new()),
        })
        .collect()
}

/// Splits as a shell does, as far as these variables need it: white space, single and double quotes.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in text.chars() {
        match quote {
            Some(q) if c == q => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_properties_are_taken_from_the_flags() {
        let got = parse("-Xmx1g -Dzookeeper.snapCount=10 '-Dzookeeper.4lw.commands.whitelist=*' -Dflag");
        let expect = [("zookeeper.snapCount", "10"), ("zookeeper.4lw.commands.whitelist", "*"), ("flag", "")];
        assert_eq!(got, expect.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn quotes_keep_spaces() {
        assert_eq!(parse("-Da=\"b c\" -Dd=e"), [("a", "b c"), ("d", "e")].map(|(k, v)| (k.into(), v.into())));
    }
}
