//! Waiting for conditions, and ports nobody uses.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(10);

/// Polls `condition` until it yields a value; fails with `what` after `limit`.
pub fn wait_until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if Instant::now() > end {
            bail!("{what}: not within {limit:?}");
        }
        std::thread::sleep(POLL);
    }
}

/// The same where asking is asynchronous. An error ends it; `Err` as the value says what is still wrong.
pub async fn wait_until_async<T>(
    what: &str,
    limit: Duration,
    mut condition: impl AsyncFnMut() -> Result<Result<T, String>>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        match condition().await? {
            Ok(value) => return Ok(value),
            Err(still) if Instant::now() > end => bail!("{what}: not within {limit:?}: {still}"),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// A port on 127.0.0.1 that is free now and that this process hands out only once.
///
/// Ports lie below the range the kernel gives to outgoing connections, so that none of those takes it in between.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = (std::process::id() % 250) as u16 * 40;
    for _ in 0..10_000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 15_000 + (offset + step) % 15_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 15000 and 30000");
}
