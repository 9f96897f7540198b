//! `kafka-topics.sh`: create, list, describe, alter and delete topics.
//!
//! Options are those of 2.7.1, and those that 3.9 added. With `--bootstrap-server` the brokers are asked, and topics
//! are described as 3.9 does; with `--zookeeper` the znodes are read and written as Kafka 2.7.1's own tool does, and
//! described in its shape. A failure is the originals' line on stdout, and where there is advice, a line on stderr.

mod change;

mod describe;

mod cluster;

mod zookeeper;

use std::collections::BTreeSet;

use crate::options::{Options, Spec, Takes, spec};
use crate::out::say;
use crate::topic_filter::TopicFilter;
use crate::{Outcome, ToolError, admin};

pub const PURPOSE: &str = "This tool helps to create, delete, describe, or change a topic.";

#[rustfmt::skip]
pub const SPECS: [Spec; 26] = [
    spec("bootstrap-server", Takes::Value("server to connect to"), "REQUIRED unless --zookeeper is given: The Kafka server to connect to."),
    spec("zookeeper", Takes::Value("hosts"), "DEPRECATED: The ZooKeeper connection string, host:port[,host:port][/chroot]. Topics are then read and written there, as Kafka 2.7 does."),
    spec("command-config", Takes::Value("command config property file"), "A file with properties for the admin client. Only with --bootstrap-server."),
    spec("list", Takes::Nothing, "List all available topics."),
    spec("create", Takes::Nothing, "Create a new topic."),
    spec("delete", Takes::Nothing, "Delete a topic."),
    spec("alter", Takes::Nothing, "Alter the number of partitions, and with --zookeeper the configuration, of the topic."),
    spec("describe", Takes::Nothing, "List details for the given topics."),
    spec("topic", Takes::Value("topic"), "The topic to create, alter, describe or delete. Except for --create it is a regular expression: put it in quotes and escape symbols with '\\', as in \"test\\.topic\"."),
    spec("topic-id", Takes::Value("topic-id"), "The id of the topic to describe. Only with --bootstrap-server."),
    spec("config", Takes::Value("name=value"), "A configuration of the topic being created, or with --zookeeper altered."),
    spec("delete-config", Takes::Value("name"), "A configuration to be removed from the topic. Only with --alter and --zookeeper."),
    spec("partitions", Takes::Value("# of partitions"), "The number of partitions of the topic being created or altered. More partitions for a topic with keys change where keys go. Default for --create: the cluster's."),
    spec("replication-factor", Takes::Value("replication factor"), "The replication factor of the topic being created. Default: the cluster's."),
    spec("replica-assignment", Takes::Value("broker_id_for_part1_replica1 : broker_id_for_part1_replica2 , ..."), "Which brokers hold which partition of the topic being created or altered."),
    spec("under-replicated-partitions", Takes::Nothing, "When describing, show only partitions with replicas that lag."),
    spec("unavailable-partitions", Takes::Nothing, "When describing, show only partitions whose leader is not available."),
    spec("under-min-isr-partitions", Takes::Nothing, "When describing, show only partitions with fewer in-sync replicas than the configured minimum. Not with --zookeeper."),
    spec("at-min-isr-partitions", Takes::Nothing, "When describing, show only partitions with just the configured minimum of in-sync replicas. Not with --zookeeper."),
    spec("topics-with-overrides", Takes::Nothing, "When describing, show only topics with a configuration of their own."),
    spec("if-exists", Takes::Nothing, "When altering, deleting or describing, do nothing if the topic does not exist."),
    spec("if-not-exists", Takes::Nothing, "When creating, do nothing if the topic exists."),
    spec("disable-rack-aware", Takes::Nothing, "Place replicas without regard to racks. With --zookeeper; brokers decide by themselves."),
    spec("force", Takes::Nothing, "Accepted for old scripts; there are no questions to suppress."),
    spec("partition-size-limit-per-response", Takes::Value("maximum number of partitions in one response."), "Accepted for scripts of 3.9; metadata comes in one response."),
    spec("exclude-internal", Takes::Nothing, "Leave internal topics out when listing or describing."),
];

pub fn run(options: &Options) -> Outcome {
    let action = Action::from_options(options)?;
    check(options)?;
    let outcome = match (options.value("bootstrap-server"), options.value("zookeeper")) {
        (Some(servers), _) => {
            let client = admin::client_options(servers, options.value("command-config"))?;
            admin::block_on(cluster::run(client, action, options))?
        }
        (None, Some(hosts)) => admin::block_on(zookeeper::run(hosts, action, options))?,
        (None, None) => unreachable!("checked above"),
    };
    outcome.map_err(|error| {
        say!("Error while executing topic command : {}\n", error.message);
        if let Some(advice) = error.advice {
            eprintln!("{advice}");
        }
        ToolError::Reported
    })
}

