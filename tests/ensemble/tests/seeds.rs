//! The deployments people copy from the web, word for word: three hosts with the guides' addresses, files and commands.
//!
//! Each host is a network namespace with mounts of its own, so this needs root. Where a guide edits a file with vim the
//! test writes it; everything else is run as it stands. What the guides say about elections is tried too: epoch first,
//! then zxid, then the number.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use ensemble::hosts::Hosts;
use ensemble::machine::Machine;
use tempfile::TempDir;
use testkit::{Mode, wait_until};

/// The machines are many small processes; one deployment at a time is enough.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// "Zookeeper and Kafka Message Queue Overview", §2.
mod three_hosts {
    pub const ADDRESSES: [&str; 3] = ["192.168.170.111", "192.168.170.113", "192.168.170.114"];
    pub const HOME: &str = "/usr/local/zookeeper-3.5.7";

    pub const INSTALL: &str = "systemctl stop firewalld.service
setenforce 0
cd /opt
tar -zxvf apache-zookeeper-3.5.7-bin.tar.gz
mv apache-zookeeper-3.5.7-bin /usr/local/zookeeper-3.5.7
cd /usr/local/zookeeper-3.5.7/conf/
cp zoo_sample.cfg zoo.cfg";

    pub const ZOO_CFG: &str = "tickTime=2000
initLimit=10
syncLimit=5
dataDir=/usr/local/zookeeper-3.5.7/data
dataLogDir=/usr/local/zookeeper-3.5.7/logs
clientPort=2181
server.1=192.168.170.111:3188:3288
server.2=192.168.170.113:3188:3288
server.3=192.168.170.114:3188:3288
";

    pub const DIRECTORIES: &str = "mkdir /usr/local/zookeeper-3.5.7/data
mkdir /usr/local/zookeeper-3.5.7/logs";

    pub const INIT_SCRIPT: &str = "#!/bin/bash
#chkconfig:2345 20 90
#description:Zookeeper Service Control Script
ZK_HOME='/usr/local/zookeeper-3.5.7'
case $1 in
start)
echo \"---------- zookeeper 启动 ------------\"
$ZK_HOME/bin/zkServer.sh start
;;
stop)
echo \"---------- zookeeper 停止 ------------\"
$ZK_HOME/bin/zkServer.sh stop
;;
restart)
echo \"---------- zookeeper 重启 ------------\"
$ZK_HOME/bin/zkServer.sh restart
;;
status)
echo \"---------- zookeeper 状态 ------------\"
$ZK_HOME/bin/zkServer.sh status
;;
*)
echo \"Usage: $0 {start|stop|restart|status}\"
esac
";

    pub const SERVICE: &str = "chmod +x /etc/init.d/zookeeper
chkconfig --add zookeeper";
}

/// Three servers with the words that start them and ask after them. Fields are dropped in order.
struct Deployment {
    machines: Vec<Machine>,
    servers: Vec<Server>,
    _hosts: Hosts,
    _dir: TempDir,
}

struct Server {
    /// Its machine's index.
    machine: usize,
    home: String,
    port: u16,
    start: String,
    status: String,
    stop: String,
}

impl Deployment {
    fn machine(&self, n: usize) -> &Machine {
        &self.machines[self.servers[n - 1].machine]
    }

    fn start(&self, n: usize) -> Result<()> {
        let text = self.machine(n).run(&self.servers[n - 1].start)?;
        ensure!(text.contains("STARTED"), "server {n}: {text}");
        Ok(())
    }

    fn stop(&self, n: usize) -> Result<()> {
        self.machine(n).run(&self.servers[n - 1].stop).map(drop)
    }

    fn kill(&self, n: usize) -> Result<()> {
        let pid = self.pid_file(n);
        self.machine(n).run(&format!("kill -9 $(cat {pid}) && rm {pid}")).map(drop)
    }

    fn pid_file(&self, n: usize) -> String {
        format!("{}/data/zookeeper_server.pid", self.servers[n - 1].home)
    }

    fn await_mode(&self, n: usize, mode: Mode) -> Result<()> {
        self.machine(n).await_mode(self.servers[n - 1].port, mode)
    }

    /// What the status command says of each server; `None` for one that does not serve.
    fn statuses(&self) -> Result<Vec<Option<String>>> {
        (1..=3).map(|n| self.machine(n).status(&self.servers[n - 1].status)).collect()
    }

