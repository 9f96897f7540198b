//! The commands of zkCli, one table: name, what it takes, what it does.

use bytes::Bytes;
use zk_client::{AddWatchMode, CreateMode, ErrorCode, WatchType, ZkClient, ZkError, op, open_acl};
use zk_proto::path::validate;

use super::line::Args;
use super::{Cli, CliError, print, quota, reconfig};
use crate::out::{say, say_line};
use std::sync::atomic::Ordering;

pub(super) type Done = Result<(), CliError>;

/// One command. `options` are its letters, those that take a value followed by `:`.
struct Command {
    name: &'static str,
    usage: &'static str,
    options: &'static str,
    run: Run,
}

enum Run {
    /// Needs a session.
    Session(fn(&Call<'_>) -> Done),
    /// Changes the command line itself.
    Line(fn(&mut Cli, &Args) -> Done),
}

use Run::{Line, Session};

#[rustfmt::skip]
const COMMANDS: &[Command] = &[
    Command { name: "addWatch", usage: "[-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default is PERSISTENT_RECURSIVE", options: "m:", run: Session(add_watch) },
    Command { name: "addauth", usage: "scheme auth", options: "", run: Session(add_auth) },
    Command { name: "close", usage: "", options: "", run: Line(close) },
    Command { name: "config", usage: "[-c] [-w] [-s]", options: "cws", run: Session(config) },
    Command { name: "connect", usage: "host:port", options: "", run: Line(connect) },
    Command { name: "create", usage: "[-s] [-e] [-c] [-t ttl] path [data] [acl]", options: "sect:", run: Session(create) },
    Command { name: "delete", usage: "[-v version] path", options: "v:", run: Session(delete) },
    Command { name: "deleteall", usage: "path [-b batch size]", options: "b:", run: Session(delete_all) },
    Command { name: "delquota", usage: "[-n|-b|-N|-B] path", options: "nbNB", run: Session(quota::delete) },
    Command { name: "get", usage: "[-s] [-w] [-b] [-x] path", options: "swbx", run: Session(get) },
    Command { name: "getAcl", usage: "[-s] path", options: "s", run: Session(get_acl) },
    Command { name: "getAllChildrenNumber", usage: "path", options: "", run: Session(get_all_children_number) },
    Command { name: "getEphemerals", usage: "path", options: "", run: Session(get_ephemerals) },
    Command { name: "history", usage: "", options: "", run: Line(history) },
    Command { name: "listquota", usage: "path", options: "", run: Session(quota::list) },
    Command { name: "ls", usage: "[-s] [-w] [-R] path", options: "swR", run: Session(ls) },
    Command { name: "ls2", usage: "path [watch]", options: "w", run: Session(ls2) },
    Command { name: "printwatches", usage: "on|off", options: "", run: Line(print_watches) },
    Command { name: "quit", usage: "", options: "", run: Line(quit) },
    Command { name: "reconfig", usage: reconfig::USAGE, options: "sv: file: members: add: remove:", run: Session(reconfig::run) },
    Command { name: "redo", usage: "cmdno", options: "", run: Line(redo) },
    Command { name: "removewatches", usage: "path [-c|-d|-a] [-l]", options: "cdal", run: Session(remove_watches) },
    Command { name: "rmr", usage: "path", options: "b:", run: Session(delete_all) },
    Command { name: "set", usage: "path data [-s] [-v version] [-b]", options: "sv:b", run: Session(set) },
    Command { name: "setAcl", usage: "[-s] [-v version] [-R] path acl", options: "sv:R", run: Session(set_acl) },
    Command { name: "setquota", usage: "-n|-b|-N|-B val path", options: "n:b:N:B:", run: Session(quota::set) },
    Command { name: "stat", usage: "[-w] path", options: "w", run: Session(stat) },
    Command { name: "sync", usage: "path", options: "", run: Session(sync) },
    Command { name: "version", usage: "", options: "", run: Line(version) },
    Command { name: "whoami", usage: "", options: "", run: Session(whoami) },
];

/// Every command's name, for the documentation's test.
#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|command| command.name)
}

/// Runs one command line.
pub(super) fn execute(cli: &mut Cli, words: &[String]) -> Done {
    let Some((name, rest)) = words.split_first() else {
        print_usage();
        return Err(CliError::new("No command entered"));
    };
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        print_usage();
        return Err(CliError {
            message: format!("Command not found: Command not found {name}"),
            exit_code: 127,
        });
    };
    let args = Args::parse(command.options, rest).map_err(CliError::new)?;
    match command.run {
        Line(run) => run(cli, &args),
        Session(run) => {
            let Some(zk) = &cli.zk else {
                say_line!("Not connected");
                return Ok(());
            };
            run(&Call { zk, runtime: &cli.runtime, args: &args, command })
        }
    }
}