/// Why a command failed, in the originals' words, and perhaps what to do.
#[derive(Debug, PartialEq, Eq)]
struct TopicError {
    message: String,
    advice: Option<String>,
}

impl TopicError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), advice: None }
    }

    /// A replication factor beyond the brokers there are.
    fn too_few_brokers(message: impl Into<String>, alive: &[i32]) -> Self {
        let ids: Vec<String> = alive.iter().map(i32::to_string).collect();
        let advice = match alive.len() {
            0 => "No broker is alive: start one first.".to_owned(),
            n => format!(
                "{n} broker{} alive ({}). Use --replication-factor {n}{}, or start more brokers.",
                if n == 1 { " is" } else { "s are" },
                ids.join(","),
                if n == 1 { "" } else { " at most" },
            ),
        };
        Self { message: message.into(), advice: Some(advice) }
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    List,
    Create,
    Delete,
    Alter,
    Describe,
}

const ACTIONS: [(&str, Action); 5] = [
    ("create", Action::Create),
    ("list", Action::List),
    ("alter", Action::Alter),
    ("describe", Action::Describe),
    ("delete", Action::Delete),
];

impl Action {
    fn from_options(options: &Options) -> Result<Self, ToolError> {
        let mut given = ACTIONS.iter().filter(|(name, _)| options.has(name));
        match (given.next(), given.next()) {
            (Some((_, action)), None) => Ok(*action),
            _ => Err(ToolError::Usage(
                "Command must include exactly one action: --list, --describe, --create, --alter or --delete"
                    .to_owned(),
            )),
        }
    }
}

const REPORTS: [&str; 4] = [
    "under-replicated-partitions",
    "under-min-isr-partitions",
    "at-min-isr-partitions",
    "unavailable-partitions",
];

/// The originals' rules about which options go together.
fn check(options: &Options) -> Outcome {
    let cluster = options.has("bootstrap-server");
    match (cluster, options.has("zookeeper")) {
        (true, true) => {
            return Err(ToolError::Usage(
                "Only one of --bootstrap-server or --zookeeper must be specified".to_owned(),
            ));
        }
        (false, false) => {
            return Err(ToolError::Usage("--bootstrap-server must be specified (or --zookeeper)".to_owned()));
        }
        _ => {}
    }
    options.at_most_once(&["topic", "topic-id", "partitions", "replication-factor", "replica-assignment"])?;
    check_required(options, cluster)?;
    let not_for = |used: &str, fitting: &[&str]| {
        let others = ACTIONS.map(|(name, _)| name);
        let others: Vec<&str> = others.into_iter().filter(|name| !fitting.contains(name)).collect();
        options.forbid(used, &others)
    };
    not_for("config", &["alter", "create"])?;
    not_for("delete-config", &["alter"])?;
    options.forbid("delete-config", &["bootstrap-server"])?;
    not_for("partitions", &["alter", "create"])?;
    not_for("replication-factor", &["create"])?;
    not_for("replica-assignment", &["alter", "create"])?;
    if options.has("create") {
        options.forbid("replica-assignment", &["partitions", "replication-factor"])?;
    }
    for report in REPORTS {
        not_for(report, &["describe"])?;
        options.forbid(report, &REPORTS)?;
        options.forbid(report, &["topics-with-overrides"])?;
    }
    options.forbid("under-min-isr-partitions", &["zookeeper"])?;
    options.forbid("at-min-isr-partitions", &["zookeeper"])?;
    not_for("topics-with-overrides", &["describe"])?;
    not_for("if-exists", &["alter", "delete", "describe"])?;
    not_for("if-not-exists", &["create"])?;
    not_for("exclude-internal", &["list", "describe"])?;
    not_for("topic-id", &["describe"])?;
    options.forbid("topic-id", &["zookeeper"])
}

fn check_required(options: &Options, cluster: bool) -> Outcome {
    if options.has("describe") && options.has("if-exists") && !options.has("topic-id") {
        options.require(&["topic"])?;
    }
    if !options.has("list") && !options.has("describe") {
        options.require(&["topic"])?;
    }
    if options.has("create") && !options.has("replica-assignment") && !cluster {
        options.require(&["partitions", "replication-factor"])?;
    }
    if cluster && options.has("alter") {
        if options.has("config") {
            return Err(ToolError::Usage(
                "Option combination \"[bootstrap-server],[config]\" can't be used with option \"[alter]\" (the \
                 kafka-configs CLI supports altering topic configs with a --bootstrap-server option)"
                    .to_owned(),
            ));
        }
        options.require(&["partitions"])?;
    }
    Ok(())
}

