//! Hosts of their own on one machine: network namespaces on a bridge, each with an address, each to be cut off.
//!
//! The machine's own namespace gets no interface and no route. Needs root and iproute2.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd as _;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Servers' hosts; one more is for clients.
const HOSTS: usize = 3;

/// Dropped, it is taken down.
#[derive(Debug)]
pub struct Network {
    prefix: String,
}

impl Network {
    /// Whether this process may make one.
    pub fn is_possible() -> bool {
        rustix::process::geteuid().is_root()
            && Command::new("ip").arg("-V").output().is_ok_and(|output| output.status.success())
    }

    pub fn new() -> Result<Self> {
        let network = Self { prefix: format!("bench{}", std::process::id()) };
        let switch = network.switch();
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "br0", "up"])?;
        ip(&["-n", &switch, "link", "set", "lo", "up"])?;
        for index in 0..=HOSTS {
            let (host, port) = (network.host(index), format!("p{index}"));
            let address = format!("{}/24", network.address(index));
            ip(&["netns", "add", &host])?;
            ip(&[
                "-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &host,
            ])?;
            ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"])?;
            ip(&["-n", &host, "link", "set", "lo", "up"])?;
            ip(&["-n", &host, "addr", "add", &address, "dev", "eth0"])?;
            ip(&["-n", &host, "link", "set", "eth0", "up"])?;
        }
        Ok(network)
    }

    /// How many hosts there are for servers.
    pub fn hosts(&self) -> usize {
        HOSTS
    }

    fn switch(&self) -> String {
        format!("{}sw", self.prefix)
    }

    fn host(&self, index: usize) -> String {
        format!("{}h{index}", self.prefix)
    }

    /// An address of the range that is for benchmarks.
    pub fn address(&self, index: usize) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(198, 18, 0, index as u8 + 1))
    }

    /// What stands before a command that is to run on a host.
    pub fn enter(&self, index: usize) -> Vec<String> {
        ["nsenter", &format!("--net=/run/netns/{}", self.host(index)), "--"].map(str::to_owned).to_vec()
    }

    /// Nothing reaches this host or leaves it from now on, and nobody is told.
    pub fn cut_off(&self, index: usize) -> Result<()> {
        ip(&["-n", &self.switch(), "link", "set", &format!("p{index}"), "down"])
    }

    pub fn heal(&self, index: usize) -> Result<()> {
        ip(&["-n", &self.switch(), "link", "set", &format!("p{index}"), "up"])
    }

    /// Moves this thread, and no other, to the clients' host.
    pub fn move_in_as_client(&self) -> Result<()> {
        let path = format!("/run/netns/{}", self.host(HOSTS));
        let namespace = File::open(&path).with_context(|| path)?;
        Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in (0..=HOSTS).map(|index| self.host(index)).chain([self.switch()]) {
            // What was never made cannot be removed.
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

fn ip(args: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(args).output().context("iproute2's ip is needed")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {stderr}", args.join(" "));
    Ok(())
}
