//! A server process: its output in a file, killed when dropped.

use std::fs::File;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use crate::wait::wait_until;

/// How long any server here may take to listen; a JVM on a busy machine needs most of it.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running server.
#[derive(Debug)]
pub struct Server {
    pub port: u16,
    log: PathBuf,
    child: Child,
}

impl Server {
    /// Starts `command` with its output going to `log`, and waits until `port` accepts connections.
    pub fn start(mut command: Command, port: u16, log: &Path) -> Result<Self> {
        let server = Self::spawn(&mut command, port, log)?;
        server.await_port()
    }

    /// Starts `command` without waiting for it.
    pub fn spawn(command: &mut Command, port: u16, log: &Path) -> Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        command.process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { port, log: log.to_owned(), child })
    }

    fn await_port(mut self) -> Result<Self> {
        let port = self.port;
        wait_until(&format!("server on port {port}"), START_LIMIT, || {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(Ok(()));
            }
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    Some(Err(anyhow::anyhow!("the server ended with {status}:\n{}", self.log_text())))
                }
                _ => None,
            }
        })??;
        Ok(self)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything the server has printed so far.
    pub fn log_text(&self) -> String {
        std::fs::read(&self.log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    /// Waits until the log contains `text`.
    pub fn await_log(&self, text: &str) -> Result<()> {
        wait_until(&format!("log line {text:?}"), START_LIMIT, || {
            self.log_text().contains(text).then_some(())
        })
        .with_context(|| self.log_text())
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        Ok(kill_process(pid, signal)?)
    }

    /// kill -9, and the process is gone when this returns.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, then waits for the end.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait_exit(Duration::from_secs(60))
    }

    pub fn wait_exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        let status = wait_until("the server's end", limit, || self.child.try_wait().transpose());
        match status {
            Ok(status) => Ok(status?),
            Err(error) => bail!("{error}:\n{}", self.log_text()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ties the life of this process to its parent's; for helpers that must not outlive a killed test run.
pub fn die_with_parent() -> Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}
