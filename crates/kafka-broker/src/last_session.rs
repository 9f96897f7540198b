//! The ZooKeeper session of the last run, kept beside the data, so that a restart after a crash need not wait for it to expire.
//!
//! Whoever holds the lock of the log directory is the only one who can be that broker: its old session may be closed, and
//! with it go its registration and its claim to be controller. A directory without the file (Kafka's own, or after a power
//! cut) costs nothing but the wait Kafka has too.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use properties::Properties;
use tracing::{debug, info};
use zk_client::{ConnectOptions, Session, ZkClient};

const FILE: &str = ".zookeeper-session";
/// The old session is a convenience: no start waits longer for it.
const CLOSE_TIMEOUT_MS: u64 = 2_000;

/// The file in the first of `log.dirs`.
#[derive(Debug, Clone)]
pub struct LastSession {
    path: PathBuf,
}

impl LastSession {
    pub fn in_dir(dir: &Path) -> Self {
        Self { path: dir.join(FILE) }
    }

    /// Ends the session of a run that did not end it itself.
    pub async fn close(&self, options: ConnectOptions) {
        let Some(session) = self.read() else { return };
        let id = session.id;
        let options =
            ConnectOptions { session: Some(session), ..options }.connect_timeout_ms(CLOSE_TIMEOUT_MS);
        match ZkClient::connect(options).await {
            Ok((zk, _events)) => match zk.close().await {
                Ok(()) => info!("closed ZooKeeper session 0x{id:x}, which the last run left open"),
                Err(error) => debug!("session 0x{id:x} of the last run was not closed: {error}"),
            },
            Err(error) => debug!("session 0x{id:x} of the last run is over: {error}"),
        }
        self.forget();
    }

    /// Notes the session of this run. Best effort.
    pub fn note(&self, session: &Session) {
        let password: String = session.passwd.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!("id={}\npassword={password}\ntimeout.ms={}\n", session.id, session.timeout_ms);
        // The password is as good as the session: nobody else may read it.
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path);
        if let Err(error) = opened.and_then(|mut file| file.write_all(text.as_bytes())) {
            debug!(
                "{}: {error}; a restart after a crash will wait for the session to expire",
                self.path.display()
            );
        }
    }

    pub fn forget(&self) {
        let _ = fs::remove_file(&self.path);
    }

    fn read(&self) -> Option<Session> {
        let properties = Properties::parse(&fs::read_to_string(&self.path).ok()?).ok()?;
        let password = properties.get("password")?;
        let byte = |at: usize| u8::from_str_radix(password.get(at..at + 2)?, 16).ok();
        let passwd: Option<Vec<u8>> = (0..password.len()).step_by(2).map(byte).collect();
        Some(Session {
            id: properties.get("id")?.parse().ok()?,
            passwd: Bytes::from(passwd?),
            timeout_ms: properties.get("timeout.ms")?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_read_back_and_nonsense_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let last = LastSession::in_dir(dir.path());
        assert_eq!(last.read(), None);
        let session = Session { id: -77, passwd: Bytes::from_static(&[0, 1, 0xff]), timeout_ms: 18_000 };
        last.note(&session);
        assert_eq!(last.read(), Some(session));
        fs::write(&last.path, "id=x\npassword=0\n").expect("written");
        assert_eq!(last.read(), None);
        last.forget();
        assert!(!last.path.exists());
    }
}
