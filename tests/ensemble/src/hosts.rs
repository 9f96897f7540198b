//! Hosts of their own on this machine: network namespaces on a switch that can be cut in every way.
//!
//! The machine's own namespace gets no interface, no route and no rule. Needs root, `ip`, `nft` and `nsenter`. Dropped,
//! everything is gone.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

/// A host's place on the switch, from 1.
pub type Port = usize;

/// Namespaces are called `<this><process id>-<count>-<port>`.
const PREFIX: &str = "zoolog-test-";

/// Hosts on one switch.
#[derive(Debug)]
pub struct Hosts {
    switch: String,
    names: Vec<String>,
    pub addresses: Vec<String>,
}

impl Hosts {
    /// One host for each address, all in one /16.
    pub fn new(addresses: &[&str]) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        ensure!(rustix::process::geteuid().is_root(), "hosts of their own need root (network namespaces)");
        remove_leftovers()?;
        let prefix = format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut hosts = Self { switch: format!("{prefix}-sw"), names: Vec::new(), addresses: Vec::new() };
        ip(&["netns", "add", &hosts.switch]).context("a network namespace cannot be made")?;
        let switch = hosts.switch.clone();
        ip(&["-n", &switch, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "br0", "up"])?;
        ip(&["-n", &switch, "link", "set", "lo", "up"])?;
        for (index, address) in addresses.iter().enumerate() {
            let (name, port) = (format!("{prefix}-{}", index + 1), format!("p{}", index + 1));
            ip(&["netns", "add", &name])?;
            hosts.names.push(name.clone());
            hosts.addresses.push((*address).to_owned());
            ip(&[
                "-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &name,
            ])?;
            ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
            ip(&["-n", &name, "addr", "add", &format!("{address}/16"), "dev", "eth0"])?;
            ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        }
        Ok(hosts)
    }

    /// The namespace of a host.
    pub fn name(&self, port: Port) -> &str {
        &self.names[port - 1]
    }

    /// Loses everything that goes from the first to the second host of each pair, until [`Hosts::heal`].
    pub fn cut(&self, pairs: &BTreeSet<(Port, Port)>) -> Result<()> {
        let mut rules =
            String::from("table bridge part {\n chain cut {\n  type filter hook forward priority 0;\n");
        for (from, to) in pairs {
            rules += &format!("  iifname p{from} oifname p{to} drop\n");
        }
        rules += " }\n}\n";
        self.nft(&rules)
    }

    pub fn heal(&self) -> Result<()> {
        // Deleting needs it to be there.
        self.nft("add table bridge part\ndelete table bridge part\n")
    }

    fn nft(&self, rules: &str) -> Result<()> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.switch)).args(["--", "nft", "-f", "-"]);
        let output = testkit::originals::run(command, rules.as_bytes())?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "nft: {stderr}\n{rules}");
        Ok(())
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in self.names.iter().chain([&self.switch]) {
            let _ = ip(&["netns", "del", name]);
        }
    }
}

/// Hosts whose process was killed before it could remove them, with what still runs on them.
fn remove_leftovers() -> Result<()> {
    let list = Command::new("ip").args(["netns", "list"]).output().context("ip (iproute2)")?;
    for line in String::from_utf8_lossy(&list.stdout).lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let Some((pid, _)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')) else {
            continue;
        };
        if pid.parse::<u32>().is_err() || std::path::Path::new("/proc").join(pid).exists() {
            continue;
        }
        let pids = Command::new("ip").args(["netns", "pids", name]).output()?;
        for pid in String::from_utf8_lossy(&pids.stdout).split_whitespace() {
            let _ = Command::new("kill").args(["-9", pid]).status();
        }
        ip(&["netns", "del", name])?;
    }
    Ok(())
}

fn ip(args: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output().context("ip (iproute2)")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {}", args.join(" "), stderr.trim());
    Ok(())
}
