//! The requests, as methods.
//!
//! Every method queues its request when it is called, not when its future is awaited, so requests are carried out in
//! the order of the calls.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use zk_proto::{
    Acl, ClientInfo, CreateMode, CreateRequest, MultiOp, MultiReadOp, MultiResult, Request, Response, Stat,
};

use crate::chroot::Chroot;
use crate::error::{Result, ZkError};
use crate::event::Events;
use crate::options::{ConnectOptions, Session};
use crate::reply::Reply;
use crate::shell;
use crate::watches::{AddWatchMode, WatchType};

/// A request on its way to the client's task.
pub(crate) struct Command {
    pub request: Request,
    pub reply_to: oneshot::Sender<Result<Response>>,
}

/// What the task shows to the handles.
#[derive(Debug)]
pub(crate) struct Shared {
    pub session: Mutex<Session>,
    pub connected: AtomicBool,
    /// Why the session is over.
    pub over: Mutex<Option<ZkError>>,
}

/// A handle to a session; clones share it. When the last one is dropped the connection is closed but the session is
/// not: its ephemeral nodes stay until it expires. Use [`ZkClient::close`] to end it.
#[derive(Debug, Clone)]
pub struct ZkClient {
    commands: mpsc::Sender<Command>,
    chroot: Arc<Chroot>,
    shared: Arc<Shared>,
}

impl ZkClient {
    /// Connects and opens (or takes up) a session. Must be called within a tokio runtime, on which the client's task
    /// then runs.
    pub async fn connect(options: ConnectOptions) -> Result<(Self, Events)> {
        let (hosts, chroot) = options.parse_hosts()?;
        let (commands, receiver) = mpsc::channel(options.queued_max.max(1));
        let (events, event_receiver) = mpsc::channel(options.events_max.max(1));
        let shared = Arc::new(Shared {
            session: Mutex::new(Session { id: 0, passwd: Bytes::new(), timeout_ms: 0 }),
            connected: AtomicBool::new(false),
            over: Mutex::new(None),
        });
        let client = Self { commands, chroot: Arc::new(chroot.clone()), shared: shared.clone() };
        shell::start(options, hosts, chroot, receiver, events, shared).await?;
        Ok((client, Events { receiver: event_receiver }))
    }

