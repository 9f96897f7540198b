//! Topic patterns as the originals' tools take them: Java regular expressions that must match the whole name.

use kafka_controller::names::is_internal_topic;
use regex_lite::Regex;

/// A set of topics, given by a pattern.
#[derive(Debug)]
pub struct TopicFilter(Regex);

impl TopicFilter {
    /// Commas mean "or", spaces and surrounding quotes are dropped, as in `TopicFilter.scala`.
    pub fn new(raw: &str) -> Result<Self, String> {
        let text = raw.trim().replace(',', "|").replace(' ', "");
        let text = text.trim_matches(|c| c == '"' || c == '\'');
        let anchored = format!("^(?:{})$", unquoted(text));
        Regex::new(&anchored).map(Self).map_err(|_| format!("{text} is an invalid regex."))
    }

    pub fn allows(&self, topic: &str, exclude_internal: bool) -> bool {
        self.0.is_match(topic) && !(exclude_internal && is_internal_topic(topic))
    }
}

/// Java's `\Q…\E`, which the engine does not know, as escaped characters.
fn unquoted(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once("\\Q") {
        let (literal, behind) = after.split_once("\\E").unwrap_or((after, ""));
        out.push_str(before);
        out.push_str(&regex_lite::escape(literal));
        rest = behind;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, topic: &str, expect: bool) {
        let filter = TopicFilter::new(pattern).expect("is a pattern");
        assert_eq!(filter.allows(topic, false), expect, "{pattern} on {topic}");
    }

    #[test]
    fn patterns_match_whole_names() {
        check("a", "ab", false);
        check("a.*", "ab", true);
        check("a.b", "a-b", true);
        check("a\\.b", "a-b", false);
        check("a, b", "b", true);
        check("a,b", "ab", false);
        check("\"a\"", "a", true);
        check("(?i)TOPIC[0-9]{2}", "topic42", true);
        check("\\Qa.b\\E.*", "a.bc", true);
        check("\\Qa.b\\E.*", "axbc", false);
    }

    #[test]
    fn internal_topics_can_be_left_out() {
        let all = TopicFilter::new(".*").expect("is a pattern");
        assert!(all.allows("__consumer_offsets", false) && !all.allows("__consumer_offsets", true));
        assert_eq!(TopicFilter::new("a(").unwrap_err(), "a( is an invalid regex.");
    }
}
