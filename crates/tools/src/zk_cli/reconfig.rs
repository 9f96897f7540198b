//! `reconfig`: changes who belongs to the ensemble, by servers added and removed or as a whole.
//!
//! Texts are sent in lower case, as the original does it (`ReconfigCommand`).

use std::path::Path;

use properties::Properties;
use zk_proto::quorum::Config;

use super::CliError;
use super::commands::{Call, Done};
use crate::out::say_line;

pub(super) const USAGE: &str = "[-s] [-v version] [[-file path] | \
    [-members serverID=host:port1:port2;port3[,...]*]] | \
    [-add serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]";

pub(super) fn run(call: &Call<'_>) -> Done {
    let has = |name| call.args.has_option(name);
    let refuse = |message: &str| Err(CliError::new(message));
    if !["file", "members", "add", "remove"].into_iter().any(has) {
        return Err(call.usage());
    }
    let version = match call.args.value('v') {
        None => -1,
        Some(text) => i64::from_str_radix(text, 16)
            .map_err(|_| CliError::new("-v must be followed by a long (configuration version)"))?,
    };
    if (has("file") || has("members")) && (has("add") || has("remove")) {
        return refuse(
            "Can't use -file or -members together with -add or -remove (mixing incremental and non-incremental \
             modes is not allowed)",
        );
    }
    if has("file") && has("members") {
        return refuse("Can't use -file and -members together (conflicting non-incremental modes)");
    }
    let lower = |name| call.args.option(name).map(str::to_lowercase);
    let members = match call.args.option("file") {
        Some(file) => Some(members_of(file)?),
        None => lower("members"),
    };
    let (joining, leaving) = (lower("add"), lower("remove"));
    let reply = call.zk.reconfig(joining.as_deref(), leaving.as_deref(), members.as_deref(), version);
    let (config, stat) = call.wait(reply, "")?;
    let config = config.unwrap_or_default();
    say_line!("Committed new configuration:\n{}", String::from_utf8_lossy(&config));
    call.print_stat_if_asked(&stat);
    Ok(())
}

/// The members in a file of server lines; anything else in it is a mistake.
fn members_of(file: &str) -> Result<String, CliError> {
    let fail = |why: String| CliError::new(format!("Error processing {file}{why}"));
    if let Err(error) = std::fs::metadata(file) {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "No such file or directory".to_owned(),
            _ => error.to_string(),
        };
        return Err(fail(format!("{file} ({why})")));
    }
    let lines = Properties::load(Path::new(file)).map_err(|error| fail(error.to_string()))?;
    let known = ["server.", "group", "weight"];
    let stranger = lines
        .iter()
        .map(|(key, _)| key)
        .find(|key| *key != "version" && !known.iter().any(|known| key.starts_with(known)));
    if let Some(key) = stranger {
        return Err(fail(format!("Unrecognised parameter: {key}")));
    }
    let config = Config::from_lines(lines.iter()).map_err(|error| fail(error.to_string()))?;
    Ok(config.to_string())
}
