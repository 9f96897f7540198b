//! `cargo run -p kafka-codegen` writes kafka-proto's messages; with `-- --check` it only compares.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let check = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => {
            eprintln!("kafka-codegen: unknown argument {other}; it takes --check or nothing");
            return ExitCode::FAILURE;
        }
    };
    match run(check) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("kafka-codegen: run `cargo run -p kafka-codegen` and commit the result");
            ExitCode::FAILURE
        }
        Err(e) => {
            eprintln!("kafka-codegen: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the files on disk are (now) what the schema says.
fn run(check: bool) -> Result<bool, Box<dyn std::error::Error>> {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kafka-proto");
    let schema = std::fs::read_to_string(proto.join("schema/messages.txt"))?;
    let wanted = kafka_codegen::generate(&schema)?;
    let dir = proto.join("src/messages/generated");
    let stale = stale_files(&dir, &wanted)?;
    if check {
        for path in &stale {
            eprintln!("kafka-codegen: {} differs from the schema", path.display());
        }
        return Ok(stale.is_empty());
    }
    for path in &stale {
        let name = relative(&dir, path);
        match wanted.get(&name) {
            Some(text) => {
                std::fs::create_dir_all(path.parent().unwrap_or(&dir))?;
                std::fs::write(path, text)?;
            }
            None => std::fs::remove_file(path)?,
        }
    }
    println!("{} files, {} changed", wanted.len(), stale.len());
    Ok(true)
}

fn relative(dir: &Path, path: &Path) -> String {
    let rest = path.strip_prefix(dir).unwrap_or(path);
    rest.to_string_lossy().replace('\\', "/")
}

/// Files that differ, are missing, or should not be there.
fn stale_files(dir: &Path, wanted: &BTreeMap<String, String>) -> io::Result<Vec<PathBuf>> {
    let mut stale = Vec::new();
    for (name, text) in wanted {
        let path = dir.join(name);
        if std::fs::read_to_string(&path).ok().as_deref() != Some(text) {
            stale.push(path);
        }
    }
    for sub in [dir.to_path_buf(), dir.join("data")] {
        let Ok(entries) = std::fs::read_dir(&sub) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_file() && !wanted.contains_key(&relative(dir, &path)) {
                stale.push(path);
            }
        }
    }
    Ok(stale)
}
