//! Every command line tool, one file each.
//!
//! A tool is a function from arguments to an exit code, found by its name in [`TOOLS`]. Output that scripts read is
//! the originals' to the letter; a failure is one line on stderr that says what to do.

mod out;

pub mod options;

mod client_config;

mod admin;

mod java_errors;

mod topic_filter;

pub mod topics;

pub mod groups;

pub mod console_consumer;

pub mod console_producer;

pub mod zk_cli;

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

/// One tool: the names it answers to (the originals' script first) and what it does.
pub struct Tool {
    pub names: &'static [&'static str],
    pub about: &'static str,
    /// Its options; empty for a tool with a grammar of its own.
    specs: &'static [Spec],
    run: fn(&[String]) -> i32,
}

/// All tools; help, dispatch and the documentation derive from this table.
pub const TOOLS: &[Tool] = &[
    Tool {
        names: &["kafka-topics", "topics"],
        about: "Create, list, describe, alter and delete topics",
        specs: &topics::SPECS,
        run: |args| run_java_style(&topics::SPECS, topics::PURPOSE, args, topics::run),
    },
    Tool {
        names: &["kafka-consumer-groups", "groups"],
        about: "List, describe, reset and delete consumer groups",
        specs: &groups::SPECS,
        run: |args| run_java_style(&groups::SPECS, groups::PURPOSE, args, groups::run),
    },
    Tool {
        names: &["kafka-console-producer", "produce"],
        about: "Send lines from standard input as records",
        specs: &console_producer::SPECS,
        run: |args| {
            run_java_style(&console_producer::SPECS, console_producer::PURPOSE, args, console_producer::run)
        },
    },
    Tool {
        names: &["kafka-console-consumer", "consume"],
        about: "Print records as they come",
        specs: &console_consumer::SPECS,
        run: |args| {
            run_java_style(&console_consumer::SPECS, console_consumer::PURPOSE, args, console_consumer::run)
        },
    },
    Tool {
        names: &["zkCli", "zk"],
        about: "Look at and change znodes, interactively or one command at a time",
        specs: &[],
        run: zk_cli::run,
    },
];

/// Runs the tool called `name`; `None` if there is no such tool.
pub fn run(name: &str, args: &[String]) -> Option<i32> {
    let tool = TOOLS.iter().find(|tool| tool.names.contains(&name))?;
    Some((tool.run)(args))
}

/// Runs a tool with Kafka's option grammar: usage on stderr and exit code 1 where the call is wrong.
fn run_java_style(specs: &[Spec], purpose: &str, args: &[String], tool: fn(&Options) -> Outcome) -> i32 {
    let wants = |flag: &str| args.iter().any(|a| a == flag);
    if args.is_empty() || wants("--help") {
        eprint!("{purpose}\n{}", options::usage(specs));
        return i32::from(!wants("--help"));
    }
    if wants("--version") {
        println!("{} (zoolog)", env!("CARGO_PKG_VERSION"));
        return 0;
    }
    let outcome = Options::parse(specs, args).map_err(ToolError::Usage).and_then(|options| tool(&options));
    match outcome {
        Ok(()) => 0,
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
