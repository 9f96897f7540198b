//! A Python process with kazoo's recipes, asked over its stdin; see `kazoo_resident.py`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::zoolog::repository;

const ANSWER_LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Kazoo {
    child: Child,
    ask: ChildStdin,
    answers: Receiver<String>,
}

impl Kazoo {
    /// Starts it and waits until it holds its lock.
    pub fn start(hosts: &str) -> Result<Self> {
        let venv =
            std::env::var_os("ZOOLOG_VENV").map_or_else(|| repository().join(".cache/venv"), Into::into);
        let python = venv.join("bin/python");
        ensure!(
            python.exists(),
            "kazoo is needed: no {}; make one with tests/clients/requirements.txt or name it in ZOOLOG_VENV",
            python.display()
        );
        let mut command = Command::new(python);
        command.arg(repository().join("tests/ensemble/kazoo_resident.py")).arg(hosts);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let ask = child.stdin.take().context("stdin is piped")?;
        let lines = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
        let (send, answers) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| send.send(line)));
        let kazoo = Self { child, ask, answers };
        kazoo.expect("ready")?;
        Ok(kazoo)
    }

    /// Its session, ephemeral node, lock and watches are what they were; a change is told.
    pub fn check(&mut self) -> Result<()> {
        self.ask.write_all(b"check\n")?;
        self.expect("checked")
    }

    /// Hands the lock to who waits for it, and ends.
    pub fn finish(mut self) -> Result<()> {
        self.ask.write_all(b"finish\n")?;
        self.expect("finished")?;
        ensure!(self.child.wait()?.success(), "kazoo's process failed");
        Ok(())
    }

    fn expect(&self, word: &str) -> Result<()> {
        let answer =
            self.answers.recv_timeout(ANSWER_LIMIT).with_context(|| format!("kazoo: no {word:?}"))?;
        ensure!(answer == word, "kazoo says {answer:?} instead of {word:?}");
        Ok(())
    }
}

impl Drop for Kazoo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
