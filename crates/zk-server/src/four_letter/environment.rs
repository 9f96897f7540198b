//! What `envi` says of the process and the machine, and the version every word reports.

use std::path::Path;

/// Apache's release whose behaviour this server has, our own release after the one dash that clients cut
/// at, and a date in the form go-zookeeper reads (`MM/DD/YYYY HH:MM GMT`).
pub(crate) const VERSION: &str =
    concat!("3.9.3-zoolog", env!("CARGO_PKG_VERSION"), ", built on 11/26/2026 00:00 GMT");

/// `envi`, key and value a line. Java's own properties keep their keys, since people look for them, and say
/// that there is none.
pub(crate) fn envi() -> String {
    let uname = rustix::system::uname();
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| "<NA>".to_owned());
    let directory = std::env::current_dir().map(|d| d.display().to_string());
    let memory = Memory::read(Path::new("/proc/meminfo"));
    let mut lines = vec![
        ("zookeeper.version", VERSION.to_owned()),
        ("host.name", uname.nodename().to_string_lossy().into_owned()),
    ];
    for key in ["java.version", "java.vendor", "java.home", "java.class.path", "java.library.path"] {
        lines.push((key, "<NA>".to_owned()));
    }
    lines.extend([
        ("java.io.tmpdir", std::env::temp_dir().display().to_string()),
        ("java.compiler", "<NA>".to_owned()),
        ("os.name", uname.sysname().to_string_lossy().into_owned()),
        ("os.arch", java_arch(&uname.machine().to_string_lossy()).to_owned()),
        ("os.version", uname.release().to_string_lossy().into_owned()),
        ("user.name", user_name()),
        ("user.home", variable("HOME")),
        ("user.dir", directory.unwrap_or_else(|_| "<NA>".to_owned())),
        ("os.memory.free", format!("{}MB", memory.available_kb / 1024)),
        ("os.memory.max", format!("{}MB", memory.total_kb / 1024)),
        ("os.memory.total", format!("{}MB", memory.total_kb / 1024)),
    ]);
    let body: String = lines.into_iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    format!("Environment:\n{body}")
}

/// The environment says it, or nothing does: the user database is not read for a label.
fn user_name() -> String {
    let named = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    named.unwrap_or_else(|_| match rustix::process::getuid() {
        uid if uid.is_root() => "root".to_owned(),
        uid => uid.as_raw().to_string(),
    })
}

fn java_arch(machine: &str) -> &str {
    if machine == "x86_64" { "amd64" } else { machine }
}

/// The machine's memory; zeros where the system does not say.
#[derive(Default)]
struct Memory {
    total_kb: u64,
    available_kb: u64,
}

impl Memory {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Self { total_kb: field("MemTotal:").unwrap_or(0), available_kb: field("MemAvailable:").unwrap_or(0) }
    }
}

/// Open files of this process and the most it may have.
pub(crate) fn file_descriptors() -> (Option<usize>, Option<u64>) {
    // One of the entries is the directory being read.
    let open = std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1));
    (open, rustix::process::getrlimit(rustix::process::Resource::Nofile).current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_has_one_dash_before_the_date() {
        let (version, date) = VERSION.split_once(", built on ").unwrap();
        assert_eq!(version.matches('-').count(), 1);
        assert!(version.starts_with("3.9.3-"));
        assert_eq!(date.len(), "MM/DD/YYYY HH:MM GMT".len());
    }

    #[test]
    fn envi_lists_the_originals_keys_in_order() {
        let text = envi();
        let keys: Vec<&str> = text.lines().skip(1).filter_map(|l| l.split('=').next()).collect();
        assert_eq!(text.lines().next(), Some("Environment:"));
        assert_eq!(
            (keys[0], keys[1], keys[9], keys.len()),
            ("zookeeper.version", "host.name", "os.name", 18)
        );
    }
}
