//! `zkTxnLogToolkit.sh`: shows the transactions of a log file, repairs checksums, or cuts a copy at a zxid.
//!
//! Text is Apache 3.9's to the letter (`TxnLogToolkit`, `LogChopper`). Reads the file by itself rather than through the
//! store, which stops at what this tool is for: records that are not right.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write as _};
use std::path::{Path, PathBuf};

use zk_proto::quorum::zxid;
use zk_proto::txn::{SubTxn, Txn, TxnEntry, kind};

use crate::java_text;
use crate::options::{Options, Spec, Takes, spec};
use crate::out::{say, say_line};

const MAGIC: [u8; 4] = *b"ZKLG";
/// The original's exit codes.
const UNEXPECTED: i32 = 1;
const INVALID: i32 = 2;

const HELP: &str = "usage: TxnLogToolkit [-dhrvc] <txn_log_file_name> (-z <zxid>)
 -c,--chop         Chop mode. Chop txn file to a zxid.
 -d,--dump         Dump mode. Dump all entries of the log file with printing the content of a nodepath (default)
 -h,--help         Print help message
 -r,--recover      Recovery mode. Re-calculate CRC for broken entries.
 -v,--verbose      Be verbose in recovery mode: print all entries, not just fixed ones.
 -y,--yes          Non-interactive mode: repair all CRC errors without asking
 -z,--zxid <arg>   Used with chop. Zxid to which to chop.";

/// Also what `docs/commands.md` lists.
pub const SPECS: [Spec; 7] = [
    spec("chop", Takes::Nothing, ""),
    spec("dump", Takes::Nothing, ""),
    spec("help", Takes::Nothing, ""),
    spec("recover", Takes::Nothing, ""),
    spec("verbose", Takes::Nothing, ""),
    spec("yes", Takes::Nothing, ""),
    spec("zxid", Takes::Value("zxid"), ""),
];

/// What to print on stderr, and the exit code.
struct Failure(String, i32);

fn unexpected(message: impl Into<String>) -> Failure {
    Failure(message.into(), UNEXPECTED)
}

/// Runs the tool; returns the exit code.
pub fn run(args: &[String]) -> i32 {
    // `-dv` is `-d -v`; one letter is an abbreviation that the parser understands.
    let args: Vec<String> = args.iter().flat_map(|arg| letters_apart(arg)).collect();
    let options = match Options::parse(&SPECS, &args) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\n");
            say_line!("{HELP}");
            return UNEXPECTED;
        }
    };
    let file = options.rest().first();
    let Some(file) = file.filter(|_| !options.has("help")) else {
        say_line!("{HELP}");
        return i32::from(!options.has("help"));
    };
    let done = match options.value("zxid").filter(|_| options.has("chop")) {
        Some(zxid) => chop(Path::new(file), zxid),
        None => dump(Path::new(file), &options),
    };
    match done {
        Ok(()) => 0,
        Err(Failure(message, exit_code)) => {
            eprintln!("{message}");
            exit_code
        }
    }
}

fn letters_apart(arg: &str) -> Vec<String> {
    match arg.strip_prefix('-') {
        Some(letters) if letters.len() > 1 && letters.bytes().all(|letter| b"cdhrvyz".contains(&letter)) => {
            letters.chars().map(|letter| format!("-{letter}")).collect()
        }
        _ => vec![arg.to_owned()],
    }
}

/// One entry as it stands in the file.
struct Entry {
    checksum: i64,
    payload: Vec<u8>,
}

impl Entry {
    fn is_right(&self) -> bool {
        self.checksum == computed(&self.payload)
    }

    fn encode(&self, checksum: i64) -> Vec<u8> {
        let length = i32::try_from(self.payload.len()).unwrap_or(i32::MAX);
        [&checksum.to_be_bytes()[..], &length.to_be_bytes(), &self.payload, b"B"].concat()
    }
}

fn computed(payload: &[u8]) -> i64 {
    i64::from(simd_adler32::adler32(&payload))
}

/// A log file, entry by entry.
struct Log {
    path: PathBuf,
    input: BufReader<File>,
    bytes: u64,
    header: [u8; 16],
}

