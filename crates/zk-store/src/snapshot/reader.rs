//! Reading a snapshot, of any release, as a stream of parts.
//!
//! Whether the file is whole is known only at its seal: parts handed out before an error must be dropped.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use zk_proto::{Acl, Id, Reader, StatPersisted};

use super::checked::CheckedReader;
use super::compression::{Compression, source};
use super::{END_PATH, MAGIC, VERSION, ZxidDigest, snappy_java};
use crate::error::StoreError;

/// Allocated ahead for one buffer on the word of its length; more only as the bytes arrive.
const TRUSTED_BYTES: usize = 64 << 10;
/// Longest trailer: an old digest as text, the zxid, two seals.
const TRAILER_BYTES_MAX: u64 = 4096;
/// The plain end every uncompressed snapshot has: the string `"/"`.
const END_BYTES: [u8; 5] = [0, 0, 0, 1, b'/'];
const SEAL_BYTES: usize = 13;
const DIGEST_BYTES: usize = 20;
/// Under lower versions the digest is hex text (`ZxidDigest.deserialize`).
const BINARY_DIGEST_VERSION_MIN: i32 = 2;

/// One piece of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotPart {
    Session {
        id: i64,
        timeout_ms: i32,
    },
    /// An entry of the ACL cache, which nodes refer to by id.
    Acl {
        id: i64,
        list: Vec<Acl>,
    },
    /// `path` is `""` for the root; parents come before children. `acl` -1 is `world:anyone` with every permission.
    Node {
        path: String,
        data: Option<Bytes>,
        acl: i64,
        stat: StatPersisted,
    },
}

/// What follows the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnapshotTail {
    /// From 3.6 on, with `digest.enabled`.
    pub digest: Option<ZxidDigest>,
    /// From 3.9 on, with `serializeLastProcessedZxid.enabled`. Readers go by the file's name instead.
    pub last_processed_zxid: Option<i64>,
}

/// Whether a file may be a whole snapshot, without reading it through: its last bytes when plain, its first when
/// compressed (`SnapStream.isValidSnapshot`). A missing file is not.
pub fn looks_valid(path: &Path) -> bool {
    looks_valid_io(path).unwrap_or(false)
}

fn looks_valid_io(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let starts_with = |magic: &[u8]| {
        let mut head = vec![0; magic.len()];
        file.read_exact_at(&mut head, 0).map(|()| head == magic)
    };
    match compression_of(path) {
        None => Ok(false),
        Some(Compression::Gzip) => starts_with(&[0x1f, 0x8b]),
        Some(Compression::Snappy) => starts_with(&snappy_java::MAGIC),
        Some(Compression::None) if bytes < 10 => Ok(false),
        Some(Compression::None) => {
            let mut end = [0; END_BYTES.len()];
            file.read_exact_at(&mut end, bytes - END_BYTES.len() as u64)?;
            Ok(end == END_BYTES)
        }
    }
}

/// Reads a snapshot to its end and hands out its parts in order. `take` refuses a part with a reason.
pub fn read_snapshot(
    path: &Path,
    take: &mut dyn FnMut(SnapshotPart) -> Result<(), String>,
) -> Result<SnapshotTail, StoreError> {
    let Some(compression) = compression_of(path) else {
        return Err(StoreError::corrupt(path, 0, "the name is not a snapshot's"));
    };
    let file = File::open(path).map_err(StoreError::io("open", path))?;
    let input = source(file, compression).map_err(|e| StoreError::corrupt(path, 0, e.to_string()))?;
    let mut stream = Stream { path, input: CheckedReader::new(input) };
    stream.header()?;
    stream.sessions(take)?;
    stream.acls(take)?;
    stream.nodes(take)?;
    stream.seal()?;
    stream.tail()
}

fn compression_of(path: &Path) -> Option<Compression> {
    let name = path.file_name()?.to_str()?.strip_prefix("snapshot.")?;
    Compression::from_extension(name.split_once('.').map(|(_, ext)| ext))
}

struct Stream<'a> {
    path: &'a Path,
    /// Offsets in errors are of the uncompressed bytes.
    input: CheckedReader<Box<dyn Read>>,
}

