//! How a tool reaches a cluster to administer it: options of the client, and a runtime for one command.

use std::future::Future;
use std::time::Duration;

use kafka_client::ClientOptions;

use crate::ToolError;
use crate::client_config::ClientSettings;

/// Keys of a `--command-config` file that are honoured; others are named on stderr.
const HONOURED: [&str; 6] = [
    "client.id",
    "request.timeout.ms",
    "default.api.timeout.ms",
    "retries",
    "retry.backoff.ms",
    "socket.connection.setup.timeout.ms",
];

/// The client's options for `--bootstrap-server` and `--command-config`; the server on the command line wins.
pub fn client_options(bootstrap: &str, command_config: Option<&str>) -> Result<ClientOptions, ToolError> {
    let settings = ClientSettings::from_file(command_config)?;
    let mut options = ClientOptions::new(bootstrap);
    match settings.get("security.protocol").map(str::to_ascii_uppercase).as_deref() {
        None | Some("PLAINTEXT") => {}
        Some(other) => {
            return Err(ToolError::Failed(format!(
                "security.protocol={other}: this tool speaks PLAINTEXT only; use a PLAINTEXT listener of the broker"
            )));
        }
    }
    let known =
        |key: &str| HONOURED.contains(&key) || matches!(key, "security.protocol" | "bootstrap.servers");
    for (key, _) in settings.iter().filter(|(key, _)| !known(key)) {
        eprintln!("{key} has no effect here");
    }
    let number = |key: &str| -> Result<Option<u64>, ToolError> {
        let parse = |text: &str| text.trim().parse();
        settings
            .get(key)
            .map(|text| parse(text).map_err(|_| ToolError::Failed(format!("{key}={text} is no number"))))
            .transpose()
    };
    if let Some(id) = settings.get("client.id") {
        options.client_id = id.to_owned();
    }
    let set = |to: &mut Duration, key| -> Result<(), ToolError> {
        if let Some(ms) = number(key)? {
            *to = Duration::from_millis(ms);
        }
        Ok(())
    };
    set(&mut options.request_timeout, "request.timeout.ms")?;
    set(&mut options.operation_timeout, "default.api.timeout.ms")?;
    set(&mut options.retry_backoff, "retry.backoff.ms")?;
    set(&mut options.connect_timeout, "socket.connection.setup.timeout.ms")?;
    if let Some(retries) = number("retries")? {
        options.retries = u32::try_from(retries).unwrap_or(u32::MAX);
    }
    Ok(options)
}

/// Runs one command's future to its end.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T, ToolError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ToolError::failed)?;
    Ok(runtime.block_on(future))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(file: &str) -> Result<ClientOptions, ToolError> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("admin.properties");
        std::fs::write(&path, file).expect("written");
        client_options("h:1", path.to_str())
    }

    #[test]
    fn a_command_config_sets_the_client() {
        let options =
            options("bootstrap.servers=other:9\nclient.id=me\ndefault.api.timeout.ms=7\n").expect("reads");
        assert_eq!(options.bootstrap, ["h:1"]);
        assert_eq!(options.client_id, "me");
        assert_eq!(options.operation_timeout, Duration::from_millis(7));
    }

    #[test]
    fn encryption_is_refused_rather_than_left_out() {
        let error = options("security.protocol=SASL_SSL\n").unwrap_err().to_string();
        assert!(error.starts_with("security.protocol=SASL_SSL"), "{error}");
        assert!(options("retries=many\n").is_err());
    }
}