impl Log {
    fn open(path: &Path) -> Result<Self, Failure> {
        let unreadable = |_| unexpected(format!("File doesn't exist or not readable: {}", path.display()));
        let file = File::open(path).map_err(unreadable)?;
        let bytes = file.metadata().map_err(unreadable)?.len();
        let mut log = Self { path: path.to_owned(), input: BufReader::new(file), bytes, header: [0; 16] };
        // A file that is cut off in its header has no magic either.
        let _ = log.input.read_exact(&mut log.header);
        Ok(log)
    }

    fn has_magic(&self) -> bool {
        self.header[..4] == MAGIC
    }

    fn say_header(&self) {
        let version = i32::from_be_bytes(self.header[4..8].try_into().expect("four bytes"));
        let dbid = i64::from_be_bytes(self.header[8..].try_into().expect("eight bytes"));
        say_line!("ZooKeeper Transactional Log File with dbid {dbid} txnlog format version {version}");
    }

    /// `None` at the end: of the file, or where the space filled ahead begins.
    fn next(&mut self) -> Result<Option<Entry>, Failure> {
        let mut head = [0; 12];
        if !self.fill(&mut head)? {
            return Ok(None);
        }
        let checksum = i64::from_be_bytes(head[..8].try_into().expect("eight bytes"));
        let length = i32::from_be_bytes(head[8..].try_into().expect("four bytes"));
        let length = u64::try_from(length).ok().filter(|length| *length <= self.bytes);
        let length =
            length.ok_or_else(|| unexpected(format!("{}: unreasonable length", self.path.display())))?;
        let mut payload = vec![0; length as usize];
        if payload.is_empty() || !self.fill(&mut payload)? {
            return Ok(None);
        }
        Ok(Some(Entry { checksum, payload }))
    }

    /// The mark behind an entry.
    fn end_of_record(&mut self) -> Result<(), Failure> {
        let mut mark = [0];
        match self.fill(&mut mark)? && mark == *b"B" {
            true => Ok(()),
            false => Err(unexpected("Last transaction was partial.")),
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<bool, Failure> {
        match self.input.read_exact(buffer) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(unexpected(format!("{}: {error}", self.path.display()))),
        }
    }
}

fn dump(path: &Path, options: &Options) -> Result<(), Failure> {
    let recover = options.has("recover");
    let mut log = Log::open(path)?;
    let fixed_path = PathBuf::from(format!("{}.fixed", path.display()));
    if recover && fixed_path.exists() {
        let shown = fixed_path.display();
        return Err(unexpected(format!("Recovery file {shown} already exists or not writable")));
    }
    if !log.has_magic() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return Err(Failure(format!("Invalid magic number for {name}"), INVALID));
    }
    let failed = |error| unexpected(format!("{}: {error}", fixed_path.display()));
    let mut fixed = match recover {
        true => Some(BufWriter::new(File::create(&fixed_path).map_err(failed)?)),
        false => None,
    };
    log.say_header();
    if let Some(fixed) = &mut fixed {
        fixed.write_all(&log.header).map_err(failed)?;
    }
    let (mut count, mut repaired) = (0, 0);
    while let Some(entry) = log.next()? {
        let mut checksum = entry.checksum;
        if !entry.is_right() {
            let ask = recover && !options.has("yes");
            say_txn(&entry.payload, if recover && !ask { "CRC FIXED" } else { "CRC ERROR" })?;
            if recover && (!ask || wants_repair()?) {
                checksum = computed(&entry.payload);
                repaired += 1;
            }
        }
        if !recover || options.has("verbose") {
            say_txn(&entry.payload, "")?;
        }
        log.end_of_record()?;
        if let Some(fixed) = &mut fixed {
            fixed.write_all(&entry.encode(checksum)).map_err(failed)?;
        }
        count += 1;
    }
    say_line!("EOF reached after {count} txns.");
    if let Some(mut fixed) = fixed {
        fixed.flush().and_then(|()| fixed.get_ref().sync_all()).map_err(failed)?;
        let shown = fixed_path.display();
        say_line!("Recovery file {shown} has been written with {repaired} fixed CRC error(s)");
    }
    Ok(())
}