impl Stream<'_> {
    fn header(&mut self) -> Result<(), StoreError> {
        let magic = self.array::<4>()?;
        if magic != MAGIC {
            return Err(self.corrupt(format!("magic {magic:02x?} is not ZKSN")));
        }
        let version = self.i32()?;
        if version != VERSION {
            return Err(self.corrupt(format!("snapshot format version {version} is not 2")));
        }
        self.i64().map(drop)
    }

    fn sessions(
        &mut self,
        take: &mut dyn FnMut(SnapshotPart) -> Result<(), String>,
    ) -> Result<(), StoreError> {
        for _ in 0..self.count()? {
            let part = SnapshotPart::Session { id: self.i64()?, timeout_ms: self.i32()? };
            self.hand_out(part, take)?;
        }
        Ok(())
    }

    fn acls(&mut self, take: &mut dyn FnMut(SnapshotPart) -> Result<(), String>) -> Result<(), StoreError> {
        for _ in 0..self.count()? {
            let id = self.i64()?;
            let mut list = Vec::new();
            for _ in 0..self.count()? {
                let perms = self.i32()?;
                list.push(Acl::new(perms, Id::new(self.string()?, self.string()?)));
            }
            self.hand_out(SnapshotPart::Acl { id, list }, take)?;
        }
        Ok(())
    }

    fn nodes(&mut self, take: &mut dyn FnMut(SnapshotPart) -> Result<(), String>) -> Result<(), StoreError> {
        loop {
            let path = self.string()?;
            if path == END_PATH {
                return Ok(());
            }
            let data = self.buffer()?.map(Bytes::from);
            let acl = self.i64()?;
            let stat = self.array::<{ StatPersisted::BYTES }>()?;
            let stat =
                StatPersisted::decode(&mut Reader::new(&stat)).map_err(|e| self.corrupt(e.to_string()))?;
            self.hand_out(SnapshotPart::Node { path, data, acl, stat }, take)?;
        }
    }

    fn seal(&mut self) -> Result<(), StoreError> {
        let computed = self.input.checksum();
        let stored = self.i64()?;
        let end = self.string()?;
        if stored != computed || end != END_PATH {
            return Err(self.corrupt(format!("checksum 0x{computed:x}, stored 0x{stored:x}")));
        }
        Ok(())
    }

    /// The trailers, told apart by what is left: each may be missing, by release and by configuration.
    fn tail(&mut self) -> Result<SnapshotTail, StoreError> {
        let mut sum_so_far = self.input.checksum();
        let at = self.input.position();
        let mut rest = Vec::new();
        let path = self.path;
        (&mut self.input)
            .take(TRAILER_BYTES_MAX)
            .read_to_end(&mut rest)
            .map_err(|e| StoreError::corrupt(path, at, e.to_string()))?;
        let mut tail = SnapshotTail::default();
        let mut left = &rest[..];
        if left.len() > 8 + SEAL_BYTES {
            let (digest, bytes) =
                parse_digest(left).ok_or_else(|| self.corrupt("the digest trailer is cut off"))?;
            left = self.check_seal(left, bytes, &mut sum_so_far)?;
            tail.digest = Some(digest);
        }
        if !left.is_empty() {
            let zxid = Reader::new(left).i64().map_err(|_| self.corrupt("the zxid trailer is cut off"))?;
            left = self.check_seal(left, 8, &mut sum_so_far)?;
            tail.last_processed_zxid = Some(zxid);
        }
        if !left.is_empty() {
            return Err(self.corrupt(format!("{} unknown bytes behind the trailers", left.len())));
        }
        Ok(tail)
    }

    /// Checks the seal behind `bytes` bytes of trailer and returns what follows it. `sum` runs on over both.
    fn check_seal<'b>(&self, left: &'b [u8], bytes: usize, sum: &mut i64) -> Result<&'b [u8], StoreError> {
        let run_on = |sum: i64, more: &[u8]| {
            let seed = u32::try_from(sum).expect("an Adler-32 has 32 bits");
            let mut adler = simd_adler32::Adler32::from_checksum(seed);
            adler.write(more);
            i64::from(adler.finish())
        };
        let Some((trailer, after)) = left.split_at_checked(bytes) else {
            return Err(self.corrupt("a trailer is cut off"));
        };
        let Some((seal, after)) = after.split_at_checked(SEAL_BYTES) else {
            return Err(self.corrupt("a trailer's seal is cut off"));
        };
        *sum = run_on(*sum, trailer);
        let stored = Reader::new(seal).i64().unwrap_or(-1);
        if stored != *sum || seal[8..] != END_BYTES {
            return Err(self.corrupt(format!("checksum of a trailer 0x{:x}, stored 0x{stored:x}", *sum)));
        }
        *sum = run_on(*sum, seal);
        Ok(after)
    }

    fn hand_out(
        &self,
        part: SnapshotPart,
        take: &mut dyn FnMut(SnapshotPart) -> Result<(), String>,
    ) -> Result<(), StoreError> {
        take(part).map_err(|why| StoreError::Refused { path: self.path.to_owned(), why })
    }

    fn count(&mut self) -> Result<i32, StoreError> {
        match self.i32()? {
            n if n < 0 => Err(self.corrupt(format!("count {n}"))),
            n => Ok(n),
        }
    }

    fn i32(&mut self) -> Result<i32, StoreError> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, StoreError> {
        self.array().map(i64::from_be_bytes)
    }

    fn string(&mut self) -> Result<String, StoreError> {
        let bytes = self.buffer()?.ok_or_else(|| self.corrupt("a string is null"))?;
        String::from_utf8(bytes).map_err(|_| self.corrupt("a string is not UTF-8"))
    }

    fn buffer(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let length = self.i32()?;
        if length == -1 {
            return Ok(None);
        }
        let Ok(bytes) = usize::try_from(length) else { return Err(self.corrupt(format!("length {length}"))) };
        let mut buffer = Vec::with_capacity(bytes.min(TRUSTED_BYTES));
        let got = (&mut self.input).take(bytes as u64).read_to_end(&mut buffer);
        match got {
            Ok(n) if n == bytes => Ok(Some(buffer)),
            Ok(n) => Err(self.corrupt(format!("{bytes} bytes needed, {n} left"))),
            Err(e) => Err(self.corrupt(e.to_string())),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let mut bytes = [0; N];
        match self.input.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(self.corrupt("the file ends here")),
            Err(e) => Err(self.corrupt(e.to_string())),
        }
    }

    fn corrupt(&self, why: impl Into<String>) -> StoreError {
        StoreError::corrupt(self.path, self.input.position(), why)
    }
}

/// The digest and the bytes it takes; `None` if it is cut off. Old versions hold it as hex text.
fn parse_digest(bytes: &[u8]) -> Option<(ZxidDigest, usize)> {
    let mut r = Reader::new(bytes);
    let (zxid, version) = (r.i64().ok()?, r.i32().ok()?);
    if version >= BINARY_DIGEST_VERSION_MIN {
        return Some((ZxidDigest { zxid, version, digest: r.i64().ok()? }, DIGEST_BYTES));
    }
    let digest = match r.string_opt().ok()? {
        Some(hex) => i64::from_str_radix(&hex, 16).ok()?,
        None => 0,
    };
    Some((ZxidDigest { zxid, version, digest }, bytes.len() - r.rest().len()))
}
