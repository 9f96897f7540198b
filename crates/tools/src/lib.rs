//! Every command line tool, one file each.
//!
//! A tool is a function from arguments to an exit code, found by its name in [`TOOLS`]. Output that scripts read is
//! the originals' to the letter; a failure is one line on stderr that says what to do.

mod out;

pub mod options;

mod client_config;

mod admin;

mod java_errors;

mod brokers_in_zookeeper;

mod topic_filter;

pub mod topics;

pub mod groups;

pub mod console_consumer;

pub mod console_producer;

pub mod zk_cli;

pub mod ensemble;

mod purge;

mod java_text;

mod txn_log_toolkit;

mod snapshot_toolkit;

#[cfg(test)]
mod commands_doc;

use options::{Options, Spec};

/// A tool's failure: the line to print, above the usage table if the call itself was wrong.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The arguments make no sense; the usage is printed below.
    #[error("{0}")]
    Usage(String),
    /// The tool ran and could not do what was asked.
    #[error("{0}")]
    Failed(String),
    /// As `Failed`, and everything there is to say has been printed where the originals print it.
    #[error("failed; the reason is printed above")]
    Reported,
}

impl ToolError {
    fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

type Outcome = Result<(), ToolError>;

/// What a tool with several exit codes ends with.
type ToolResult = Result<i32, ToolError>;

/// One tool: the names it answers to (the originals' script first) and what it does.
pub struct Tool {
    pub names: &'static [&'static str],
    pub about: &'static str,
    grammar: Grammar,
}

/// How a tool reads its arguments.
enum Grammar {
    /// As Kafka's tools: usage on stderr and exit code 1 where the call is wrong.
    Kafka { specs: &'static [Spec], purpose: &'static str, run: fn(&Options) -> Outcome },
    /// The same options; works without any, and has exit codes of its own.
    Native { specs: &'static [Spec], purpose: &'static str, run: fn(&Options) -> ToolResult },
    /// In its own way; the result is the exit code.
    Own(fn(&[String]) -> i32),
}

/// All tools; help, dispatch and the check of the documentation derive from this table.
pub const TOOLS: &[Tool] = &[
    Tool {
        names: &["kafka-topics", "topics"],
        about: "Create, list, describe, alter and delete topics",
        grammar: Grammar::Kafka { specs: &topics::SPECS, purpose: topics::PURPOSE, run: topics::run },
    },
    Tool {
        names: &["kafka-consumer-groups", "groups"],
        about: "List, describe, reset and delete consumer groups",
        grammar: Grammar::Kafka { specs: &groups::SPECS, purpose: groups::PURPOSE, run: groups::run },
    },
    Tool {
        names: &["kafka-console-producer", "produce"],
        about: "Send lines from standard input as records",
        grammar: Grammar::Kafka {
            specs: &console_producer::SPECS,
            purpose: console_producer::PURPOSE,
            run: console_producer::run,
        },
    },
    Tool {
        names: &["kafka-console-consumer", "consume"],
        about: "Print records as they come",
        grammar: Grammar::Kafka {
            specs: &console_consumer::SPECS,
            purpose: console_consumer::PURPOSE,
            run: console_consumer::run,
        },
    },
    Tool {
        names: &["zkCli", "zk"],
        about: "Look at and change znodes, interactively or one command at a time",
        grammar: Grammar::Own(zk_cli::run),
    },
    Tool {
        names: &["zk ensemble"],
        about: "Role, epoch, zxid and lag of each server of an ensemble, and whether there is a quorum",
        grammar: Grammar::Native { specs: &ensemble::SPECS, purpose: ensemble::PURPOSE, run: ensemble::run },
    },
    Tool {
        names: &["zkCleanup"],
        about: "Remove old snapshots and the transaction logs that only they needed",
        grammar: Grammar::Own(purge::run),
    },
    Tool {
        names: &["zkTxnLogToolkit"],
        about: "Show the transactions of a log file, repair its checksums, or cut a copy at a zxid",
        grammar: Grammar::Own(txn_log_toolkit::run),
    },
    Tool {
        names: &["zkSnapShotToolkit"],
        about: "Show the nodes and sessions of a snapshot",
        grammar: Grammar::Own(snapshot_toolkit::run),
    },
];

/// Runs the tool called `name`; `None` if there is no such tool.
pub fn run(name: &str, args: &[String]) -> Option<i32> {
    let called = |name: &str| TOOLS.iter().find(|tool| tool.names.contains(&name));
    // `zk ensemble` is a tool of its own beside `zk`.
    let two_words = args.first().and_then(|word| called(&format!("{name} {word}")));
    let (tool, args) = match two_words {
        Some(tool) => (tool, &args[1..]),
        None => (called(name)?, args),
    };
    Some(match tool.grammar {
        Grammar::Kafka { specs, purpose, run } => {
            if args.is_empty() {
                eprint!("{purpose}\n{}", options::usage(specs));
                return Some(1);
            }
            run_with_options(specs, purpose, args, |options| run(options).map(|()| 0))
        }
        Grammar::Native { specs, purpose, run } => run_with_options(specs, purpose, args, run),
        Grammar::Own(run) => run(args),
    })
}

fn run_with_options(
    specs: &[Spec],
    purpose: &str,
    args: &[String],
    tool: impl Fn(&Options) -> ToolResult,
) -> i32 {
    let wants = |flag: &str| args.iter().any(|a| a == flag);
    if wants("--help") {
        eprint!("{purpose}\n{}", options::usage(specs));
        return 0;
    }
    if wants("--version") {
        out::say_line!("{} (zoolog)", env!("CARGO_PKG_VERSION"));
        return 0;
    }
    let outcome = Options::parse(specs, args).map_err(ToolError::Usage).and_then(|options| tool(&options));
    match outcome {
        Ok(exit_code) => exit_code,
        Err(ToolError::Usage(message)) => {
            eprint!("{message}\n{}", options::usage(specs));
            1
        }
        Err(ToolError::Failed(message)) => {
            eprintln!("{message}");
            1
        }
        Err(ToolError::Reported) => 1,
    }
}
