//! `kafka-consumer-groups.sh`: list, describe and delete consumer groups, reset and delete their offsets.
//!
//! Options are those of 2.7.1, and those that 3.9 added; words and layout are 2.7.1's (see [`layout`]). As with the
//! originals, a failure is said on stdout, and only a call that makes no sense ends with exit code 1.

mod layout;

mod time;

mod plan;

mod describe;

mod reset;

mod delete;

use kafka_client::{ClientError, KafkaClient};
use kafka_proto::ErrorCode;
use kafka_proto::messages::list_groups::ListedGroup;

use crate::options::{Options, Spec, Takes, spec};
use crate::out::say;
use crate::{Outcome, ToolError, admin, java_errors};

use layout::{ListRow, PartitionName};

pub const PURPOSE: &str = "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, or reset consumer group offsets.";

#[rustfmt::skip]
pub const SPECS: [Spec; 28] = [
    spec("bootstrap-server", Takes::Value("server to connect to"), "REQUIRED: The server(s) to connect to."),
    spec("group", Takes::Value("consumer group"), "The consumer group we wish to act on."),
    spec("topic", Takes::Value("topic"), "The topic whose offsets are deleted or reset, or some of its partitions: `topic1:0,1,2`. Can be given several times."),
    spec("all-topics", Takes::Nothing, "Reset offsets of all topics the group has offsets for."),
    spec("list", Takes::Nothing, "List all consumer groups."),
    spec("describe", Takes::Nothing, "Describe a consumer group and its lag: the number of records not yet processed."),
    spec("all-groups", Takes::Nothing, "Apply to all consumer groups."),
    spec("delete", Takes::Nothing, "Delete consumer groups with their offsets, as in --group g1 --group g2."),
    spec("timeout", Takes::Value("timeout (ms)"), "The longest time one request, with its repeats, may take. (default: 5000)"),
    spec("command-config", Takes::Value("command config property file"), "A file with properties for the admin client."),
    spec("reset-offsets", Takes::Nothing, "Reset offsets of a consumer group without active members: show the plan (--dry-run, the default), carry it out (--execute), or print it as CSV (--export). Choose one of: --to-datetime, --by-duration, --to-earliest, --to-latest, --shift-by, --from-file, --to-current, --to-offset; and a scope: --all-topics or --topic, unless it is --from-file."),
    spec("delete-offsets", Takes::Nothing, "Delete offsets of a consumer group, for one or more topics."),
    spec("dry-run", Takes::Nothing, "Only show what --reset-offsets would do."),
    spec("execute", Takes::Nothing, "Carry --reset-offsets out."),
    spec("export", Takes::Nothing, "Print the outcome of --reset-offsets as CSV."),
    spec("to-offset", Takes::Value("offset"), "Reset offsets to a specific offset."),
    spec("from-file", Takes::Value("path to CSV file"), "Reset offsets to values defined in a CSV file."),
    spec("to-datetime", Takes::Value("datetime"), "Reset offsets to the first record since then. Format: 'YYYY-MM-DDTHH:mm:SS.sss'"),
    spec("by-duration", Takes::Value("duration"), "Reset offsets to the first record of this latest span of time. Format: 'PnDTnHnMnS'"),
    spec("to-earliest", Takes::Nothing, "Reset offsets to the earliest offset."),
    spec("to-latest", Takes::Nothing, "Reset offsets to the latest offset."),
    spec("to-current", Takes::Nothing, "Reset offsets to the current offset."),
    spec("shift-by", Takes::Value("number-of-offsets"), "Move current offsets by 'n', positive or negative."),
    spec("members", Takes::Nothing, "Describe the members of the group. Only with --describe."),
    spec("verbose", Takes::Nothing, "With --members: show the partitions of each member."),
    spec("offsets", Takes::Nothing, "Describe the offsets of the group and their lag, the default of --describe."),
    spec("state", Takes::MaybeValue("state[,state]"), "With --describe: the state of the group. With --list: the states of all groups, or only groups in certain states, as in --list --state stable,empty."),
    spec("type", Takes::MaybeValue("type[,type]"), "With --list: the types of all groups, or only groups of certain types, as in --list --type classic."),
];