fn print_usage() {
    eprintln!("ZooKeeper -server host:port -client-configuration properties-file cmd args");
    // 3.4's names are understood, not advertised.
    for command in COMMANDS.iter().filter(|command| !matches!(command.name, "ls2" | "rmr")) {
        eprintln!("\t{} {}", command.name, command.usage);
    }
}

/// The commands whose usage explains their options, in the original's layout.
const EXPLAINED: [(&str, &str); 2] = [
    (
        "get",
        "\n -b   Output data in base64 format\n -s   Print znode stats additionally\n \
         -w   Watch for changes on the znode\n -x   Output data in hexdump format\n",
    ),
    (
        "set",
        "\n -b         Supply data in base64 format\n -s         Print znode stats additionally\n \
         -v <arg>   Set with an expected version\n",
    ),
];

/// The original's words for a path that cannot be one.
pub(super) fn bad_path(path: &str, error: impl std::fmt::Display) -> CliError {
    let why = error.to_string();
    // What is wrong with the whole is said alone, what is wrong at a place with the path.
    CliError::new(match why.starts_with("Path ") {
        true => why,
        false => format!("Invalid path string \"{path}\" caused by {why}"),
    })
}

/// The original refuses an empty list of ACLs before it knows the path.
fn refused_acl(error: ZkError, acl_is_empty: bool, path: &str) -> CliError {
    let path = if acl_is_empty && error.is(ErrorCode::InvalidAcl) { "null" } else { path };
    CliError::refused(&error, path)
}

/// What a request of the client becomes.
pub(super) trait Answer<T>: Future<Output = Result<T, ZkError>> {}
impl<T, F: Future<Output = Result<T, ZkError>>> Answer<T> for F {}

/// One command under way.
pub(super) struct Call<'a> {
    pub(super) zk: &'a ZkClient,
    runtime: &'a tokio::runtime::Runtime,
    pub(super) args: &'a Args,
    command: &'static Command,
}

impl Call<'_> {
    pub(super) fn usage(&self) -> CliError {
        let explained = EXPLAINED.iter().find(|(name, _)| *name == self.command.name);
        let options = explained.map_or("", |(_, options)| options);
        CliError::new(format!("{} {}{options}", self.command.name, self.command.usage))
    }

    pub(super) fn word(&self, index: usize) -> Result<&str, CliError> {
        self.args.plain(index).ok_or_else(|| self.usage())
    }

    /// The path argument, checked before anything is sent.
    fn path(&self) -> Result<&str, CliError> {
        let path = self.word(0)?;
        validate(path).map_err(|error| bad_path(path, error))?;
        Ok(path)
    }

    fn number<T: std::str::FromStr>(&self, letter: char, default: T) -> Result<T, CliError> {
        match self.args.value(letter) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| CliError::new(format!("-{letter} argument must be a number: {text}"))),
        }
    }

    pub(super) fn wait<T>(&self, reply: impl Answer<T>, path: &str) -> Result<T, CliError> {
        self.ask(reply).map_err(|error| CliError::refused(&error, path))
    }

    /// The answer, for who looks at refusals more closely.
    pub(super) fn ask<T>(&self, reply: impl Answer<T>) -> Result<T, ZkError> {
        self.runtime.block_on(reply)
    }

    /// `-w`, or 3.4's `get path watch`.
    fn watch(&self) -> bool {
        let old_form = self.args.plain.len() > 1;
        if old_form {
            let name = self.command.name;
            let options = if name == "get" { "[-s] [-w]" } else { "[-w]" };
            eprintln!(
                "'{name} path [watch]' has been deprecated. Please use '{name} {options} path' instead."
            );
        }
        self.args.has('w') || old_form
    }

    pub(super) fn print_stat_if_asked(&self, stat: &zk_client::Stat) {
        if self.args.has('s') {
            say_line!("{}", print::stat(stat));
        }
    }

    /// `path` and everything below it: a node's children in order, then what is below the first of them, and so on
    /// (`ZKUtil.visitSubTreeDFS`). A node that goes away meanwhile is left out, another error ends it.
    fn subtree(&self, path: &str, watch: bool) -> Result<Vec<String>, CliError> {
        let mut all = vec![path.to_owned()];
        let mut waiting = vec![path.to_owned()];
        while let Some(path) = waiting.pop() {
            let mut children = match self.runtime.block_on(self.zk.get_children(&path, watch)) {
                Ok(children) => children,
                Err(error) if error.is(ErrorCode::NoNode) && all.len() > 1 => continue,
                Err(error) => return Err(CliError::refused(&error, &path)),
            };
            children.sort_unstable();
            let prefix = if path == "/" { "" } else { &path };
            let children: Vec<String> = children.iter().map(|child| format!("{prefix}/{child}")).collect();
            all.extend(children.iter().cloned());
            waiting.extend(children.into_iter().rev());
        }
        Ok(all)
    }
}