    /// `status` shows exactly this leader; everybody in `down` does not serve, the others follow.
    fn expect(&self, leader: usize, down: &[usize]) -> Result<()> {
        self.await_mode(leader, Mode::Leader)?;
        for n in (1..=3).filter(|n| *n != leader && !down.contains(n)) {
            self.await_mode(n, Mode::Follower)?;
        }
        let expect: Vec<_> = (1..=3)
            .map(|n| {
                if n == leader { Some("leader") } else { Some("follower") }.filter(|_| !down.contains(&n))
            })
            .map(|mode| mode.map(str::to_owned))
            .collect();
        let statuses = self.statuses()?;
        ensure!(statuses == expect, "status says {statuses:?}, and {expect:?} was expected");
        println!("  {statuses:?}");
        Ok(())
    }

    fn write(&self, n: usize, path: &str) -> Result<()> {
        let Server { home, port, .. } = &self.servers[n - 1];
        let cli = format!("{home}/bin/zkCli.sh -server 127.0.0.1:{port} create {path} x 2>&1");
        let text = self.machine(n).run(&cli)?;
        ensure!(text.contains(&format!("Created {path}")), "{text}");
        Ok(())
    }

    /// The story both guides tell: who leads at the beginning, after the leader's end, and when histories differ.
    fn elections(&self) -> Result<()> {
        // One by one: the highest number of the first majority leads, and a higher one that comes later follows.
        self.start(1)?;
        ensure!(self.statuses()? == [None, None, None], "one of three serves alone");
        self.start(2)?;
        self.expect(2, &[3])?;
        self.start(3)?;
        self.expect(2, &[])?;

        // The leader is killed: equal histories, so the highest number leads. It comes back as a follower.
        self.write(1, "/first")?;
        self.same_zxid(&[1, 2, 3])?;
        self.kill(2)?;
        self.expect(3, &[2])?;
        self.start(2)?;
        self.expect(3, &[])?;

        // The longer history beats the higher number.
        self.stop(3)?;
        self.expect(2, &[3])?;
        self.write(1, "/second")?;
        self.same_zxid(&[1, 2])?;
        self.stop(1)?;
        self.stop(2)?;
        self.start(3)?;
        self.start(1)?;
        self.expect(1, &[2])?;
        self.start(2)?;
        self.expect(1, &[])?;
        self.all_at_once()
    }

    /// The highest number leads, unless the other two had found each other before it was up; on a busy machine that
    /// happens now and then, and is what the first part of the story has shown.
    fn all_at_once(&self) -> Result<()> {
        for attempt in 1..=5 {
            for n in 1..=3 {
                self.stop(n)?;
            }
            self.start_together()?;
            let leads = |n: &usize| self.machine(*n).srvr(self.servers[*n - 1].port).map(|s| s.mode);
            let leader = wait_until("a leader", Duration::from_secs(60), || {
                (1..=3).find(|n| leads(n) == Some(Mode::Leader))
            })?;
            if leader == 3 {
                return self.expect(3, &[]);
            }
            println!("  attempt {attempt}: server 3 came late, {leader} leads");
        }
        bail!("started together five times, and server 3 never led")
    }

    fn start_together(&self) -> Result<()> {
        std::thread::scope(|scope| {
            let starts: Vec<_> = (1..=3).map(|n| scope.spawn(move || self.start(n))).collect();
            starts.into_iter().try_for_each(|start| start.join().expect("a start does not panic"))
        })
    }

    /// Waits until these have nothing left to tell each other.
    fn same_zxid(&self, ids: &[usize]) -> Result<()> {
        wait_until("the same zxid", Duration::from_secs(20), || {
            let zxid = |n: &usize| Some(self.machine(*n).srvr(self.servers[*n - 1].port)?.zxid);
            let all: Option<Vec<_>> = ids.iter().map(zxid).collect();
            all?.windows(2).all(|pair| pair[0] == pair[1]).then_some(())
        })
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        for n in 1..=3 {
            self.machine(n).kill_all(&[self.pid_file(n)]);
        }
    }
}

