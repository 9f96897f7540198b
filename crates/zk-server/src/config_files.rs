//! zoo.cfg and its dynamic files, rewritten when the servers of the ensemble change; with `reconfigEnabled` only.
//!
//! A proposed configuration is kept in `zoo.cfg.dynamic.next`, with its version inside. One in force is
//! `zoo.cfg.dynamic.<version>`, to which zoo.cfg then points instead of naming the servers itself; the file as its
//! owner wrote it stays as `zoo.cfg.bak`. Names and contents are those of `QuorumPeerConfig`, but comments and the
//! order of lines are kept. The invariant: every file is replaced whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use zk_proto::quorum::{Config, Sid};

use crate::config::{ConfigFiles, NEXT_SUFFIX, is_server_key, with_suffix};

/// Where one server's configuration is written.
#[derive(Debug, Clone)]
pub(crate) struct ConfigWriter {
    base: PathBuf,
    sid: Sid,
}

impl ConfigWriter {
    pub(crate) fn new(files: &ConfigFiles, sid: Sid) -> Self {
        Self { base: files.base.clone(), sid }
    }

    /// Keeps the file as it is; to be done before anything is taken out of it.
    pub(crate) fn back_up(&self) -> io::Result<()> {
        replace(&with_suffix(&self.base, ".bak"), &fs::read(&self.base)?)
    }

    /// A configuration is proposed.
    pub(crate) fn seen(&self, config: &Config) -> io::Result<()> {
        replace(&with_suffix(&self.base, NEXT_SUFFIX), dynamic_text(config, true).as_bytes())
    }

    /// A configuration is in force.
    pub(crate) fn active(&self, config: &Config) -> io::Result<()> {
        let dynamic = with_suffix(&self.base, &format!(".dynamic.{:x}", config.version));
        replace(&dynamic, dynamic_text(config, false).as_bytes())?;
        let listed = config.members.get(&self.sid).is_some_and(|m| m.client.is_some());
        let text = fs::read_to_string(&self.base)?;
        let mut text = without(&text, |key| is_moved(key) || (listed && is_client_address(key)));
        text.push_str(&format!("dynamicConfigFile={}\n", dynamic.canonicalize()?.display()));
        replace(&self.base, text.as_bytes())?;
        match fs::remove_file(with_suffix(&self.base, NEXT_SUFFIX)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Sorted lines without an end of line behind the last.
fn dynamic_text(config: &Config, with_version: bool) -> String {
    let text = config.to_string();
    let mut lines: Vec<&str> =
        text.lines().filter(|line| with_version || !line.starts_with("version=")).collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// What belongs in the dynamic file, or speaks of it.
fn is_moved(key: &str) -> bool {
    is_server_key(key) || key == "dynamicConfigFile" || key == "peerType"
}

/// Superseded by the address behind `;` in the server's line.
fn is_client_address(key: &str) -> bool {
    key == "clientPort" || key == "clientPortAddress"
}

/// The properties file without these keys. A line that ends in a backslash goes on in the next one.
fn without(text: &str, is_dropped: impl Fn(&str) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut goes_on, mut dropping) = (false, false);
    for line in text.lines() {
        let content = line.trim_start();
        let is_comment = content.starts_with(['#', '!']);
        if !goes_on {
            let key = content.split(['=', ':', ' ', '\t']).next().unwrap_or_default();
            dropping = !is_comment && is_dropped(key);
        }
        goes_on = (goes_on || !is_comment) && line.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1;
        if !dropping {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// Written beside, synced, renamed.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = with_suffix(path, ".tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes).and_then(|()| file.sync_all())?;
    fs::rename(&temporary, path)?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVERS: &str = "server.1=a:1:2:participant\nserver.2=b:1:2:participant;0.0.0.0:2181\n\
                           server.10=c:1:2:observer\nversion=100000003";

    #[test]
    fn servers_move_out_of_the_file_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("zoo.cfg");
        let before = "# mine\ntickTime=2000\nserver.1=a:1:2\nserver.2 = b:1:2\\\n  ;2181\nclientPort=2181\n\
                      clientPortListenBacklog=9\ngroup.1=1:2\npeerType=participant\ninitLimit=5\n";
        fs::write(&base, before).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        let writer = ConfigWriter::new(&ConfigFiles { base: base.clone(), is_split: false }, 1);
        writer.back_up().unwrap();
        let config = Config::parse(SERVERS).unwrap();
        writer.seen(&config).unwrap();
        let sorted = "server.10=c:1:2:observer\nserver.1=a:1:2:participant\n\
                      server.2=b:1:2:participant;0.0.0.0:2181";
        assert_eq!(read("zoo.cfg.dynamic.next"), format!("{sorted}\nversion=100000003"));
        writer.active(&config).unwrap();
        assert_eq!(read("zoo.cfg.bak"), before);
        assert_eq!(read("zoo.cfg.dynamic.100000003"), sorted);
        let dynamic = dir.path().join("zoo.cfg.dynamic.100000003").canonicalize().unwrap();
        let rest = format!("initLimit=5\ndynamicConfigFile={}\n", dynamic.display());
        let head = "# mine\ntickTime=2000\n";
        assert_eq!(read("zoo.cfg"), format!("{head}clientPort=2181\nclientPortListenBacklog=9\n{rest}"));
        assert!(!dir.path().join("zoo.cfg.dynamic.next").exists());

        let writer = ConfigWriter { base, sid: 2 };
        writer.active(&config).unwrap();
        assert_eq!(
            read("zoo.cfg"),
            format!("{head}clientPortListenBacklog=9\n{rest}"),
            "its address is listed"
        );
    }
}