fn add_watch(call: &Call<'_>) -> Done {
    let path = call.path()?;
    let mode = match call.args.value('m').map(str::to_uppercase).as_deref() {
        None | Some("PERSISTENT_RECURSIVE") => AddWatchMode::PersistentRecursive,
        Some("PERSISTENT") => AddWatchMode::Persistent,
        Some(_) => return Err(call.usage()),
    };
    call.wait(call.zk.add_watch(path, mode), path)
}

fn add_auth(call: &Call<'_>) -> Done {
    let scheme = call.word(0)?;
    let auth = call.args.plain(1).unwrap_or_default();
    call.wait(call.zk.add_auth(scheme, Bytes::copy_from_slice(auth.as_bytes())), scheme)
}

fn config(call: &Call<'_>) -> Done {
    let (data, stat) = call.wait(call.zk.get_config(call.args.has('w')), "/zookeeper/config")?;
    let text = data.map_or("null".to_owned(), |d| String::from_utf8_lossy(&d).into_owned());
    say_line!("{}", if call.args.has('c') { client_addresses(&text) } else { text });
    call.print_stat_if_asked(&stat);
    Ok(())
}

/// The version, then `host:port` of each server, empty where it does not tell (`ConfigUtils.getClientConfigStr`).
fn client_addresses(text: &str) -> String {
    let config = zk_proto::quorum::Config::parse(text).unwrap_or_default();
    let version = text.lines().find_map(|line| line.strip_prefix("version=")).unwrap_or_default();
    let address = |member: &zk_proto::quorum::Member| {
        member.client.as_ref().map_or_else(String::new, |(host, port)| format!("{host}:{port}"))
    };
    format!("{version} {}", config.members.values().map(address).collect::<Vec<_>>().join(","))
}

fn create(call: &Call<'_>) -> Done {
    let path = call.word(0)?;
    let has = |letter| call.args.has(letter);
    let fail = |message: &str| Err(CliError::new(message));
    let ttl_ms = call.args.value('t').map_or(Ok(0), str::parse);
    let ttl_ms: i64 = ttl_ms.map_err(|_| CliError::new("-t argument must be a long value"))?;
    let mode = match (has('e'), has('s'), has('c'), has('t')) {
        (e, s, true, _) if e || s => {
            return fail(
                "-c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential.",
            );
        }
        (true, _, _, true) => return fail("TTLs cannot be used with Ephemeral znodes"),
        (_, _, true, true) => return fail("TTLs cannot be used with Container znodes"),
        (true, true, ..) => CreateMode::EphemeralSequential,
        (true, false, ..) => CreateMode::Ephemeral,
        (_, true, _, true) => CreateMode::PersistentSequentialTtl,
        (_, true, ..) => CreateMode::PersistentSequential,
        (_, _, true, _) => CreateMode::Container,
        (_, _, _, true) => CreateMode::PersistentTtl,
        _ => CreateMode::Persistent,
    };
    let check = if has('s') { zk_proto::path::validate_sequential(path) } else { validate(path) };
    check.map_err(|error| bad_path(path, error))?;
    let data = call.args.plain(1).map(|data| Bytes::copy_from_slice(data.as_bytes()));
    let acl = call.args.plain(2).map_or_else(open_acl, print::parse_acl);
    let acl_is_empty = acl.is_empty();
    let created = call.runtime.block_on(async {
        match has('t') {
            true => call.zk.create_ttl(path, data, acl, mode, ttl_ms).await.map(|(path, _)| path),
            false => call.zk.create(path, data, acl, mode).await,
        }
    });
    let created = created.map_err(|error| {
        if error.is(ErrorCode::InvalidAcl) {
            let place = if acl_is_empty { String::new() } else { format!(" for {path}") };
            eprintln!("KeeperErrorCode = InvalidACL{place}");
        }
        refused_acl(error, acl_is_empty, path)
    })?;
    eprintln!("Created {created}");
    Ok(())
}

