//! Random programs of writes over a small set of paths, so that they meet and collide.

use bytes::Bytes;
use zk_proto::{Acl, CreateKind, CreateRequest, Id, MultiOp, Request, perms};

const PATHS: [&str; 9] = ["/a", "/b", "/a/x", "/a/y", "/b/x", "/a/x/1", "/a/x/2", "/a/q-", "/b/q-"];

pub struct Programs {
    random: fastrand::Rng,
}

impl Programs {
    pub fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed) }
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.random.usize(0..n)
    }

    /// One of three sessions.
    pub fn session(&mut self) -> i64 {
        0x100 + self.random.i64(0..3)
    }

    fn path(&mut self) -> String {
        self.random.choice(PATHS).expect("there are paths").to_owned()
    }

    fn data(&mut self) -> Option<Bytes> {
        match self.random.u8(0..4) {
            0 => None,
            n => Some(Bytes::from(vec![b'd'; usize::from(n) * 3])),
        }
    }

    fn version(&mut self) -> i32 {
        if self.random.bool() { -1 } else { self.random.i32(0..3) }
    }

    fn acl(&mut self) -> Vec<Acl> {
        match self.random.u8(0..8) {
            0 => vec![Acl::new(perms::ALL, Id::new("digest", "u:h"))],
            1 => vec![Acl::new(perms::ALL & !perms::DELETE, Id::anyone())],
            2 => Vec::new(),
            3 => vec![Acl::new(self.random.i32(20..31), Id::anyone())],
            _ => Acl::open(),
        }
    }

    fn create(&mut self) -> CreateRequest {
        let kind = if self.random.u8(0..8) == 0 { CreateKind::Container } else { CreateKind::Create2 };
        let path = self.path();
        let sequential = path.ends_with('-');
        let flags = match (kind, sequential) {
            (CreateKind::Container, _) => 4,
            (_, true) => 2 + i32::from(self.random.u8(0..3) == 0),
            (_, false) => i32::from(self.random.u8(0..3) == 0),
        };
        CreateRequest { kind, path, data: self.data(), acl: self.acl(), flags, ttl_ms: -1 }
    }

    fn multi_op(&mut self) -> MultiOp {
        match self.random.u8(0..6) {
            0..3 => MultiOp::Create(self.create()),
            3 => MultiOp::Delete { path: self.path(), version: self.version() },
            4 => MultiOp::SetData { path: self.path(), data: self.data(), version: self.version() },
            _ => MultiOp::Check { path: self.path(), version: -1 },
        }
    }

    /// Any write a session or a server may ask for.
    pub fn request(&mut self) -> Request {
        match self.random.u8(0..40) {
            0..20 => Request::Create(self.create()),
            20..24 => Request::Delete { path: self.path(), version: self.version() },
            24..28 => Request::SetData { path: self.path(), data: self.data(), version: self.version() },
            28..31 => Request::SetAcl { path: self.path(), acl: self.acl(), version: self.version() },
            31..36 => {
                let n = self.random.usize(0..5);
                Request::Multi((0..n).map(|_| self.multi_op()).collect())
            }
            36..38 => Request::DeleteContainer { path: self.path() },
            38 => Request::CreateSession { timeout_ms: 4000 },
            _ => Request::CloseSession,
        }
    }
}
