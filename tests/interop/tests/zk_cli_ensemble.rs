//! zkCli's commands for ensembles beside Apache 3.9.3's, against three servers of each side.

use std::process::Command;

use anyhow::{Result, ensure};
use tempfile::TempDir;
use testkit::originals::{home, run};
use testkit::{Ensemble, Kind, Role, Settings, Zoolog};

#[test]
fn on_apache_zookeeper_3_9_3() -> Result<()> {
    compare(Kind::Apache("3.9.3"))
}

#[test]
fn on_zoolog() -> Result<()> {
    compare(Kind::Zoolog)
}

fn compare(kind: Kind) -> Result<()> {
    let dir = TempDir::new()?;
    let settings = Settings { reconfig: true, ..Settings::default() };
    let mut ensemble = Ensemble::new(dir.path(), &[(kind, Role::Participant); 3], settings)?;
    ensemble.start_all(&[1, 2])?;
    ensemble.start_all(&[3])?;

    // Server 3 goes and comes back, so that both find the same. It does not lead, so clients keep their connections.
    let third = ensemble.line(3);
    let members: Vec<String> = [1, 2, 3].iter().map(|id| ensemble.line(*id)).collect();
    let (file, members) = (dir.path().join("members"), members.join("\n"));
    std::fs::write(&file, format!("{members}\n"))?;
    let said = format!(
        "config\nreconfig -add {third}\naddauth digest super:secret\nreconfig -remove 3\nconfig -s\n\
         reconfig -s -add {third}\nreconfig -v 1 -remove 3\nreconfig -remove 9\nreconfig -remove 1,2,3\n\
         reconfig -add nonsense\nreconfig -file {}\nreconfig -members {}\nconfig -w\nquit\n",
        file.display(),
        members.replace('\n', ",")
    );
    let ours = shown(Zoolog::find()?.command(), "zkCli", &ensemble, &said)?;
    let theirs = shown(original()?, "org.apache.zookeeper.ZooKeeperMain", &ensemble, &said)?;
    ensure!(ours == theirs, "-- ours\n{ours}\n-- theirs\n{theirs}");
    ensure!(ours.matches("Committed new configuration:").count() >= 4, "{ours}");
    Ok(())
}

fn original() -> Result<Command> {
    let home = home("zookeeper-3.9.3")?;
    let silent = std::env::temp_dir().join(format!("zoolog-interop-{}.xml", std::process::id()));
    std::fs::write(&silent, "<configuration><root level=\"OFF\"/></configuration>\n")?;
    let mut command = Command::new("java");
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m"]);
    command.arg("-Dzookeeper.jline.disable=true");
    command.arg(format!("-Dlogback.configurationFile={}", silent.display()));
    command.arg("-cp").arg(format!("{}/lib/*", home.display()));
    Ok(command)
}

/// Both streams and the code, without prompts, events, and what is new in every configuration.
fn shown(mut command: Command, name: &str, ensemble: &Ensemble, said: &str) -> Result<String> {
    // One server, and not the one that goes.
    command.args([name, "-server"]).arg(ensemble.connect(&[1]));
    let output = run(command, said.as_bytes())?;
    let steady = |line: &str| {
        let varies = ["version=", "mZxid = ", "mtime = ", "dataLength = "];
        match varies.iter().find(|prefix| line.starts_with(**prefix)) {
            Some(prefix) => format!("{prefix}…"),
            None => line.to_owned(),
        }
    };
    let dialogue = ["WATCHER::", "WatchedEvent", "[zk: ", "JLine support is "];
    let counts = |line: &&str| {
        let echoed = said.lines().any(|words| words == *line);
        !line.is_empty() && !echoed && !dialogue.iter().any(|start| line.starts_with(start))
    };
    let stream = |bytes: &[u8]| -> String {
        String::from_utf8_lossy(bytes).lines().filter(counts).map(|line| steady(line) + "\n").collect()
    };
    Ok(format!("({:?})\n{}--\n{}", output.status.code(), stream(&output.stdout), stream(&output.stderr)))
}