/// The topics among `all` that `--topic` and `--exclude-internal` leave, sorted; none of them is an error unless
/// `--if-exists` is given.
fn select(all: impl IntoIterator<Item = String>, options: &Options) -> Result<Vec<String>, TopicError> {
    let exclude = options.has("exclude-internal");
    let pattern = options.value("topic");
    let filter = TopicFilter::new(pattern.unwrap_or(".*")).map_err(TopicError::new)?;
    let sorted: BTreeSet<String> = all.into_iter().collect();
    let chosen: Vec<String> = sorted.into_iter().filter(|t| filter.allows(t, exclude)).collect();
    match pattern {
        Some(topic) if chosen.is_empty() && !options.has("if-exists") && !options.has("list") => {
            Err(TopicError::new(format!("Topic '{topic}' does not exist as expected")))
        }
        _ => Ok(chosen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Options {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&SPECS, &args).expect("parses")
    }

    fn refusal(line: &str) -> String {
        let options = parse(line);
        match Action::from_options(&options).and_then(|_| check(&options)) {
            Err(error) => error.to_string(),
            Ok(()) => panic!("{line} must be refused"),
        }
    }

    #[test]
    fn options_that_do_not_go_together_are_refused_in_the_originals_words() {
        let check = |line: &str, expect: &str| assert_eq!(refusal(line), expect, "{line}");
        let actions =
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete";
        check("--bootstrap-server b", actions);
        check("--bootstrap-server b --list --create", actions);
        check(
            "--bootstrap-server b --zookeeper z --list",
            "Only one of --bootstrap-server or --zookeeper must be specified",
        );
        check("--bootstrap-server b --create", "Missing required argument \"[topic]\"");
        check("--zookeeper z --create --topic t", "Missing required argument \"[partitions]\"");
        check(
            "--zookeeper z --create --topic t --partitions 1",
            "Missing required argument \"[replication-factor]\"",
        );
        check("--bootstrap-server b --alter --topic t", "Missing required argument \"[partitions]\"");
        check(
            "--bootstrap-server b --alter --topic t --config a=b",
            "Option combination \"[bootstrap-server],[config]\" can't be used with option \"[alter]\" (the \
             kafka-configs CLI supports altering topic configs with a --bootstrap-server option)",
        );
        check(
            "--bootstrap-server b --list --partitions 3",
            "Option \"[partitions]\" can't be used with option \"[list]\"",
        );
        check(
            "--bootstrap-server b --create --topic t --replica-assignment 0 --partitions 1",
            "Option \"[replica-assignment]\" can't be used with option \"[partitions]\"",
        );
        check(
            "--zookeeper z --describe --under-min-isr-partitions",
            "Option \"[under-min-isr-partitions]\" can't be used with option \"[zookeeper]\"",
        );
        check(
            "--bootstrap-server b --describe --unavailable-partitions --topics-with-overrides",
            "Option \"[unavailable-partitions]\" can't be used with option \"[topics-with-overrides]\"",
        );
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_an_error_only_where_a_topic_must_exist() {
        let all = || ["b".to_owned(), "a".to_owned(), "__consumer_offsets".to_owned()];
        assert_eq!(
            select(all(), &parse("--list --exclude-internal")),
            Ok(vec!["a".to_owned(), "b".to_owned()])
        );
        assert_eq!(select(all(), &parse("--list --topic x")), Ok(Vec::new()));
        assert_eq!(select(all(), &parse("--delete --if-exists --topic x")), Ok(Vec::new()));
        let error = select(all(), &parse("--delete --topic x")).unwrap_err();
        assert_eq!(error.message, "Topic 'x' does not exist as expected");
    }

    #[test]
    fn too_few_brokers_comes_with_what_to_do() {
        let advice = |alive: &[i32]| TopicError::too_few_brokers("m", alive).advice.expect("advice");
        assert_eq!(advice(&[0]), "1 broker is alive (0). Use --replication-factor 1, or start more brokers.");
        assert_eq!(
            advice(&[0, 2]),
            "2 brokers are alive (0,2). Use --replication-factor 2 at most, or start more brokers."
        );
    }
}
