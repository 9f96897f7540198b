//! A host on which commands from a guide run word for word: its own network, its own `/usr/local`, `/opt`, `/etc/init.d`
//! and `/etc/hosts`. The machine below is not changed: those are mounts that only these commands see.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::ensemble_words::{Mode, Srvr};
use testkit::zoolog::repository;
use testkit::{Zoolog, wait_until};

/// Words of other systems' guides that are no part of what is tested: they succeed and do nothing.
const STAND_INS: [&str; 3] = ["systemctl", "setenforce", "chkconfig"];

/// How long three servers may take to agree.
const AGREE_LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
    namespace: String,
    address: String,
}

impl Machine {
    /// A host in an existing network namespace, with what a fresh one has and the release in `/opt` under the name of
    /// the guide's.
    pub fn new(root: &Path, namespace: &str, address: &str, release: &str, hosts: &str) -> Result<Self> {
        for dir in ["local/bin", "opt", "init.d"] {
            std::fs::create_dir_all(root.join(dir))?;
        }
        for name in STAND_INS {
            write_script(&root.join("local/bin").join(name), "#!/bin/sh\nexit 0\n")?;
        }
        // Debian's `service` asks systemd first where there is one; this is what remains of it.
        let service =
            "#!/bin/sh\nname=$1; shift\nexec env -i PATH=\"$PATH\" TERM=dumb /etc/init.d/$name \"$@\"\n";
        write_script(&root.join("local/bin/service"), service)?;
        std::fs::write(root.join("hosts"), format!("127.0.0.1 localhost\n{hosts}"))?;
        pack_release(&root.join("opt"), release)?;
        Ok(Self { root: root.to_owned(), namespace: namespace.to_owned(), address: address.to_owned() })
    }

    /// Runs a script there; what it prints. It must succeed.
    pub fn run(&self, script: &str) -> Result<String> {
        // Other tests' disks are let go of first: seen from here too, one could not be unmounted as long as a server of
        // this host runs.
        let root = self.root.display();
        let enter = format!(
            "awk '$1 ~ \"^/dev/loop\" {{print $2}}' /proc/mounts | xargs -r umount -l; \
             mount --bind {root}/local /usr/local && mount --bind {root}/opt /opt && \
             mkdir -p /etc/init.d && mount --bind {root}/init.d /etc/init.d && \
             mount --bind {root}/hosts /etc/hosts && \
             export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin && cd / && exec bash -c \"$1\""
        );
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace));
        command.args([
            "--",
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "--",
            "bash",
            "-c",
            &enter,
            "bash",
        ]);
        command.arg(script).env_remove("ZOOLOG");
        let output = testkit::originals::run(command, b"")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{script}\nended with {}:\n{text}\n{errors}", output.status);
        Ok(text)
    }

    /// What vim does in the guides.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let inside = path.strip_prefix("/usr/local/").map(|p| self.root.join("local").join(p));
        let inside =
            inside.or_else(|| Some(self.root.join("init.d").join(path.strip_prefix("/etc/init.d/")?)));
        Ok(std::fs::write(inside.context("only below /usr/local and /etc/init.d")?, text)?)
    }

    /// The `Mode:` line of a status command's output.
    pub fn status(&self, command: &str) -> Result<Option<String>> {
        let text = self.run(&format!("{command} 2>&1 || true"))?;
        Ok(text.lines().find_map(|line| line.strip_prefix("Mode: ")).map(|mode| mode.trim().to_owned()))
    }

    /// `srvr` at a port of this host, asked from there.
    pub fn srvr(&self, port: u16) -> Option<Srvr> {
        let ask = format!("exec 3<>/dev/tcp/{}/{port} && printf srvr >&3 && cat <&3", self.address);
        Srvr::parse(&self.run(&ask).ok()?)
    }

    pub fn await_mode(&self, port: u16, mode: Mode) -> Result<()> {
        wait_until(&format!("{mode:?} at {}:{port}", self.address), AGREE_LIMIT, || {
            (self.srvr(port)?.mode == mode).then_some(())
        })
    }

    /// Ends every server whose process id is in one of these files.
    pub fn kill_all(&self, pid_files: &[String]) {
        for file in pid_files {
            let _ = self.run(&format!("[ ! -e {file} ] || kill -9 $(cat {file})"));
        }
    }
}

fn write_script(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text)?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?)
}

/// Our `bin/` and `conf/` as the archive that the guide unpacks. The binary is a link: nobody wants to wait for gzip.
fn pack_release(opt: &Path, release: &str) -> Result<()> {
    let dir = opt.join(release);
    std::fs::create_dir_all(&dir)?;
    let repository = repository();
    for part in ["bin", "conf"] {
        let status = Command::new("cp").arg("-a").arg(repository.join(part)).arg(&dir).status()?;
        ensure!(status.success(), "cp of {part}");
    }
    let binary = std::fs::canonicalize(Zoolog::find()?.command().get_program())?;
    std::os::unix::fs::symlink(binary, dir.join("bin/zoolog"))?;
    let archive = format!("{release}.tar.gz");
    let status = Command::new("tar").args(["-czf", &archive, release]).current_dir(opt).status()?;
    ensure!(status.success(), "tar");
    Ok(std::fs::remove_dir_all(dir)?)
}
