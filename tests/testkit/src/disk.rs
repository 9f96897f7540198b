//! A small ext4 filesystem in a file, mounted through a loop device, whose power can be cut.
//!
//! The cut is the filesystem's own shutdown ioctl without a flush of its journal: from then on every write fails, and
//! what was not synced before is gone after the next mount. It does not tear single writes. Needs root and loop devices.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::wait::wait_until;
use anyhow::{Context, Result, ensure};

const BYTES: u64 = 512 << 20;

/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`. Perl, because it is everywhere and an ioctl is `unsafe` in Rust.
const CUT: &str = r#"open(my $d, "<", $ARGV[0]) or die "open: $!\n"; my $how = pack("L", 2); ioctl($d, 0x8004587d, $how) or die "ioctl: $!\n""#;

/// A mounted filesystem; unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    mount: PathBuf,
    mounted: bool,
}

impl Disk {
    /// Makes a filesystem in the file `image` and mounts it on `mount`, which is created.
    pub fn create(image: &Path, mount: &Path) -> Result<Self> {
        std::fs::create_dir_all(mount)?;
        std::fs::File::create(image)?.set_len(BYTES)?;
        run(Command::new("mkfs.ext4").arg("-q").arg("-F").arg(image))?;
        let mut disk = Self { image: image.to_owned(), mount: mount.to_owned(), mounted: false };
        disk.mount()?;
        Ok(disk)
    }

    pub fn mount(&mut self) -> Result<()> {
        run(Command::new("mount").arg("-o").arg("loop").arg(&self.image).arg(&self.mount)).context(
            "a power cut needs root and a free loop device (/dev/loop-control); without them this test cannot run",
        )?;
        self.mounted = true;
        Ok(())
    }

    /// Everything written so far survives a cut from now on.
    pub fn sync(&self) -> Result<()> {
        run(Command::new("sync").arg("-f").arg(&self.mount))
    }

    /// Cuts the power. Processes that write to it get errors from now on.
    pub fn cut(&self) -> Result<()> {
        run(Command::new("perl").arg("-e").arg(CUT).arg(&self.mount))
    }

    /// Unmounts; nobody may have a file open on it any more.
    pub fn unmount(&mut self) -> Result<()> {
        // A process that was just killed may still be letting go of its files.
        wait_until("unmounting", Duration::from_secs(20), || {
            run(Command::new("umount").arg(&self.mount)).ok()
        })?;
        self.mounted = false;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = run(Command::new("umount").arg("-l").arg(&self.mount));
        }
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {}", output.status, stderr.trim());
    Ok(())
}
