//! `zoolog zk ensemble`: what each server of an ensemble is doing, and whether there is a quorum.
//!
//! Works against any servers, zoolog's and Apache's: `srvr` is asked, which every whitelist allows, and `mntr` and
//! `conf` where they are allowed. Hosts that swallow packets cost a bounded time, whatever their number. Nothing is
//! changed; only where a server does not tell its configuration by `conf`, a short session reads it.

mod ask;
mod discover;
mod members;
mod show;
mod verdict;

use std::path::Path;

use crate::options::{Options, Spec, Takes, spec};
use crate::out::{say, say_line};
use crate::{ToolError, ToolResult};

pub const PURPOSE: &str = "Role, epoch, zxid and lag of each server of an ensemble, and whether there is a quorum. \
    Exit code: 0 a leader and every voter serve; 1 there is a quorum, and a voter is missing; 2 no quorum; \
    3 it could not be found out.";

pub const SPECS: [Spec; 4] = [
    spec(
        "server",
        Takes::Value("host:port,..."),
        "Servers to ask; their configuration tells the others. Default: localhost:2181.",
    ),
    spec("config", Takes::Value("zoo.cfg"), "Take the servers from this file and its dynamic one."),
    spec("json", Takes::Nothing, "Print JSON instead of a table."),
    spec(
        "missing",
        Takes::Nothing,
        "Print only who is missing, a line each, nothing if nobody is: what zkServer.sh status adds.",
    ),
];

/// Exit codes, in the order monitoring systems know: ok, warning, critical, unknown.
const UNKNOWN: i32 = 3;

pub fn run(options: &Options) -> ToolResult {
    options.forbid("server", &["config"])?;
    options.forbid("missing", &["json", "server"])?;
    if let Some(word) = options.rest().first() {
        return Err(ToolError::Usage(format!("{word} is no option")));
    }
    match options.value("config") {
        Some(file) if options.has("missing") => {
            // A file without an ensemble in it has nobody who could be missing.
            let Ok(mut ensemble) = members::from_file(Path::new(file)) else { return Ok(0) };
            if ensemble.config.members.len() > 1 {
                let answers = ask(&mut ensemble);
                say!("{}", verdict::missing(&ensemble, &answers));
            }
            Ok(0)
        }
        Some(file) => Ok(match members::from_file(Path::new(file)) {
            Ok(ensemble) => report(ensemble, options.has("json")),
            Err(message) => unknown(&message),
        }),
        None if options.has("missing") => Err(ToolError::Usage("--missing needs --config".into())),
        None => {
            let addresses = options.value("server").unwrap_or("localhost:2181");
            Ok(match discover::from_addresses(addresses) {
                Ok(ensemble) => report(ensemble, options.has("json")),
                Err(message) => unknown(&message),
            })
        }
    }
}

fn unknown(message: &str) -> i32 {
    eprintln!("{message}");
    UNKNOWN
}

fn report(mut ensemble: members::Ensemble, json: bool) -> i32 {
    let answers = ask(&mut ensemble);
    let verdict = verdict::judge(&ensemble, &answers);
    if json {
        say_line!("{}", show::json(&ensemble, &answers, &verdict));
    } else {
        say!("{}", show::table(&ensemble, &answers, &verdict));
    }
    verdict.exit_code()
}

/// Asks all of them; a client port that was guessed and answered is a guess no more.
fn ask(ensemble: &mut members::Ensemble) -> Vec<ask::Answer> {
    let answers = ask::ask_all(&ensemble.servers);
    for (server, answer) in ensemble.servers.iter_mut().zip(&answers) {
        server.guessed &= !matches!(answer, ask::Answer::Serving(_) | ask::Answer::NotServing);
    }
    answers
}