fn delete(call: &Call<'_>) -> Done {
    let path = call.path()?;
    if call.args.plain.len() > 1 {
        eprintln!(
            "'delete path [version]' has been deprecated. Please use 'delete [-v version] path' instead."
        );
    }
    let old_form = call.args.plain(1).and_then(|version| version.parse().ok()).unwrap_or(-1);
    call.wait(call.zk.delete(path, call.number('v', old_form)?), path)
}

fn delete_all(call: &Call<'_>) -> Done {
    let path = call.path()?;
    let batch = call.number('b', 1000_usize)?.max(1);
    if call.command.name == "rmr" {
        eprintln!("The command 'rmr' has been deprecated. Please use 'deleteall' instead.");
    }
    let mut nodes = call.subtree(path, false)?;
    nodes.reverse();
    // A batch goes whole or not at all, and after one that was refused none follows (`ZKUtil.deleteInBatch`).
    for nodes in nodes.chunks(batch) {
        let deletes = nodes.iter().map(|node| op::delete(node, -1)).collect();
        if call.runtime.block_on(call.zk.multi(deletes)).is_err() {
            eprintln!("Failed to delete some node(s) in the subtree!");
            break;
        }
    }
    Ok(())
}

fn get(call: &Call<'_>) -> Done {
    use std::io::Write as _;
    let path = call.path()?;
    let (data, stat) = call.wait(call.zk.get_data(path, call.watch()), path)?;
    let data = data.unwrap_or(Bytes::from_static(b"null"));
    if call.args.has('x') {
        say_line!("{}", print::hex_dump(&data));
    } else if call.args.has('b') {
        say_line!("{}", print::base64(&data));
    } else {
        // As it is: it need not be text.
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(&data).and_then(|()| out.write_all(b"\n"));
    }
    call.print_stat_if_asked(&stat);
    Ok(())
}

fn get_acl(call: &Call<'_>) -> Done {
    let path = call.path()?;
    let (acl, stat) = call.wait(call.zk.get_acl(path), path)?;
    say_line!("{}", print::acl(&acl));
    call.print_stat_if_asked(&stat);
    Ok(())
}

fn get_all_children_number(call: &Call<'_>) -> Done {
    let path = call.path()?;
    say_line!("{}", call.wait(call.zk.get_all_children_number(path), path)?);
    Ok(())
}

fn get_ephemerals(call: &Call<'_>) -> Done {
    let prefix = call.args.plain(0).unwrap_or("/");
    let mut paths = call.wait(call.zk.get_ephemerals(prefix), prefix)?;
    paths.sort();
    say_line!("{}", print::list(&paths));
    Ok(())
}

fn ls(call: &Call<'_>) -> Done {
    let path = call.path()?;
    let watch = call.watch();
    if call.args.has('R') {
        call.subtree(path, watch)?.iter().for_each(|node| say_line!("{node}"));
        return Ok(());
    }
    let (mut children, stat) = call.wait(call.zk.get_children2(path, watch), path)?;
    children.sort();
    say_line!("{}", print::list(&children));
    call.print_stat_if_asked(&stat);
    Ok(())
}

/// 3.4's `ls -s`.
fn ls2(call: &Call<'_>) -> Done {
    let path = call.path()?;
    eprintln!("'ls2' has been deprecated. Please use 'ls [-s] path' instead.");
    let (mut children, stat) = call.wait(call.zk.get_children2(path, call.args.plain.len() > 1), path)?;
    children.sort();
    say_line!("{}\n{}", print::list(&children), print::stat(&stat));
    Ok(())
}

fn remove_watches(call: &Call<'_>) -> Done {
    let path = call.path()?;
    let kind = match (call.args.has('c'), call.args.has('d')) {
        (true, _) => WatchType::Children,
        (_, true) => WatchType::Data,
        _ => WatchType::Any,
    };
    call.wait(call.zk.check_watches(path, kind), path)?;
    call.wait(call.zk.remove_watches(path, kind), path)
}