    /// The session's id, password and negotiated timeout.
    pub fn session(&self) -> Session {
        self.shared.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a server holds the session just now.
    pub fn is_connected(&self) -> bool {
        self.shared.connected.load(Ordering::Relaxed)
    }

    /// Makes a node and returns its path, with the number of a sequential one. `mode` with a TTL goes through
    /// [`ZkClient::create_ttl`].
    pub fn create(&self, path: &str, data: Option<Bytes>, acl: Vec<Acl>, mode: CreateMode) -> Reply<String> {
        self.submit(create_op(path, data, acl, mode, false), created_path)
    }

    /// As [`ZkClient::create`], with the new node's Stat. From 3.5 on.
    pub fn create2(
        &self,
        path: &str,
        data: Option<Bytes>,
        acl: Vec<Acl>,
        mode: CreateMode,
    ) -> Reply<(String, Stat)> {
        self.submit(create_op(path, data, acl, mode, true), |r| match r {
            Response::PathStat { path, stat } => Some((path, stat)),
            _ => None,
        })
    }

    /// Makes a node that is reaped when it has no children and nothing changed it for `ttl_ms`. The server must have
    /// `extendedTypesEnabled`.
    pub fn create_ttl(
        &self,
        path: &str,
        data: Option<Bytes>,
        acl: Vec<Acl>,
        mode: CreateMode,
        ttl_ms: i64,
    ) -> Reply<(String, Stat)> {
        let create = CreateRequest {
            kind: zk_proto::opcode::CreateKind::Ttl,
            path: path.into(),
            data,
            acl,
            flags: mode.flags(),
            ttl_ms,
        };
        self.submit(Request::Create(create), |r| match r {
            Response::PathStat { path, stat } => Some((path, stat)),
            _ => None,
        })
    }

    /// `version` -1 for any.
    pub fn delete(&self, path: &str, version: i32) -> Reply<()> {
        self.submit(Request::Delete { path: path.into(), version }, empty)
    }

    /// `None` for a node that is not there; a watch is set either way.
    pub fn exists(
        &self,
        path: &str,
        watch: bool,
    ) -> impl Future<Output = Result<Option<Stat>>> + Send + use<> {
        let reply = self.submit(Request::Exists { path: path.into(), watch }, stat);
        async move {
            match reply.await {
                Err(e) if e.is(zk_proto::ErrorCode::NoNode) => Ok(None),
                other => other.map(Some),
            }
        }
    }

    pub fn get_data(&self, path: &str, watch: bool) -> Reply<(Option<Bytes>, Stat)> {
        self.submit(Request::GetData { path: path.into(), watch }, data_stat)
    }

    /// `version` -1 for any.
    pub fn set_data(&self, path: &str, data: Option<Bytes>, version: i32) -> Reply<Stat> {
        self.submit(Request::SetData { path: path.into(), data, version }, stat)
    }

    /// Names, not paths, in no order.
    pub fn get_children(&self, path: &str, watch: bool) -> Reply<Vec<String>> {
        self.submit(Request::GetChildren { path: path.into(), watch }, children)
    }

    /// As [`ZkClient::get_children`], with the node's Stat.
    pub fn get_children2(&self, path: &str, watch: bool) -> Reply<(Vec<String>, Stat)> {
        self.submit(Request::GetChildren2 { path: path.into(), watch }, |r| match r {
            Response::ChildrenStat { children, stat } => Some((children, stat)),
            _ => None,
        })
    }

    /// All or nothing. Refused, it fails with [`ZkError::Multi`].
    pub fn multi(&self, ops: Vec<MultiOp>) -> Reply<Vec<MultiResult>> {
        self.submit(Request::Multi(ops), multi_results)
    }

    /// Many reads in one request; each succeeds or fails by itself. From 3.6 on.
    pub fn multi_read(&self, ops: Vec<MultiReadOp>) -> Reply<Vec<MultiResult>> {
        self.submit(Request::MultiRead(ops), multi_results)
    }

    pub fn get_acl(&self, path: &str) -> Reply<(Vec<Acl>, Stat)> {
        self.submit(Request::GetAcl { path: path.into() }, |r| match r {
            Response::Acl { acl, stat } => Some((acl, stat)),
            _ => None,
        })
    }

    /// `version` is the ACL's own (`aversion`), -1 for any.
    pub fn set_acl(&self, path: &str, acl: Vec<Acl>, version: i32) -> Reply<Stat> {
        self.submit(Request::SetAcl { path: path.into(), acl, version }, stat)
    }

    /// Adds a credential to the session, on this connection and all later ones.
    pub fn add_auth(&self, scheme: &str, auth: Bytes) -> Reply<()> {
        self.submit(Request::Auth { kind: 0, scheme: scheme.into(), auth: Some(auth) }, empty)
    }

    /// Waits until this session's server has seen everything that was committed when the call was made.
    pub fn sync(&self, path: &str) -> Reply<String> {
        self.submit(Request::Sync { path: path.into() }, created_path)
    }

    /// A watch that stays until it is removed. From 3.6 on.
    pub fn add_watch(&self, path: &str, mode: AddWatchMode) -> Reply<()> {
        self.submit(Request::AddWatch { path: path.into(), mode: mode as i32 }, |_| Some(()))
    }

    /// Removes this session's watches of a path; each kind that was set is told as an event.
    pub fn remove_watches(&self, path: &str, kind: WatchType) -> Reply<()> {
        self.submit(Request::RemoveWatches { path: path.into(), kind: kind as i32 }, empty)
    }

    /// Fails with NoWatcher if there is none.
    pub fn check_watches(&self, path: &str, kind: WatchType) -> Reply<()> {
        self.submit(Request::CheckWatches { path: path.into(), kind: kind as i32 }, empty)
    }

    /// Paths of this session's ephemeral nodes under `prefix`. From 3.6 on.
    pub fn get_ephemerals(&self, prefix: &str) -> Reply<Vec<String>> {
        self.submit(Request::GetEphemerals { prefix: Some(prefix.into()) }, children)
    }

    /// How many nodes lie below a path. From 3.6 on.
    pub fn get_all_children_number(&self, path: &str) -> Reply<i32> {
        self.submit(Request::GetAllChildrenNumber { path: path.into() }, |r| match r {
            Response::Count { total } => Some(total),
            _ => None,
        })
    }

    /// The identities the server knows this session by. From 3.7 on.
    pub fn who_am_i(&self) -> Reply<Vec<ClientInfo>> {
        self.submit(Request::WhoAmI, |r| match r {
            Response::ClientInfos(infos) => Some(infos),
            _ => None,
        })
    }

    /// Changes the ensemble's members: either `joining` and `leaving`, or all `new_members`. `config_version` -1 for
    /// any. Returns the new configuration.
    pub fn reconfig(
        &self,
        joining: Option<&str>,
        leaving: Option<&str>,
        new_members: Option<&str>,
        config_version: i64,
    ) -> Reply<(Option<Bytes>, Stat)> {
        let request = Request::Reconfig {
            joining: joining.map(Into::into),
            leaving: leaving.map(Into::into),
            new_members: new_members.map(Into::into),
            current_config_id: config_version,
        };
        self.submit(request, data_stat)
    }

    /// The ensemble's configuration (`/zookeeper/config`, whatever the chroot).
    pub fn get_config(&self, watch: bool) -> Reply<(Option<Bytes>, Stat)> {
        self.queue(Request::GetData { path: "/zookeeper/config".into(), watch }, data_stat)
    }

    /// Any request, for what has no method here. Paths are without the chroot.
    pub fn raw(&self, request: Request) -> Reply<Response> {
        self.submit(request, Some)
    }

    /// Ends the session: its ephemeral nodes go. Everything queued before is carried out first; later requests fail.
    pub fn close(&self) -> Reply<()> {
        self.queue(Request::CloseSession, empty)
    }

    fn submit<R>(&self, mut request: Request, convert: fn(Response) -> Option<R>) -> Reply<R> {
        match self.chroot.add_to_request(&mut request) {
            Ok(()) => self.queue(request, convert),
            Err(e) => Reply::refused(e, convert),
        }
    }

    fn queue<R>(&self, request: Request, convert: fn(Response) -> Option<R>) -> Reply<R> {
        let (reply_to, receiver) = oneshot::channel();
        match self.commands.try_send(Command { request, reply_to }) {
            Ok(()) => Reply::waiting(receiver, convert),
            Err(mpsc::error::TrySendError::Full(_)) => {
                Reply::refused(ZkError::QueueFull(self.commands.max_capacity()), convert)
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                let over = self.shared.over.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Reply::refused(over.unwrap_or(ZkError::Closed), convert)
            }
        }
    }
}

fn create_op(path: &str, data: Option<Bytes>, acl: Vec<Acl>, mode: CreateMode, with_stat: bool) -> Request {
    use zk_proto::opcode::CreateKind;
    let kind = match mode {
        CreateMode::Container => CreateKind::Container,
        _ if with_stat => CreateKind::Create2,
        _ => CreateKind::Create,
    };
    Request::Create(CreateRequest { kind, path: path.into(), data, acl, flags: mode.flags(), ttl_ms: -1 })
}

fn created_path(r: Response) -> Option<String> {
    match r {
        Response::Path { path } | Response::PathStat { path, .. } => Some(path),
        _ => None,
    }
}

fn empty(r: Response) -> Option<()> {
    (r == Response::Empty).then_some(())
}

fn stat(r: Response) -> Option<Stat> {
    match r {
        Response::Stat { stat } => Some(stat),
        _ => None,
    }
}

fn data_stat(r: Response) -> Option<(Option<Bytes>, Stat)> {
    match r {
        Response::Data { data, stat } => Some((data, stat)),
        _ => None,
    }
}

fn children(r: Response) -> Option<Vec<String>> {
    match r {
        Response::Children { children } => Some(children),
        _ => None,
    }
}

fn multi_results(r: Response) -> Option<Vec<MultiResult>> {
    match r {
        Response::Multi(results) => Some(results),
        _ => None,
    }
}
