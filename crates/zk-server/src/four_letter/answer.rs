//! Collects what a word asks for from the running server.

use std::rc::Rc;

use zk_node::{ConnId, Connection, Node, Phase};

use super::environment::{VERSION, envi};
use super::mntr::{Gauges, mntr};
use super::render::{self, ConnectionLine, Overview, SessionPart};
use super::{Word, environment};
use crate::server::Server;

const MODE: &str = "standalone";

/// The text for `word`, asked over connection `asking`. `mask` comes with `stmk`.
pub(crate) fn answer(server: &Rc<Server>, asking: ConnId, word: Word, mask: Option<i64>) -> String {
    if !server.config.whitelist.allows(word) {
        return format!("{} is not executed because it is not in the whitelist.\n", word.name());
    }
    let node = server.node.borrow();
    match word {
        Word::Ruok => "imok".to_owned(),
        Word::Isro => "rw".to_owned(),
        Word::Envi => envi(),
        Word::Gtmk => server.trace_mask.get().to_string(),
        Word::Stmk => {
            server.trace_mask.set(mask.unwrap_or_default());
            server.trace_mask.get().to_string()
        }
        Word::Srvr => format!("Zookeeper version: {}\n{}", environment::VERSION, overview(&node)),
        Word::Stat => format!(
            "Zookeeper version: {VERSION}\nClients:\n{}\n{}",
            connection_lines(server, &node, asking, true),
            overview(&node)
        ),
        Word::Cons => format!("{}\n", connection_lines(server, &node, asking, false)),
        Word::Conf => conf(server),
        Word::Dirs => dirs(server),
        Word::Mntr => mntr(&gauges(server, &node), node.stats()),
        Word::Dump => dump(server, &node),
        Word::Wchs => {
            let s = node.watches().summary();
            format!("{} connections watching {} paths\nTotal watches:{}\n", s.connections, s.paths, s.watches)
        }
        Word::Wchc => format!("{}\n", watches_by_session(&node)),
        Word::Wchp => format!("{}\n", watches_by_path(&node)),
        Word::Hash => node.digests().map(|(zxid, digest)| format!("{zxid:x}: {digest}\n")).collect(),
        Word::Srst => {
            drop(node);
            server.node.borrow_mut().reset_stats();
            "Server stats reset.\n".to_owned()
        }
        Word::Crst => {
            drop(node);
            server.node.borrow_mut().reset_connection_stats();
            "Connection stats reset.\n".to_owned()
        }
    }
}

fn overview(node: &Node) -> String {
    let stats = node.stats();
    render::overview(&Overview {
        latency: &stats.latency,
        received: stats.packets_received,
        sent: stats.packets_sent,
        connections: node.connections().len(),
        outstanding: node.outstanding(),
        zxid: node.tree().last_zxid(),
        mode: MODE,
        nodes: node.tree().node_count(),
    })
}

/// Connections, oldest first; the asking one neither reads nor writes any more.
fn connection_lines(server: &Server, node: &Node, asking: ConnId, brief: bool) -> String {
    let mut all: Vec<(ConnId, &Connection)> = node.connections().collect();
    all.sort_unstable_by_key(|(id, _)| *id);
    let line = |(id, c): (ConnId, &Connection)| {
        let unsent = server.link(id).map_or(0, |link| link.unsent());
        let reads = u8::from(node.takes_frames(id));
        let writes = if unsent > 0 { 4 } else { 0 };
        let line = ConnectionLine {
            peer: c.peer(),
            interest: if id == asking { 0 } else { reads | writes },
            queued: c.outstanding(),
            stats: c.stats().clone(),
            session: session_part(c),
        };
        format!("{}\n", render::connection(&line, brief))
    };
    all.into_iter().map(line).collect()
}

fn session_part(c: &Connection) -> Option<SessionPart> {
    Some(SessionPart {
        id: c.phase().session()?,
        established_wall_ms: c.established_wall_ms(),
        timeout_ms: c.session_timeout_ms(),
    })
}

