//! Serves one zoo.cfg in the foreground: `cargo run -p zk-server --example serve -- zoo.cfg`.

use std::error::Error;
use std::path::Path;

use zk_server::{Config, SystemProperties, start};

fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let path = std::env::args().nth(1).ok_or("usage: serve <zoo.cfg>")?;
    let server = start(Config::from_file(Path::new(&path), &SystemProperties::new())?)?;
    println!("serving on {}", server.address());
    server.wait()?;
    Ok(())
}