fn set(call: &Call<'_>) -> Done {
    let path = call.path()?;
    let text = call.word(1)?;
    let data = if call.args.has('b') {
        print::from_base64(text).ok_or(CliError::new("the data is not base64"))?
    } else {
        text.as_bytes().to_vec()
    };
    let stat = call.wait(call.zk.set_data(path, Some(data.into()), call.number('v', -1)?), path)?;
    call.print_stat_if_asked(&stat);
    Ok(())
}

fn set_acl(call: &Call<'_>) -> Done {
    let path = call.path()?;
    let acl = print::parse_acl(call.word(1)?);
    let version = call.number('v', -1)?;
    if call.args.has('R') {
        // One node's refusal does not keep the others from their new ACL (`SetAclCommand`).
        for node in call.subtree(path, false)? {
            let set = call.runtime.block_on(call.zk.set_acl(&node, acl.clone(), version));
            if let Some(code) = set.err().map(|e| e.code().map_or(e.to_string(), |code| code.to_string())) {
                say!("KeeperErrorCode = {code} for {node}");
            }
        }
        return Ok(());
    }
    let acl_is_empty = acl.is_empty();
    let set = call.runtime.block_on(call.zk.set_acl(path, acl, version));
    let stat = set.map_err(|error| refused_acl(error, acl_is_empty, path))?;
    call.print_stat_if_asked(&stat);
    Ok(())
}

fn stat(call: &Call<'_>) -> Done {
    let path = call.path()?;
    let found = call.runtime.block_on(call.zk.exists(path, call.watch()));
    let found = found.map_err(|error| CliError::refused(&error, path))?;
    say_line!("{}", print::stat(&found.ok_or(CliError::new(format!("Node does not exist: {path}")))?));
    Ok(())
}

fn sync(call: &Call<'_>) -> Done {
    let path = call.path()?;
    call.wait(call.zk.sync(path), path)?;
    say_line!("Sync is OK");
    Ok(())
}

fn whoami(call: &Call<'_>) -> Done {
    let infos = call.wait(call.zk.who_am_i(), "")?;
    say_line!("Auth scheme: User");
    infos.iter().for_each(|info| say_line!("{}: {}", info.auth_scheme, info.user));
    Ok(())
}

fn close(cli: &mut Cli, _: &Args) -> Done {
    cli.close();
    Ok(())
}

fn connect(cli: &mut Cli, args: &Args) -> Done {
    if let Some(host) = args.plain(0) {
        host.clone_into(&mut cli.options.hosts);
    }
    cli.connect()
}

/// The last eleven lines, numbered.
fn history(cli: &mut Cli, _: &Args) -> Done {
    let first = cli.history.len().saturating_sub(11);
    for (number, line) in cli.history.iter().enumerate().skip(first) {
        say_line!("{number} - {line}");
    }
    Ok(())
}

fn print_watches(cli: &mut Cli, args: &Args) -> Done {
    match args.plain(0) {
        None => {
            let on = cli.print_watches.load(Ordering::Relaxed);
            say_line!("printwatches is {}", if on { "on" } else { "off" });
        }
        Some(word) => cli.print_watches.store(word == "on", Ordering::Relaxed),
    }
    Ok(())
}

fn quit(cli: &mut Cli, _: &Args) -> Done {
    cli.quit = true;
    Ok(())
}

fn redo(cli: &mut Cli, args: &Args) -> Done {
    let number = args.plain(0).and_then(|word| word.parse::<usize>().ok());
    // The redo itself is the newest line, and cannot be redone.
    let Some(line) = number.filter(|n| n + 1 < cli.history.len()).and_then(|n| cli.history.get(n).cloned())
    else {
        return Err(CliError::new("Command index out of range"));
    };
    let words = super::line::words(&line);
    if words.first().is_some_and(|word| word == "redo") {
        return Err(CliError::new("No redoing redos"));
    }
    if let Some(newest) = cli.history.last_mut() {
        *newest = line;
    }
    execute(cli, &words)
}

fn version(_: &mut Cli, _: &Args) -> Done {
    say_line!("ZooKeeper CLI version: zoolog {}", env!("CARGO_PKG_VERSION"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_sorted_for_the_usage() {
        assert!(COMMANDS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn client_addresses_have_the_version_before_them() {
        let config = "server.1=a:2888:3888:participant;0.0.0.0:2181\nserver.2=b:2888:3888\nversion=10000000a";
        assert_eq!(client_addresses(config), "10000000a 0.0.0.0:2181,");
        assert_eq!(client_addresses(""), " ");
    }
}
