//! The offline tools beside Apache 3.9.3's: the same files, written by either side's server, both streams and codes compared.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use testkit::originals::{home, run};
use testkit::{Server, ZooKeeper, Zoolog, free_port};

const APACHE: &str = "zookeeper-3.9.3";
const TXN_LOG: &str = "org.apache.zookeeper.server.persistence.TxnLogToolkit";
const SNAPSHOT: &str = "org.apache.zookeeper.server.SnapshotFormatter";

/// One of everything that is logged in a form of its own.
const LIFE: &str = "create /a hello\ncreate /a/b x\ncreate -s /a/seq- ''\ncreate -c /container c\n\
    create -t 100000 /ttl t\nset /a world\nsetAcl /a world:anyone:cdrwa,ip:127.0.0.1:r\ndelete /a/b\n\
    create /a hello\ncreate \"/odd,%}\" x\ncreate -e /ephemeral y\ndeleteall /a\nquit\n";

#[test]
fn files_of_zoolog_are_shown_alike() -> Result<()> {
    let (dir, port) = (TempDir::new()?, free_port());
    let start = || Zoolog::find()?.zookeeper(dir.path(), port, "extendedTypesEnabled=true");
    compare_all(dir.path(), start)
}

#[test]
fn files_of_apache_are_shown_alike() -> Result<()> {
    let (dir, port) = (TempDir::new()?, free_port());
    compare_all(dir.path(), || ZooKeeper("3.9.3").start(dir.path(), port, ""))
}

fn compare_all(dir: &Path, start: impl Fn() -> Result<Server>) -> Result<()> {
    // The second start writes a snapshot with everything in it.
    let server = start()?;
    let mut command = Zoolog::find()?.command();
    command.args(["zkCli", "-server"]).arg(format!("127.0.0.1:{}", server.port));
    run(command, LIFE.as_bytes())?;
    server.stop()?;
    start()?.stop()?;

    let (logs, snapshots) = (files(dir, "log.")?, files(dir, "snapshot.")?);
    ensure!(!logs.is_empty() && !snapshots.is_empty(), "{logs:?} {snapshots:?}");
    for log in &logs {
        alike(TXN_LOG, "zkTxnLogToolkit", &[log], dir)?;
        alike(TXN_LOG, "zkTxnLogToolkit", &["-d", log], dir)?;
    }
    let log = &logs[0];
    alike(TXN_LOG, "zkTxnLogToolkit", &["-c", "-z", "4", log], dir)?;
    alike(TXN_LOG, "zkTxnLogToolkit", &["-c", "-z", "0xffffff", log], dir)?;
    alike(TXN_LOG, "zkTxnLogToolkit", &[&snapshots[0]], dir)?;
    for wrong in [&["-h"][..], &[], &["-d"], &["/nowhere/log.1"]] {
        alike(TXN_LOG, "zkTxnLogToolkit", wrong, dir)?;
    }

    // A flipped bit in the data of the first record that has some.
    let mut bytes = std::fs::read(log)?;
    let at = bytes.windows(5).position(|window| window == b"hello").context("hello was logged")?;
    bytes[at] ^= 1;
    let damaged = dir.join("log.damaged").to_string_lossy().into_owned();
    std::fs::write(&damaged, bytes)?;
    alike(TXN_LOG, "zkTxnLogToolkit", &[&damaged], dir)?;
    alike(TXN_LOG, "zkTxnLogToolkit", &["-r", "-y", &damaged], dir)?;
    alike(TXN_LOG, "zkTxnLogToolkit", &["-r", "-v", "-y", &damaged], dir)?;

    for snapshot in &snapshots {
        for options in [&[][..], &["-d"], &["-json"]] {
            alike(SNAPSHOT, "zkSnapShotToolkit", &[options, &[snapshot]].concat(), dir)?;
        }
    }
    for wrong in [&[][..], &["-d", "-json", &snapshots[0]], &["/nowhere"], &["/tmp"], &[&snapshots[0], "-d"]]
    {
        alike(SNAPSHOT, "zkSnapShotToolkit", wrong, dir)?;
    }
    Ok(())
}

/// The server's files of one kind, oldest first.
fn files(dir: &Path, prefix: &str) -> Result<Vec<String>> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir.join("data/version-2"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)));
    found.sort();
    Ok(found.into_iter().map(|path| path.to_string_lossy().into_owned()).collect())
}

/// Runs both with the same arguments; what they leave in files is compared and removed.
fn alike(class: &str, tool: &str, args: &[&str], dir: &Path) -> Result<()> {
    let mut command = Zoolog::find()?.command();
    command.arg(tool).args(args);
    let ours = (shown(run(command, b"")?, tool), written(dir)?);
    let theirs = (shown(run(original(class, args, dir)?, b"")?, tool), written(dir)?);
    ensure!(ours.0 == theirs.0, "{tool} {args:?}\n-- ours\n{}\n-- theirs\n{}", ours.0, theirs.0);
    ensure!(ours.1 == theirs.1, "{tool} {args:?} writes other files");
    Ok(())
}

/// Apache's, without its log.
fn original(class: &str, args: &[&str], dir: &Path) -> Result<Command> {
    let silent = dir.join("silent.xml");
    std::fs::write(&silent, "<configuration><root level=\"OFF\"/></configuration>\n")?;
    let mut command = Command::new("java");
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m"]);
    command.arg(format!("-Dlogback.configurationFile={}", silent.display()));
    command.arg("-cp").arg(format!("{}/lib/*", home(APACHE)?.display()));
    command.arg(class).args(args);
    Ok(command)
}

/// The copies that were made, without the space that the original fills ahead.
fn written(dir: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut copies = Vec::new();
    for place in [dir.to_owned(), dir.join("data/version-2")] {
        for entry in std::fs::read_dir(place)? {
            let path = entry?.path();
            let name = path.to_string_lossy().into_owned();
            if name.contains(".chopped") || name.ends_with(".fixed") {
                let mut bytes = std::fs::read(&path)?;
                bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1));
                std::fs::remove_file(&path)?;
                copies.push((path, bytes));
            }
        }
    }
    copies.sort();
    Ok(copies)
}

/// Both streams and the code. The nodes of a snapshot come in the order of a hash table in the original.
fn shown(output: Output, tool: &str) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (mut stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    if tool == "zkSnapShotToolkit" {
        let mut parts: Vec<&str> = match stdout.starts_with('[') {
            true => stdout.split([',', '[', ']']).filter(|part| !varies(part)).collect(),
            false => stdout.split("----\n").collect(),
        };
        parts.sort_unstable();
        stdout = parts.join("\n");
    }
    format!("({:?})\n{stdout}\n--\n{stderr}", output.status.code())
}

/// The time, and numbers given in the order of the walk.
fn varies(part: &str) -> bool {
    part.starts_with("\"timestamp\"") || part.starts_with("\"ino\"")
}
