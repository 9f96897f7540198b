//! Serves one zoo.cfg in the foreground: `cargo run -p zk-server --example serve -- [-Dkey=value]… zoo.cfg`.

use std::error::Error;
use std::path::Path;

use zk_server::{Config, SystemProperties, start};

fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let mut system = SystemProperties::new();
    let mut path = None;
    for argument in std::env::args().skip(1) {
        match argument.strip_prefix("-D").and_then(|property| property.split_once('=')) {
            Some((key, value)) => drop(system.insert(key.to_owned(), value.to_owned())),
            None => path = Some(argument),
        }
    }
    let path = path.ok_or("usage: serve [-Dkey=value]... <zoo.cfg>")?;
    let server = start(Config::from_file(Path::new(&path), &system)?)?;
    println!("serving on {}", server.address());
    server.wait()?;
    Ok(())
}