fn wants_repair() -> Result<bool, Failure> {
    loop {
        say!("Would you like to fix it (Yes/No/Abort) ? ");
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line).unwrap_or(0);
        match line.trim_start().chars().next().map(|answer| answer.to_ascii_uppercase()) {
            Some('Y') => return Ok(true),
            Some('N') => return Ok(false),
            Some('A') => return Err(Failure("Recovery aborted.".to_owned(), 0)),
            _ if read == 0 => return Err(unexpected("no answer; -y repairs without asking")),
            _ => {}
        }
    }
}

fn say_txn(payload: &[u8], prefix: &str) -> Result<(), Failure> {
    let entry = TxnEntry::decode(payload).map_err(|error| unexpected(error.to_string()))?;
    let header = entry.header;
    let separator = if prefix.is_empty() { "" } else { " - " };
    let text = format!(
        "{prefix}{separator}{} session 0x{:x} cxid 0x{:x} zxid 0x{:x} {} {}",
        java_text::short_date_long_time(header.time),
        header.client_id,
        header.cxid,
        header.zxid,
        kind_name(header.kind),
        txn_text(&entry.txn)
    );
    say_line!("{}", text.strip_suffix('\n').unwrap_or(&text));
    Ok(())
}

/// `Request.op2String`, for what is logged.
fn kind_name(code: i32) -> String {
    let name = match code {
        kind::CREATE => "create",
        kind::DELETE => "delete",
        kind::SET_DATA => "setData",
        kind::SET_ACL => "setACL",
        kind::CHECK => "check",
        kind::MULTI => "multi",
        kind::CREATE2 => "create2",
        kind::RECONFIG => "reconfig",
        kind::CREATE_CONTAINER => "createContainer",
        kind::DELETE_CONTAINER => "deleteContainer",
        kind::CREATE_TTL => "createTTL",
        kind::CREATE_SESSION => "createSession",
        kind::CLOSE_SESSION => "closeSession",
        kind::ERROR => "error",
        other => return format!("unknown {other}"),
    };
    name.to_owned()
}

/// `TxnLogToolkit.getFormattedTxnStr`; records without a form of their own are printed as jute does.
fn txn_text(txn: &Txn) -> String {
    let text = |data: &Option<bytes::Bytes>| {
        data.as_ref().map_or_else(String::new, |data| String::from_utf8_lossy(data).into_owned())
    };
    match txn {
        Txn::Create(t) => {
            let acl = java_text::acl_list(&t.acl);
            format!("{},{},{acl},{},{}", t.path, text(&t.data), t.ephemeral, t.parent_cversion)
        }
        Txn::CreateContainer(t) => {
            format!("{},{},{},{}", t.path, text(&t.data), java_text::acl_list(&t.acl), t.parent_cversion)
        }
        Txn::CreateTtl(t) => {
            let acl = java_text::acl_list(&t.acl);
            format!("{},{},{acl},{},{}", t.path, text(&t.data), t.parent_cversion, t.ttl_ms)
        }
        Txn::SetData(t) => format!("{},{},{}", t.path, text(&t.data), t.version),
        Txn::Multi(items) => {
            let item =
                |item: &SubTxn| format!("{}:{}", kind_name(item.kind), String::from_utf8_lossy(&item.data));
            items.iter().map(item).collect::<Vec<_>>().join(";")
        }
        Txn::CreateSession { timeout_ms } => format!("{timeout_ms}\n"),
        Txn::CloseSession { paths: None } => String::new(),
        Txn::CloseSession { paths: Some(paths) } => {
            let paths: Vec<String> = paths.iter().map(|path| java_text::jute_string(path)).collect();
            format!("v{{{}}}\n", paths.join(","))
        }
        Txn::Error { err } => format!("{err}\n"),
        Txn::Delete { path } => format!("{}\n", java_text::jute_string(path)),
        Txn::SetAcl(t) => {
            let acl: Vec<String> = t.acl.iter().map(|acl| format!("s{{{}}}", java_text::acl(acl))).collect();
            format!("{},v{{{}}},{}\n", java_text::jute_string(&t.path), acl.join(","), t.version)
        }
        Txn::Check(t) => format!("{},{}\n", java_text::jute_string(&t.path), t.version),
    }
}

