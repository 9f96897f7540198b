//! `zkCli.sh`: a command line for the coordination service, interactive or one command at a time.
//!
//! Output that scripts read is Apache 3.9's to the letter: results on stdout, what happened on stderr. Commands
//! of 3.4 (`rmr`, `ls2`, `get path watch`) are still understood. Unlike the original, a server that cannot be
//! reached is said so at once instead of being retried under a prompt.

mod commands;
mod line;
mod print;
mod quota;
mod reconfig;

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use zk_client::{ConnectOptions, ErrorCode, EventKind, Events, KeeperState, WatchEvent, ZkClient, ZkError};

use crate::out::say_line;

/// A command's failure: what to print on stderr, and the exit code of a one-shot call.
#[derive(Debug)]
pub(crate) struct CliError {
    message: String,
    exit_code: i32,
}

impl CliError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: 1 }
    }

    /// The original's words for what the server refused.
    fn refused(error: &ZkError, path: &str) -> Self {
        let Some(code) = error.code() else { return Self::new(error.to_string()) };
        Self::new(match code {
            ErrorCode::NoNode => format!("Node does not exist: {path}"),
            ErrorCode::NoChildrenForEphemerals => format!("Ephemerals cannot have children: {path}"),
            ErrorCode::NodeExists => format!("Node already exists: {path}"),
            ErrorCode::NotEmpty => format!("Node not empty: {path}"),
            ErrorCode::NotReadOnly => format!("Not a read-only call: {path}"),
            ErrorCode::InvalidAcl => format!("Acl is not valid : {path}"),
            ErrorCode::NoAuth => format!("Insufficient permission : {path}"),
            ErrorCode::BadArguments => format!("Arguments are not valid : {path}"),
            ErrorCode::BadVersion => format!("version No is not valid : {path}"),
            ErrorCode::QuotaExceeded => format!("Quota has exceeded : {path}"),
            ErrorCode::ReconfigInProgress => {
                "Another reconfiguration is in progress -- concurrent reconfigs not supported (yet)"
                    .to_owned()
            }
            ErrorCode::NewConfigNoQuorum => "No quorum of new config is connected and up-to-date with the leader of \
                last commmitted config - try invoking reconfiguration after new servers are connected and synced"
                .to_owned(),
            code if path.is_empty() => format!("KeeperErrorCode = {code}"),
            code => format!("KeeperErrorCode = {code} for {path}"),
        })
    }
}

/// What stands before the command on the command line.
#[derive(Debug, PartialEq, Eq)]
struct Flags {
    server: String,
    timeout_ms: i32,
    read_only: bool,
    command: Vec<String>,
}

impl Flags {
    fn parse(args: &[String]) -> Result<Self, String> {
        let mut flags = Self {
            server: "localhost:2181".into(),
            timeout_ms: 30_000,
            read_only: false,
            command: Vec::new(),
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("Error: no argument found for option {arg}"));
            match arg.as_str() {
                "-server" => flags.server = value()?.clone(),
                "-timeout" => {
                    let text = value()?;
                    flags.timeout_ms =
                        text.parse().map_err(|_| format!("Error: -timeout {text} is no number"))?;
                }
                "-r" => flags.read_only = true,
                // A connection is always waited for here.
                "-waitforconnection" => {}
                "-client-configuration" | "-zk-tls-config-file" => {
                    let file = value()?;
                    eprintln!("{arg} {file}: TLS is not supported yet; connecting without");
                }
                flag if flag.starts_with('-') => return Err(format!("Error: unknown option {flag}")),
                command => {
                    flags.command =
                        std::iter::once(command.to_owned()).chain(args.by_ref().cloned()).collect();
                }
            }
        }
        Ok(flags)
    }
}

/// Runs zkCli with its command line arguments; returns the exit code.
pub fn run(args: &[String]) -> i32 {
    let flags = match Flags::parse(args) {
        Ok(flags) => flags,
        Err(message) => {
            eprintln!("{message}");
            return 1;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return 1;
        }
    };
    say_line!("Connecting to {}", flags.server);
    let mut cli = Cli {
        runtime,
        options: ConnectOptions::new(&flags.server).session_timeout_ms(flags.timeout_ms),
        zk: None,
        settle: None,
        print_watches: Arc::new(AtomicBool::new(true)),
        history: Vec::new(),
        quit: false,
    };
    cli.options.can_be_read_only = flags.read_only;
    if flags.command.is_empty() {
        say_line!("Welcome to ZooKeeper!");
        let jline = if std::io::stdin().is_terminal() { "enabled" } else { "disabled" };
        say_line!("JLine support is {jline}");
    }
    if let Err(error) = cli.connect() {
        eprintln!("{}", error.message);
        return error.exit_code;
    }
    let exit_code = if flags.command.is_empty() { cli.converse() } else { cli.execute(&flags.command) };
    // What the end of the session does to watched nodes is not told any more.
    cli.print_watches.store(false, Ordering::Relaxed);
    cli.close();
    exit_code
}

#[cfg(test)]
pub(crate) use commands::names;
pub(crate) use print::date;

/// How long to look for a server before saying that there is none.
const CONNECT_TIMEOUT_MS: u64 = 10_000;

/// A session and what has been typed in it.
pub(crate) struct Cli {
    runtime: Runtime,
    options: ConnectOptions,
    zk: Option<ZkClient>,
    /// Asks the session's printer to print what has happened so far, and to say when it has.
    settle: Option<mpsc::Sender<oneshot::Sender<()>>>,
    print_watches: Arc<AtomicBool>,
    history: Vec<String>,
    quit: bool,
}