/// What makes a command fail.
#[derive(Debug)]
enum GroupError {
    /// The call makes no sense: said above the usage.
    Usage(String),
    /// Said after "Executing consumer group command failed due to".
    Failed(String),
}

impl From<ClientError> for GroupError {
    fn from(error: ClientError) -> Self {
        Self::Failed(java_errors::call_described(&error))
    }
}

type Result<T> = std::result::Result<T, GroupError>;

pub fn run(options: &Options) -> Outcome {
    check(options)?;
    let mut client = admin::client_options(
        options.value("bootstrap-server").unwrap_or_default(),
        options.value("command-config"),
    )?;
    let timeout_ms = options.number("timeout").map_err(ToolError::Usage)?.unwrap_or(5000);
    client.operation_timeout = std::time::Duration::from_millis(timeout_ms);
    client.request_timeout = client.request_timeout.min(client.operation_timeout);
    client.connect_timeout = client.connect_timeout.min(client.operation_timeout);
    let outcome = admin::block_on(async {
        let client = KafkaClient::connect(client).await?;
        Groups { client, options }.run().await
    })?;
    match outcome {
        Ok(()) => Ok(()),
        Err(GroupError::Usage(message)) => Err(ToolError::Usage(message)),
        Err(GroupError::Failed(message)) => {
            print_error(&format!("Executing consumer group command failed due to {message}"));
            Ok(())
        }
    }
}

/// The originals' way to say that something is wrong.
fn print_error(message: &str) {
    say!("\nError: {message}\n");
}

const SCENARIOS: [&str; 8] = [
    "to-offset",
    "shift-by",
    "to-datetime",
    "by-duration",
    "to-earliest",
    "to-latest",
    "to-current",
    "from-file",
];

/// The originals' rules about which options go together.
fn check(options: &Options) -> Outcome {
    let usage = |message: &str| Err(ToolError::Usage(message.to_owned()));
    options.require(&["bootstrap-server"])?;
    options.available_if("members", &["describe"])?;
    options.available_if("verbose", &["describe"])?;
    options.available_if("offsets", &["describe"])?;
    options.available_if("state", &["describe", "list"])?;
    options.available_if("type", &["list"])?;
    let has_group = options.has("group") || options.has("all-groups");
    if options.has("describe") {
        if !has_group {
            return usage("Option [describe] takes one of these options: [group], [all-groups]");
        }
        if ["members", "offsets", "state"].iter().filter(|name| options.has(name)).count() > 1 {
            return usage(
                "Option [describe] takes at most one of these options: [members], [offsets], [state]",
            );
        }
        if options.value("state").is_some() {
            return usage("Option [describe] does not take a value for [state]");
        }
    }
    if options.has("delete") {
        if !has_group {
            return usage("Option [delete] takes one of these options: [group], [all-groups]");
        }
        if options.has("topic") {
            return usage(
                "The consumer does not support topic-specific offset deletion from a consumer group.",
            );
        }
    }
    if options.has("delete-offsets") && !(options.has("group") && options.has("topic")) {
        return usage("Option [delete-offsets] takes the following options: [group], [topic]");
    }
    if options.has("reset-offsets") {
        check_reset(options, has_group)?;
    }
    options.forbid("group", &["all-groups"])?;
    options.forbid("group", &["list"])?;
    options.forbid("topic", &["list", "describe"])?;
    let actions = ["list", "describe", "delete", "reset-offsets", "delete-offsets"];
    match actions.iter().filter(|name| options.has(name)).count() {
        1 => Ok(()),
        _ => usage(
            "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets",
        ),
    }
}

