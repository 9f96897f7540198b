//! A seed becomes a program: requests of several sessions over a handful of paths, so that they meet.

use bytes::Bytes;
use fastrand::Rng;
use zk_proto::{
    Acl, CreateKind, CreateRequest, Id, MultiOp, MultiReadOp, OpCode, Request, SetWatchesRequest, Writer,
    perms,
};

/// Sessions that a program uses.
pub const SESSIONS: usize = 4;

/// One step, done alike on both servers.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Ask(usize, Request),
    /// An operation and a body that may be nonsense.
    Raw(usize, i32, Vec<u8>),
    /// The connection breaks and the session is taken up again, as clients do.
    Reconnect(usize),
    /// The session is closed and a new one opened.
    Renew(usize),
    /// The connection breaks and the session is left to expire.
    Expire(usize),
}

/// The steps of a seed, endless.
pub struct Program {
    rng: Rng,
}

/// `super` to Apache and zoolog alike, when started with [`SUPER_DIGEST`].
pub const SUPER_AUTH: &str = "super:secret";
/// `super:` and the base64 SHA-1 of [`SUPER_AUTH`].
pub const SUPER_DIGEST: &str = "super:lK75jTNcA+U9vtVEw5vB51mj/w4=";

impl Program {
    pub fn new(seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed) }
    }

    pub fn step(&mut self) -> Step {
        let session = self.rng.usize(0..SESSIONS);
        match self.rng.u32(0..2000) {
            0 => Step::Expire(session),
            1..12 => Step::Renew(session),
            12..24 => Step::Reconnect(session),
            24..34 => self.nonsense(session),
            _ => Step::Ask(session, self.request()),
        }
    }

    fn request(&mut self) -> Request {
        match self.rng.u32(0..100) {
            0..22 => Request::Create(self.create()),
            22..32 => Request::Delete { path: self.path(), version: self.version() },
            32..42 => Request::SetData { path: self.path(), data: self.data(), version: self.version() },
            42..50 => Request::GetData { path: self.path(), watch: self.rng.bool() },
            50..55 => Request::Exists { path: self.path(), watch: self.rng.bool() },
            55..60 => Request::GetChildren { path: self.path(), watch: self.rng.bool() },
            60..65 => Request::GetChildren2 { path: self.path(), watch: self.rng.bool() },
            65..75 => Request::Multi(self.multi()),
            75..78 => Request::MultiRead(self.multi_read()),
            78..81 => Request::GetAcl { path: self.path() },
            81..85 => Request::SetAcl { path: self.path(), acl: self.acl(), version: self.version() },
            _ => self.rare_request(),
        }
    }

    fn rare_request(&mut self) -> Request {
        match self.rng.u32(0..14) {
            0 => Request::Sync { path: self.path() },
            1 => Request::Ping,
            2 => self.auth(),
            3 => Request::AddWatch { path: self.path(), mode: self.rng.i32(0..2) },
            4 => Request::RemoveWatches { path: self.path(), kind: self.rng.i32(1..6) },
            5 => Request::CheckWatches { path: self.path(), kind: self.rng.i32(1..6) },
            6 => Request::GetEphemerals { prefix: Some(self.path()) },
            7 => Request::GetAllChildrenNumber { path: self.path() },
            8 => Request::WhoAmI,
            9 => Request::SetWatches(self.set_watches(false)),
            10 => Request::SetWatches2(self.set_watches(true)),
            11 => Request::GetData { path: "/zookeeper/quota".into(), watch: false },
            12 => Request::Delete { path: self.reserved_path(), version: -1 },
            _ => Request::Reconfig {
                joining: Some("server.9=localhost:1:2;3".into()),
                leaving: None,
                new_members: None,
                current_config_id: -1,
            },
        }
    }

    /// Twenty or so paths, three levels deep; now and then one that is not allowed.
    fn path(&mut self) -> String {
        const BAD: [&str; 6] = ["", "a", "/a/", "/a//b", "/a/../b", "/a/\u{1}"];
        if self.rng.u32(0..100) == 0 {
            return self.rng.choice(BAD).unwrap_or_default().to_owned();
        }
        let depth = *self.rng.choice(&[1, 1, 2, 2, 2, 3]).unwrap_or(&1);
        (0..depth).map(|_| format!("/{}", self.rng.choice(["a", "b", "c"]).unwrap_or("a"))).collect()
    }

    fn reserved_path(&mut self) -> String {
        const RESERVED: [&str; 4] = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];
        self.rng.choice(RESERVED).unwrap_or("/").to_owned()
    }

    fn data(&mut self) -> Option<Bytes> {
        match self.rng.u32(0..10) {
            0 => None,
            1 => Some(Bytes::new()),
            _ => {
                let len = self.rng.usize(1..40);
                Some((0..len).map(|_| self.rng.alphanumeric() as u8).collect())
            }
        }
    }

    fn version(&mut self) -> i32 {
        *self.rng.choice(&[-1, -1, -1, 0, 0, 1, 2, 7]).unwrap_or(&-1)
    }

    fn create(&mut self) -> CreateRequest {
        let kind = *self
            .rng
            .choice(&[
                CreateKind::Create,
                CreateKind::Create,
                CreateKind::Create2,
                CreateKind::Container,
                CreateKind::Ttl,
            ])
            .unwrap_or(&CreateKind::Create);
        let flags = match kind {
            CreateKind::Container => 4,
            CreateKind::Ttl => *self.rng.choice(&[5, 6]).unwrap_or(&5),
            _ => *self.rng.choice(&[0, 0, 0, 1, 1, 2, 3]).unwrap_or(&0),
        };
        // Long enough that no test sees a node reaped, now and then not allowed at all.
        let ttl_ms = match kind {
            CreateKind::Ttl => *self.rng.choice(&[3_600_000, 7_200_000, 0, -1]).unwrap_or(&1),
            _ => -1,
        };
        CreateRequest { kind, path: self.path(), data: self.data(), acl: self.acl(), flags, ttl_ms }
    }

    fn acl(&mut self) -> Vec<Acl> {
        let open = || Acl { perms: perms::ALL, id: Id::anyone() };
        match self.rng.u32(0..30) {
            0 => vec![Acl { perms: perms::ALL, id: Id::new("auth", "") }],
            1 => vec![Acl { perms: perms::READ, id: Id::anyone() }],
            2 => vec![Acl { perms: self.rng.i32(0..32), id: Id::new("ip", "127.0.0.1") }, open()],
            3 => vec![Acl { perms: perms::ALL, id: Id::new("ip", "10.0.0.0/8") }],
            4 => vec![
                Acl { perms: perms::ALL, id: Id::new("digest", "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=") },
                open(),
            ],
            5 => vec![],
            6 => vec![Acl { perms: perms::ALL, id: Id::new("nonsense", "x") }],
            7 => vec![Acl { perms: perms::ALL, id: Id::new("ip", "300.1.1.1") }],
            8 => vec![open(), open()],
            9 => vec![Acl { perms: perms::ALL & !perms::ADMIN, id: Id::anyone() }],
            _ => vec![open()],
        }
    }

    fn auth(&mut self) -> Request {
        let who = *self.rng.choice(&["bob:pw", "alice:pw", SUPER_AUTH]).unwrap_or(&"bob:pw");
        let scheme = if self.rng.u32(0..12) == 0 { "nonsense" } else { "digest" };
        Request::Auth { kind: 0, scheme: scheme.into(), auth: Some(Bytes::from_static(who.as_bytes())) }
    }

    fn multi(&mut self) -> Vec<MultiOp> {
        let count = self.rng.usize(0..5);
        (0..count)
            .map(|_| match self.rng.u32(0..5) {
                0 | 1 => MultiOp::Create(self.create()),
                2 => MultiOp::Delete { path: self.path(), version: self.version() },
                3 => MultiOp::SetData { path: self.path(), data: self.data(), version: self.version() },
                _ => MultiOp::Check { path: self.path(), version: self.version() },
            })
            .collect()
    }

    fn multi_read(&mut self) -> Vec<MultiReadOp> {
        let count = self.rng.usize(1..4);
        (0..count)
            .map(|_| match self.rng.bool() {
                true => MultiReadOp::GetData { path: self.path() },
                false => MultiReadOp::GetChildren { path: self.path() },
            })
            .collect()
    }

    fn set_watches(&mut self, persistent: bool) -> SetWatchesRequest {
        let mut paths = |most| -> Vec<String> {
            let count = self.rng.usize(0..most);
            (0..count).map(|_| self.path()).filter(|p| p.starts_with('/')).collect()
        };
        let (data, exist, child) = (paths(3), paths(3), paths(3));
        let (always, recursive) = if persistent { (paths(2), paths(2)) } else { Default::default() };
        SetWatchesRequest {
            relative_zxid: self.rng.i64(0..2000),
            data,
            exist,
            child,
            persistent: always,
            persistent_recursive: recursive,
        }
    }

    /// Unknown operations, operations outside their place, bodies cut off or with impossible lengths.
    fn nonsense(&mut self, session: usize) -> Step {
        let body = |request: &Request| {
            let mut w = Writer::new();
            request.encode(&mut w);
            w.into_vec()
        };
        match self.rng.u32(0..5) {
            0 => Step::Raw(session, 9999, vec![]),
            1 => Step::Raw(
                session,
                OpCode::Check.code(),
                body(&Request::Check { path: "/a".into(), version: -1 }),
            ),
            2 => Step::Raw(session, OpCode::GetData.code(), vec![0, 0, 0, 50, b'/']),
            3 => Step::Raw(session, OpCode::SetData.code(), vec![0x7f, 0xff, 0xff, 0xff]),
            _ => {
                let mut cut = body(&Request::Create(self.create()));
                cut.truncate(self.rng.usize(0..cut.len()));
                Step::Raw(session, OpCode::Create.code(), cut)
            }
        }
    }
}