impl Cli {
    fn connect(&mut self) -> Result<(), CliError> {
        self.close();
        let options = self.options.clone().connect_timeout_ms(CONNECT_TIMEOUT_MS);
        let connected = self.runtime.block_on(ZkClient::connect(options));
        let (zk, events) = connected.map_err(|error| CliError::new(error.to_string()))?;
        let print = Arc::clone(&self.print_watches);
        // The connection's own event is told here, so that it comes before whatever the first command prints.
        print_event(&WatchEvent {
            kind: EventKind::None,
            state: KeeperState::SyncConnected,
            path: String::new(),
            zxid: -1,
        });
        let (settle, settling) = mpsc::channel(1);
        self.runtime.spawn(print_events(events, settling, print));
        (self.zk, self.settle) = (Some(zk), Some(settle));
        Ok(())
    }

    fn close(&mut self) {
        if let Some(zk) = self.zk.take() {
            // The server may be gone; the session ends by itself then.
            let _ = self.runtime.block_on(zk.close());
        }
    }

    /// Watches that the last command fired are shown before the next one is read, whatever the next one is.
    fn print_what_happened(&self) {
        let Some(settle) = &self.settle else { return };
        let (done, settled) = oneshot::channel();
        // A printer that has ended has printed everything.
        let _ = self.runtime.block_on(async {
            settle.send(done).await.ok()?;
            settled.await.ok()
        });
    }

    fn host(&self) -> &str {
        &self.options.hosts
    }

    fn prompt(&self) -> String {
        let state = match &self.zk {
            Some(zk) if zk.is_connected() => "CONNECTED",
            Some(_) => "CONNECTING",
            None => "CLOSED",
        };
        format!("[zk: {}({state}) {}] ", self.host(), self.history.len())
    }

    /// Reads commands until the end of input, with editing and history where a person types. The exit code is the
    /// last command's, as with the original (`ZooKeeperMain.processCmd`).
    fn converse(&mut self) -> i32 {
        if !std::io::stdin().is_terminal() {
            return self.read_lines();
        }
        let Ok(mut editor) = DefaultEditor::new() else { return self.read_lines() };
        let mut exit_code = 0;
        while !self.quit {
            match editor.readline(&self.prompt()) {
                Ok(line) => {
                    let _ = editor.add_history_entry(&line);
                    exit_code = self.execute_line(&line).unwrap_or(exit_code);
                }
                Err(ReadlineError::Interrupted | ReadlineError::Eof) => break,
                Err(error) => {
                    eprintln!("{error}");
                    break;
                }
            }
        }
        exit_code
    }

    fn read_lines(&mut self) -> i32 {
        let mut exit_code = 0;
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            exit_code = self.execute_line(&line).unwrap_or(exit_code);
            if self.quit {
                break;
            }
        }
        exit_code
    }

    /// The command's exit code; `None` for what does not count, an empty line and `quit`.
    fn execute_line(&mut self, line: &str) -> Option<i32> {
        if line.trim().is_empty() {
            return None;
        }
        self.history.push(line.to_owned());
        let exit_code = self.execute(&line::words(line));
        (!self.quit).then_some(exit_code)
    }

    fn execute(&mut self, words: &[String]) -> i32 {
        let outcome = commands::execute(self, words);
        self.print_what_happened();
        let _ = std::io::stdout().flush();
        match outcome {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("{}", error.message);
                error.exit_code
            }
        }
    }
}

async fn print_events(
    mut events: Events,
    mut settling: mpsc::Receiver<oneshot::Sender<()>>,
    print: Arc<AtomicBool>,
) {
    let mut first = true;
    loop {
        let event = tokio::select! {
            biased;
            event = events.recv() => event,
            Some(done) = settling.recv() => {
                // Nobody may be waiting any more.
                let _ = done.send(());
                continue;
            }
        };
        let Some(event) = event else { return };
        let told_already = std::mem::take(&mut first) && event.state == KeeperState::SyncConnected;
        let told_already = told_already && event.kind == EventKind::None;
        if !told_already && print.load(Ordering::Relaxed) {
            print_event(&event);
        }
    }
}

fn print_event(event: &WatchEvent) {
    let path = if event.path.is_empty() { "null" } else { &event.path };
    say_line!(
        "\nWATCHER::\n\nWatchedEvent state:{:?} type:{:?} path:{path} zxid: {}",
        event.state,
        event.kind,
        event.zxid
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Flags, String> {
        Flags::parse(&args.iter().map(|s| s.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn everything_after_the_flags_is_one_command() {
        let flags = parse(&["-server", "h:1/x", "-timeout", "5000", "ls", "-R", "/"]).expect("parses");
        assert_eq!((flags.server.as_str(), flags.timeout_ms), ("h:1/x", 5000));
        assert_eq!(flags.command, ["ls", "-R", "/"]);
    }

    #[test]
    fn a_flag_without_its_value_is_named() {
        assert_eq!(parse(&["-server"]).unwrap_err(), "Error: no argument found for option -server");
    }

    #[test]
    fn refusals_use_the_originals_words() {
        let message = |code| CliError::refused(&ZkError::Code(code), "/a").message;
        assert_eq!(message(ErrorCode::NoNode), "Node does not exist: /a");
        assert_eq!(message(ErrorCode::Unimplemented), "KeeperErrorCode = Unimplemented for /a");
    }
}