#[test]
fn three_hosts_with_an_init_script() -> Result<()> {
    use three_hosts::{ADDRESSES, DIRECTORIES, HOME, INIT_SCRIPT, INSTALL, SERVICE, ZOO_CFG};
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (dir, hosts) = (TempDir::new()?, Hosts::new(&ADDRESSES)?);
    let (mut machines, mut servers) = (Vec::new(), Vec::new());
    for (index, address) in ADDRESSES.iter().enumerate() {
        let n = index + 1;
        let root = dir.path().join(format!("z{n}"));
        let machine = Machine::new(&root, hosts.name(n), address, "apache-zookeeper-3.5.7-bin", "")?;
        machine.run(INSTALL)?;
        machine.write(&format!("{HOME}/conf/zoo.cfg"), ZOO_CFG)?;
        machine.run(DIRECTORIES)?;
        machine.run(&format!("echo {n} > /usr/local/zookeeper-3.5.7/data/myid"))?;
        machine.write("/etc/init.d/zookeeper", INIT_SCRIPT)?;
        machine.run(SERVICE)?;
        machines.push(machine);
        servers.push(Server {
            machine: index,
            home: HOME.into(),
            port: 2181,
            start: "service zookeeper start".into(),
            status: "service zookeeper status".into(),
            stop: "service zookeeper stop".into(),
        });
    }
    Deployment { machines, servers, _hosts: hosts, _dir: dir }.elections()
}

/// "架构师之路-如何建立高可用消息中间件kafka", §2: names in `/etc/hosts`, three sets of ports.
mod three_names {
    pub const ADDRESSES: [&str; 3] = ["172.16.0.41", "172.16.0.42", "172.16.0.43"];

    /// §2.3 to 2.6 on node N; `wget` brings the archive there, here it is in `/opt`.
    pub fn install(n: usize) -> String {
        format!(
            "mkdir -p /usr/local/zookeeper
cd /usr/local/zookeeper/
cp /opt/zookeeper-3.4.7.tar.gz .
tar -zxvf zookeeper-3.4.7.tar.gz
mv zookeeper-3.4.7 node-0{n}
cd /usr/local/zookeeper/node-0{n}
mkdir data
mkdir logs
cd conf
cp zoo_sample.cfg zoo.cfg"
        )
    }

    pub fn zoo_cfg(n: usize) -> String {
        format!(
            "tickTime=2000
initLimit=10
syncLimit=5
dataDir=/usr/local/zookeeper/node-0{n}/data
clientPort=218{n}
server.1=edu-zk-01:2881:3881
server.2=edu-zk-02:2882:3882
server.3=edu-zk-03:2883:3883
"
        )
    }

    pub fn hosts(addresses: [&str; 3]) -> String {
        let lines = addresses.iter().enumerate().map(|(i, a)| format!("{a} edu-zk-0{}\n", i + 1));
        "# zookeeper cluster servers\n".to_owned() + &lines.collect::<String>()
    }
}

fn install_node(machine: &Machine, index: usize, n: usize) -> Result<Server> {
    let home = format!("/usr/local/zookeeper/node-0{n}");
    machine.run(&three_names::install(n))?;
    machine.write(&format!("{home}/conf/zoo.cfg"), &three_names::zoo_cfg(n))?;
    machine.write(&format!("{home}/data/myid"), &format!("{n}"))?;
    let command = |word: &str| format!("{home}/bin/zkServer.sh {word}");
    let (start, status, stop) = (command("start"), command("status"), command("stop"));
    Ok(Server { machine: index, port: 2180 + n as u16, start, status, stop, home })
}

fn new_machine(dir: &Path, hosts: &Hosts, n: usize, names: &str) -> Result<Machine> {
    let root = dir.join(format!("m{n}"));
    Machine::new(&root, hosts.name(n), &hosts.addresses[n - 1], "zookeeper-3.4.7", names)
}

#[test]
fn three_hosts_by_name() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (dir, hosts) = (TempDir::new()?, Hosts::new(&three_names::ADDRESSES)?);
    let names = three_names::hosts(three_names::ADDRESSES);
    let (mut machines, mut servers) = (Vec::new(), Vec::new());
    for n in 1..=3 {
        let machine = new_machine(dir.path(), &hosts, n, &names)?;
        servers.push(install_node(&machine, n - 1, n)?);
        machines.push(machine);
    }
    Deployment { machines, servers, _hosts: hosts, _dir: dir }.elections()
}

/// The same guide's "pseudo cluster": one host, so the names all mean it and only the ports differ.
#[test]
fn a_pseudo_cluster_on_one_host() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let address = three_names::ADDRESSES[0];
    let (dir, hosts) = (TempDir::new()?, Hosts::new(&[address])?);
    let machine = new_machine(dir.path(), &hosts, 1, &three_names::hosts([address; 3]))?;
    let servers = (1..=3).map(|n| install_node(&machine, 0, n)).collect::<Result<Vec<_>>>()?;
    Deployment { machines: vec![machine], servers, _hosts: hosts, _dir: dir }.elections()
}
