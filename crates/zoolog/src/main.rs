//! zoolog: ZooKeeper and ZooKeeper-mode Kafka in one binary.
//!
//! The first argument, or the name the binary is called by (`kafka-topics.sh` → `kafka-topics`), says what to run:
//! one of the servers, `dev` for both in one process, or a tool. Nothing is decided here.

mod dev;
mod jvm_flags;
mod logging;
mod port_owner;
mod servers;
mod signals;

use std::path::Path;
use std::process::ExitCode;

// Small blocks by the thousand, freed on other threads than allocated: what mimalloc is for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let called_as = if args.is_empty() { String::new() } else { args.remove(0) };
    let name =
        Path::new(&called_as).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.trim_end_matches(".sh");
    if name != "zoolog" && is_command(name) {
        return exit(run(name, &args));
    }
    let Some((command, rest)) = args.split_first() else {
        print!("{}", help());
        return ExitCode::SUCCESS;
    };
    exit(run(command.trim_end_matches(".sh"), rest))
}

fn exit(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// The commands that are not tools.
const COMMANDS: [(&str, &str); 4] = [
    ("dev", "A coordination server and a broker in one process, to try things out"),
    ("zookeeper-server", "A coordination server: zookeeper-server <zoo.cfg>"),
    ("kafka-server", "A broker: kafka-server <server.properties> [--override key=value]*"),
    ("four-letter-word", "Ask a coordination server: four-letter-word <host> <port> <word>"),
];

fn is_command(name: &str) -> bool {
    COMMANDS.iter().any(|(command, _)| *command == name)
        || tools::TOOLS.iter().any(|t| t.names.contains(&name))
}

fn run(command: &str, args: &[String]) -> i32 {
    match command {
        "dev" => dev::run(args),
        "zookeeper-server" => servers::zookeeper(args),
        "kafka-server" => servers::kafka(args),
        "four-letter-word" => four_letter_word(args),
        "--help" | "-h" | "help" => {
            print!("{}", help());
            0
        }
        "--version" | "-V" => {
            println!("zoolog {}", env!("CARGO_PKG_VERSION"));
            0
        }
        tool => tools::run(tool, args).unwrap_or_else(|| {
            eprintln!("zoolog: there is no command {tool}; `zoolog --help` lists them");
            1
        }),
    }
}

fn help() -> String {
    use std::fmt::Write as _;
    let mut out = format!(
        "zoolog {}: ZooKeeper and ZooKeeper-mode Kafka in one binary\n\nUsage: zoolog <command> [arguments]\n\nServers:\n",
        env!("CARGO_PKG_VERSION")
    );
    for (name, about) in COMMANDS {
        let _ = writeln!(out, "  {name:<36} {about}");
    }
    out.push_str("\nTools:\n");
    for tool in tools::TOOLS {
        let _ = writeln!(out, "  {:<36} {}", tool.names.join(", "), tool.about);
    }
    out
}

/// `four-letter-word HOST PORT WORD`: what `echo WORD | nc HOST PORT` does, without nc.
fn four_letter_word(args: &[String]) -> i32 {
    use std::io::{Read as _, Write as _};
    let [host, port, word] = args else {
        eprintln!("Usage: zoolog four-letter-word <host> <port> <word>");
        return 1;
    };
    // As long as the original waits (`FourLetterWordMain`).
    let limit = std::time::Duration::from_secs(5);
    let ask = || -> std::io::Result<String> {
        use std::net::ToSocketAddrs as _;
        let port: u16 = port.parse().map_err(|_| std::io::Error::other(format!("{port} is no port")))?;
        let mut outcome = Err(std::io::Error::other("the name has no address"));
        for address in (host.as_str(), port).to_socket_addrs()? {
            outcome = std::net::TcpStream::connect_timeout(&address, limit);
            if outcome.is_ok() {
                break;
            }
        }
        let mut stream = outcome?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(word.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    match ask() {
        Ok(answer) => {
            print!("{answer}");
            0
        }
        Err(error) => {
            eprintln!("{host}:{port}: {error}");
            1
        }
    }
}