/// A copy that ends with a zxid; failures of the chopping itself are told and are no failure (as in the original).
fn chop(path: &Path, until: &str) -> Result<(), Failure> {
    let mut log = Log::open(path)?;
    let last =
        java_text::decode_long(until).ok_or_else(|| unexpected(format!("For input string: \"{until}\"")))?;
    let target = PathBuf::from(format!("{}.chopped{last}", path.display()));
    let failed = |error: std::io::Error| say_line!("Got exception: {error}");
    let mut out = match File::create(&target) {
        Ok(file) => BufWriter::new(file),
        Err(error) => {
            failed(error);
            return Ok(());
        }
    };
    let outcome = chop_to(&mut log, last, &mut out);
    if let Err(error) = out.flush() {
        failed(error);
    }
    match outcome {
        Ok(true) => {}
        Ok(false) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            say_line!("Got exception: Failed to chop {name}");
        }
        Err(Failure(message, _)) => say_line!("Got exception: {message}"),
    }
    Ok(())
}

/// False if there was nothing to cut off, or nowhere to cut.
fn chop_to(log: &mut Log, last: i64, out: &mut BufWriter<File>) -> Result<bool, Failure> {
    let write = |out: &mut BufWriter<File>, bytes: &[u8]| {
        out.write_all(bytes).map_err(|error| unexpected(error.to_string()))
    };
    if !log.has_magic() {
        eprintln!("Invalid magic number in txn log file");
        return Ok(false);
    }
    log.say_header();
    write(out, &log.header)?;
    let (mut count, mut found, mut previous) = (0, false, None);
    while let Some(entry) = log.next()? {
        if !entry.is_right() {
            let expect = computed(&entry.payload);
            return Err(unexpected(format!("CRC doesn't match {} vs {expect}", entry.checksum)));
        }
        let this = zk_proto::txn::payload_zxid(&entry.payload).map_err(|e| unexpected(e.to_string()))?;
        log.end_of_record()?;
        found |= this == last;
        if let Some(gap) = previous.and_then(|previous| gap_between(previous, this)) {
            say_line!("{gap}");
        }
        previous = Some(this);
        if this > last {
            if count == 0 || !found {
                say_line!("This log does not contain zxid {last:x}");
                return Ok(false);
            }
            say_line!("Chopping at {last:x} new log has {count} records");
            return Ok(true);
        }
        write(out, &entry.encode(entry.checksum))?;
        count += 1;
    }
    say_line!("EOF reached after {count} txns.");
    Ok(false)
}

fn gap_between(previous: i64, this: i64) -> Option<String> {
    if this == previous + 1 {
        return None;
    }
    let same_epoch = zxid::epoch(previous) == zxid::epoch(this);
    let kind = if same_epoch { "intra" } else { "inter" };
    (same_epoch || zxid::counter(this) != 1)
        .then(|| format!("There is {kind}-epoch gap between {previous:x} and {this:x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_may_stand_together() {
        assert_eq!(letters_apart("-dv"), ["-d", "-v"]);
        assert_eq!(letters_apart("-r"), ["-r"]);
        assert_eq!(letters_apart("--dump"), ["--dump"]);
        assert_eq!(letters_apart("/x/log.1"), ["/x/log.1"]);
    }

    #[test]
    fn records_without_a_form_of_their_own_are_printed_as_jute_does() {
        assert_eq!(txn_text(&Txn::Error { err: -103 }), "-103\n");
        assert_eq!(txn_text(&Txn::Delete { path: "/a,b".into() }), "'/a%2Cb\n");
        let closed = Txn::CloseSession { paths: Some(vec!["/a".into(), "/b".into()]) };
        assert_eq!(txn_text(&closed), "v{'/a,'/b}\n");
    }

    #[test]
    fn gaps_are_told_within_an_epoch_and_at_a_late_beginning() {
        assert_eq!(gap_between(0x1_0000_0001, 0x1_0000_0002), None);
        assert_eq!(gap_between(0x1_0000_0001, 0x2_0000_0001), None);
        let told = gap_between(0x1_0000_0001, 0x1_0000_0003).unwrap();
        assert_eq!(told, "There is intra-epoch gap between 100000001 and 100000003");
        assert!(gap_between(0x1_0000_0001, 0x2_0000_0002).unwrap().contains("inter-epoch"));
    }
}