fn check_reset(options: &Options, has_group: bool) -> Outcome {
    let usage = |message: &str| Err(ToolError::Usage(message.to_owned()));
    if options.has("dry-run") && options.has("execute") {
        return usage("Option [reset-offsets] only accepts one of [execute] and [dry-run]");
    }
    if !options.has("dry-run") && !options.has("execute") {
        eprintln!(
            "WARN: No action will be performed as the --execute option is missing.In a future major release, the \
             default behavior of this command will be to prompt the user before executing the reset rather than doing \
             a dry run. You should add the --dry-run option explicitly if you are scripting this command and want to \
             keep the current default behavior without prompting."
        );
    }
    if !has_group {
        return usage("Option [reset-offsets] takes one of these options: [group], [all-groups]");
    }
    for scenario in SCENARIOS {
        options.forbid(scenario, &SCENARIOS)?;
    }
    if !SCENARIOS.iter().any(|scenario| options.has(scenario)) {
        let all = SCENARIOS.map(|scenario| format!("[{scenario}]")).join(", ");
        return usage(&format!("Option '[reset-offsets]' requires one of the following scenarios: {all}"));
    }
    if !["all-topics", "topic", "from-file"].iter().any(|scope| options.has(scope)) {
        return usage("One of the reset scopes should be defined: --all-topics, --topic.");
    }
    Ok(())
}

/// One call of the tool.
struct Groups<'a> {
    client: KafkaClient,
    options: &'a Options,
}

impl Groups<'_> {
    async fn run(&self) -> Result<()> {
        let has = |name| self.options.has(name);
        if has("list") {
            self.list().await
        } else if has("describe") {
            self.describe().await
        } else if has("delete") {
            self.delete().await
        } else if has("reset-offsets") {
            self.reset().await
        } else {
            self.delete_offsets().await
        }
    }

    /// The groups the call is about.
    async fn chosen(&self) -> Result<Vec<String>> {
        if self.options.has("all-groups") {
            return Ok(self.consumer_groups(&[]).await?.into_iter().map(|group| group.group_id).collect());
        }
        let mut groups: Vec<String> = self.options.values("group").map(str::to_owned).collect();
        groups.sort();
        groups.dedup();
        Ok(groups)
    }

    /// Groups of consumers, by name: others (Connect's, for one) are no business of this tool.
    async fn consumer_groups(&self, states: &[String]) -> Result<Vec<ListedGroup>> {
        let mut groups = self.client.list_groups(states).await?;
        groups.retain(|group| matches!(group.protocol_type.as_str(), "consumer" | ""));
        Ok(groups)
    }

    async fn list(&self) -> Result<()> {
        let (with_state, with_type) = (self.options.has("state"), self.options.has("type"));
        let states = wanted(self.options.value("state"), &STATES, "state")?;
        let types = wanted(self.options.value("type"), &TYPES, "types")?;
        let groups = self.consumer_groups(&states).await?;
        if !with_state && !with_type {
            for group in groups {
                say!("{}\n", group.group_id);
            }
            return Ok(());
        }
        if !types.is_empty() && groups.iter().any(|group| group.group_type.is_empty()) {
            return Err(GroupError::Failed(
                "org.apache.kafka.common.errors.UnsupportedVersionException: the brokers do not tell the types of \
                 groups (ListGroups version 5)"
                    .to_owned(),
            ));
        }
        let rows = groups.into_iter().map(|group| ListRow {
            group: group.group_id,
            kind: canonical(&group.group_type, &TYPES),
            state: canonical(&group.group_state, &STATES),
        });
        let rows: Vec<ListRow> = rows
            .filter(|row| types.is_empty() || types.contains(&row.kind))
            .filter(|row| states.is_empty() || states.contains(&row.state) || row.state == UNKNOWN)
            .collect();
        say!("{}", layout::list(&rows, with_type, with_state));
        Ok(())
    }

    /// Every partition of some topics, or the error of one that cannot be described.
    async fn partitions_of(&self, topic: &str) -> std::result::Result<Vec<i32>, ErrorCode> {
        let found = self.client.describe_topics(Some(&[topic.to_owned()])).await;
        let topics = found.map_err(|error| error.code().unwrap_or(ErrorCode::UnknownServerError))?;
        let topic = topics.into_iter().next().ok_or(ErrorCode::UnknownTopicOrPartition)?;
        match ErrorCode::from_code(topic.error_code) {
            ErrorCode::None => Ok(topic.partitions.iter().map(|p| p.partition_index).collect()),
            code => Err(code),
        }
    }
}

const UNKNOWN: &str = "Unknown";
const STATES: [&str; 7] =
    ["PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty", "Assigning", "Reconciling"];
const TYPES: [&str; 2] = ["Consumer", "Classic"];

