//! Reads: answered from the committed tree, leaving watches behind.
//!
//! Bodies are written straight from the tree into the send buffer.

use zk_proto::response::{write_children, write_data};
use zk_proto::{Acl, ErrorCode, Id, MultiResult, Request, Response, SetWatchesRequest, Writer};
use zk_tree::{Tree, WatchKind, WatchManager};

use crate::clients::Answer;
use crate::effect::Effects;
use crate::input::{ConnId, Now};
use crate::node::Node;

impl Node {
    #[expect(clippy::too_many_arguments, reason = "one call site each, and a struct would only rename them")]
    pub(crate) fn answer_read(
        &mut self,
        now: Now,
        conn: ConnId,
        xid: i32,
        start_ms: u64,
        request: &Request,
        auth: &[Id],
        fx: &mut Effects,
    ) {
        if let Request::SetWatches(set) | Request::SetWatches2(set) = request {
            self.replay_missed(conn, set, fx);
        }
        let zxid = self.tree.last_zxid();
        let session = self.clients.get(conn).and_then(|c| c.phase.session()).unwrap_or(0);
        let answer = Answer {
            conn,
            xid,
            zxid,
            start_ms,
            op: Some(letters(request)),
            err: ErrorCode::Ok,
            is_write: false,
        };
        let reader = TreeReader { tree: &self.tree, watches: &mut self.watches, conn, session, auth };
        let clients = &mut self.clients;
        reader.read(request, |outcome| match outcome {
            Ok(body) => clients.reply(now, &answer, fx, body),
            Err(err) => clients.reply(now, &Answer { err, ..answer }, fx, |_| {}),
        });
    }

    /// The events a client missed while it was away come before the answer.
    fn replay_missed(&mut self, conn: ConnId, set: &SetWatchesRequest, fx: &mut Effects) {
        let mut missed = Vec::new();
        self.watches.set_watches(&self.tree, set, conn.0, |kind, path| missed.push((kind, path.to_owned())));
        for (kind, path) in missed {
            // Nobody knows which change it was: no zxid (`WatchedEvent.NO_ZXID`).
            self.clients.notify(conn, -1, kind, &path, fx);
        }
    }
}

/// Four letters for `cons` (`FinalRequestProcessor`).
fn letters(request: &Request) -> &'static str {
    match request {
        Request::Ping => "PING",
        Request::Exists { .. } => "EXIS",
        Request::GetData { .. } => "GETD",
        Request::GetAcl { .. } => "GETA",
        Request::GetChildren { .. } | Request::GetChildren2 { .. } => "GETC",
        Request::GetAllChildrenNumber { .. } => "GETACN",
        Request::MultiRead(_) => "MLTR",
        Request::SetWatches(_) => "SETW",
        Request::SetWatches2(_) => "STW2",
        Request::AddWatch { .. } => "ADDW",
        Request::CheckWatches { .. } => "CHKW",
        Request::RemoveWatches { .. } => "REMW",
        Request::GetEphemerals { .. } => "GETE",
        Request::WhoAmI => "HOMI",
        _ => "NA",
    }
}

/// What a body is written by: one type, so that replies need no allocation and no trait object.
type Body<'b> = &'b mut dyn FnMut(&mut Writer);

/// A read borrows the tree, and of everything else only the watches.
struct TreeReader<'a> {
    tree: &'a Tree,
    watches: &'a mut WatchManager,
    conn: ConnId,
    session: i64,
    auth: &'a [Id],
}

impl TreeReader<'_> {
    /// Calls `answer` once with what to write or why not.
    fn read(self, request: &Request, answer: impl FnOnce(Result<Body<'_>, ErrorCode>)) {
        let (tree, auth) = (self.tree, self.auth);
        match request {
            Request::GetData { path, watch } => match tree.get_data(path, auth) {
                Err(err) => answer(Err(err)),
                Ok(node) => {
                    self.watch_if(*watch, path, WatchKind::Data);
                    answer(Ok(&mut |w| write_data(w, node.data().map(|d| &d[..]), &node.stat())));
                }
            },
            Request::Exists { path, watch } => {
                let found = tree.exists(path, auth);
                if matches!(found, Ok(_) | Err(ErrorCode::NoNode)) {
                    self.watch_if(*watch, path, WatchKind::Data);
                }
                match found {
                    Err(err) => answer(Err(err)),
                    Ok(stat) => answer(Ok(&mut |w| stat.encode(w))),
                }
            }
            Request::GetChildren { path, watch } | Request::GetChildren2 { path, watch } => {
                let with_stat = matches!(request, Request::GetChildren2 { .. });
                match tree.get_children(path, auth) {
                    Err(err) => answer(Err(err)),
                    Ok(node) => {
                        self.watch_if(*watch, path, WatchKind::Child);
                        answer(Ok(&mut |w| {
                            write_children(w, node.child_names());
                            if with_stat {
                                node.stat().encode(w);
                            }
                        }));
                    }
                }
            }
            _ => match self.read_rarely(request) {
                Err(err) => answer(Err(err)),
                Ok(response) => answer(Ok(&mut |w| response.encode(w))),
            },
        }
    }

    fn watch_if(self, watch: bool, path: &str, kind: WatchKind) {
        if watch {
            self.watches.add(path, self.conn.0, kind);
        }
    }

    /// Reads that are seldom enough to be built as a value first.
    fn read_rarely(self, request: &Request) -> Result<Response, ErrorCode> {
        let (tree, auth, watcher) = (self.tree, self.auth, self.conn.0);
        Ok(match request {
            Request::Ping | Request::SetWatches(_) | Request::SetWatches2(_) => Response::Empty,
            Request::GetAcl { path } => {
                let (acl, stat): (Vec<Acl>, _) = tree.get_acl(path, auth)?;
                Response::Acl { acl, stat }
            }
            Request::GetAllChildrenNumber { path } => {
                Response::Count { total: tree.get_all_children_number(path, auth)? }
            }
            Request::GetEphemerals { prefix } => {
                let paths = tree.ephemerals_of(self.session, prefix.as_deref());
                Response::Children { children: paths.iter().map(|p| p.to_string()).collect() }
            }
            Request::MultiRead(ops) => {
                let results: Vec<MultiResult> = tree.multi_read(ops, auth);
                Response::Multi(results)
            }
            Request::AddWatch { path, mode } => {
                self.watches.add_watch(path, watcher, *mode)?;
                Response::Error { err: 0 }
            }
            Request::CheckWatches { path, kind } => {
                self.watches.check(path, watcher, *kind)?;
                Response::Empty
            }
            Request::RemoveWatches { path, kind } => {
                self.watches.remove(path, watcher, *kind)?;
                Response::Empty
            }
            Request::WhoAmI => Response::ClientInfos(tree.config().auth.client_infos(auth)),
            // Writes, syncs, authentication and the server's own requests never come here.
            _ => return Err(ErrorCode::Unimplemented),
        })
    }
}