fn conf(server: &Server) -> String {
    let (c, data) = (&server.config, &server.data);
    let absolute = |p: &std::path::Path| std::path::absolute(p).unwrap_or_else(|_| p.to_owned());
    let (snapshot_bytes, log_bytes) = sizes(server);
    format!(
        "clientPort={}\nsecureClientPort=-1\ndataDir={}\ndataDirSize={snapshot_bytes}\ndataLogDir={}\n\
         dataLogSize={log_bytes}\ntickTime={}\nmaxClientCnxns={}\nminSessionTimeout={}\nmaxSessionTimeout={}\n\
         clientPortListenBacklog={}\nserverId=0\n",
        c.client_port,
        absolute(data.snap_dir()).display(),
        absolute(data.log_dir()).display(),
        c.tick_time_ms,
        c.max_client_cnxns,
        c.min_session_timeout_ms,
        c.max_session_timeout_ms,
        c.client_port_listen_backlog,
    )
}

fn dirs(server: &Server) -> String {
    let (snapshot_bytes, log_bytes) = sizes(server);
    format!("datadir_size: {snapshot_bytes}\nlogdir_size: {log_bytes}\n")
}

/// Bytes of all files in the snapshots' and the logs' directory.
fn sizes(server: &Server) -> (u64, u64) {
    (directory_bytes(server.data.snap_dir()), directory_bytes(server.data.log_dir()))
}

fn directory_bytes(dir: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries.filter_map(|entry| entry.ok()?.metadata().ok()).filter(|m| m.is_file()).map(|m| m.len()).sum()
}

fn gauges(server: &Server, node: &Node) -> Gauges {
    Gauges {
        mode: MODE,
        connections: node.connections().len(),
        outstanding: node.outstanding(),
        uptime_ms: node.uptime_ms(server.now()),
        nodes: node.tree().node_count(),
        watches: node.watches().count(),
        ephemerals: node.tree().ephemeral_count(),
        data_bytes: node.tree().data_size_bytes(),
        sessions: node.tree().sessions().len(),
        startup: server.startup,
    }
}

fn dump(server: &Server, node: &Node) -> String {
    let now = server.now();
    let wall = |mono_ms: i64| now.wall_ms + mono_ms - i64::try_from(now.mono_ms).unwrap_or(0);
    let hex = |id: &i64| format!("0x{id:x}");
    let sessions: Vec<(i64, Vec<String>)> = node
        .sessions()
        .buckets()
        .iter()
        .map(|(at, ids)| (wall(*at), ids.iter().map(hex).collect()))
        .collect();
    let ephemerals: Vec<(String, Vec<String>)> = node
        .tree()
        .ephemerals()
        .iter()
        .map(|(id, paths)| (hex(id), paths.iter().map(|p| p.to_string()).collect()))
        .collect();
    render::dump(&sessions, &ephemerals, &connection_sets(server, node, wall))
}

/// Connections by the moment they are given up: sessionless ones by their deadline, others by their session's
/// timeout, which only silence reaches.
fn connection_sets(server: &Server, node: &Node, wall: impl Fn(i64) -> i64) -> Vec<(i64, Vec<String>)> {
    let mut sets = std::collections::BTreeMap::<i64, Vec<String>>::new();
    let step = server.config.sessionless_timeout_ms.max(1);
    let mut all: Vec<(ConnId, &Connection)> = node.connections().collect();
    all.sort_unstable_by_key(|(id, _)| *id);
    for (_, c) in all {
        let session = c.phase().session().unwrap_or(0);
        let from = c.stats().last_response_ms.max(c.opened_ms());
        let timeout = match c.phase() {
            Phase::Handshake => step,
            _ => u64::try_from(c.session_timeout_ms()).unwrap_or(step),
        };
        let at = ((from + timeout) / step + 1) * step;
        let line = format!("ip: {} sessionId: 0x{session:x}", render::java_address(c.peer()));
        sets.entry(wall(i64::try_from(at).unwrap_or(i64::MAX))).or_default().push(line);
    }
    sets.into_iter().collect()
}

fn session_of(node: &Node, watcher: u64) -> String {
    let session = node.connection(ConnId(watcher)).and_then(|c| c.phase().session());
    format!("0x{:x}", session.unwrap_or(0))
}

fn watches_by_session(node: &Node) -> String {
    let groups: Vec<_> =
        node.watches().by_watcher().into_iter().map(|(id, paths)| (session_of(node, id), paths)).collect();
    render::tree(&groups, "")
}

fn watches_by_path(node: &Node) -> String {
    let sessions = |ids: Vec<u64>| ids.into_iter().map(|id| session_of(node, id)).collect::<Vec<_>>();
    let groups: Vec<_> =
        node.watches().by_path().into_iter().map(|(path, ids)| (path, sessions(ids))).collect();
    render::tree(&groups, "")
}