/// The spelling of the originals for what a broker or a user wrote.
fn canonical(text: &str, names: &[&str]) -> String {
    let known = names.iter().find(|name| name.eq_ignore_ascii_case(text.trim()));
    (*known.unwrap_or(&UNKNOWN)).to_owned()
}

/// The names of a filter; none of them filters nothing.
fn wanted(filter: Option<&str>, names: &[&str], what: &str) -> Result<Vec<String>> {
    let Some(filter) = filter.filter(|text| !text.is_empty()) else { return Ok(Vec::new()) };
    let found: Vec<String> = filter.split(',').map(|text| canonical(text, names)).collect();
    if found.iter().any(|name| name == UNKNOWN) {
        let plural = if what == "state" { "states" } else { "types" };
        let valid = names.join(", ");
        return Err(GroupError::Usage(format!(
            "Invalid {what} list '{filter}'. Valid {plural} are: {valid}"
        )));
    }
    Ok(found)
}

/// `topic:0,1` as partitions; `None` for a topic as a whole.
fn parse_topic_partitions(arg: &str) -> Result<Option<Vec<PartitionName>>> {
    let Some((topic, partitions)) = arg.split_once(':') else { return Ok(None) };
    if partitions.is_empty() || partitions.contains(':') {
        return Err(GroupError::Usage(format!(
            "Invalid topic arg '{arg}', expected topic name and partitions"
        )));
    }
    let partition = |text: &str| match text.parse::<i32>() {
        Ok(partition) => Ok((topic.to_owned(), partition)),
        Err(_) => {
            Err(GroupError::Usage(format!("Invalid partition '{text}' specified in topic arg '{arg}''")))
        }
    };
    partitions.split(',').map(partition).collect::<Result<_>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> String {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match Options::parse(&SPECS, &args).map_err(ToolError::Usage).and_then(|options| check(&options)) {
            Err(error) => error.to_string(),
            Ok(()) => panic!("{line} must be refused"),
        }
    }

    #[test]
    fn options_that_do_not_go_together_are_refused_in_the_originals_words() {
        let check =
            |line: &str, expect: &str| assert_eq!(refusal(&format!("--bootstrap-server b {line}")), expect);
        check("--describe", "Option [describe] takes one of these options: [group], [all-groups]");
        check(
            "--describe --group g --members --state",
            "Option [describe] takes at most one of these options: [members], [offsets], [state]",
        );
        check("--describe --group g --state stable", "Option [describe] does not take a value for [state]");
        check(
            "--list --members",
            "Option(s) [members] are unavailable given other options on the command line",
        );
        check("--list --group g", "Option \"[group]\" can't be used with option \"[list]\"");
        check("--delete", "Option [delete] takes one of these options: [group], [all-groups]");
        check(
            "--delete-offsets --group g",
            "Option [delete-offsets] takes the following options: [group], [topic]",
        );
        check(
            "--reset-offsets --group g --dry-run --topic t --to-earliest --to-latest",
            "Option \"[to-earliest]\" can't be used with option \"[to-latest]\"",
        );
        check(
            "--reset-offsets --group g --dry-run --to-earliest",
            "One of the reset scopes should be defined: --all-topics, --topic.",
        );
        assert_eq!(refusal("--list"), "Missing required argument \"[bootstrap-server]\"");
    }

    #[test]
    fn filters_are_read_in_any_case() {
        let states = wanted(Some("stable, EMPTY"), &STATES, "state").expect("valid");
        assert_eq!(states, ["Stable", "Empty"]);
        assert!(wanted(None, &STATES, "state").expect("none").is_empty());
        match wanted(Some("stable,odd"), &TYPES, "types") {
            Err(GroupError::Usage(message)) => {
                assert_eq!(message, "Invalid types list 'stable,odd'. Valid types are: Consumer, Classic");
            }
            other => panic!("must be refused: {other:?}"),
        }
    }

    #[test]
    fn topics_may_name_partitions() {
        let names = |arg| parse_topic_partitions(arg).expect("valid");
        assert_eq!(names("t"), None);
        assert_eq!(names("t:0,2"), Some(vec![("t".into(), 0), ("t".into(), 2)]));
        assert!(parse_topic_partitions("t:").is_err() && parse_topic_partitions("t:a").is_err());
    }
}
