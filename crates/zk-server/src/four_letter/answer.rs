//! Collects what a word asks for from the running server.

use std::rc::Rc;

use zk_node::{ConnId, Connection, Node, Phase, Role};
use zk_proto::quorum::Role as MemberRole;
use zk_proto::quorum::config::Address;
use zk_zab::Peer;

use super::Word;
use super::environment::{VERSION, envi};
use super::mntr::{Gauges, LeaderGauges, QuorumGauges, mntr};
use super::render::{self, ConnectionLine, Overview, SessionPart};
use crate::ensemble::Ensemble;
use crate::server::Server;

/// `AbstractFourLetterCommand.ZK_NOT_SERVING`: a server of an ensemble that knows no leader.
const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";

/// The text for `word`, asked over connection `asking`. `mask` comes with `stmk`.
pub(crate) fn answer(server: &Rc<Server>, asking: ConnId, word: Word, mask: Option<i64>) -> String {
    if !server.config.whitelist.allows(word) {
        return format!("{} is not executed because it is not in the whitelist.\n", word.name());
    }
    let member = server.member.borrow();
    let node = member.node();
    let answers_always = matches!(word, Word::Ruok | Word::Isro | Word::Envi | Word::Gtmk | Word::Stmk);
    let is_serving = node.role().serves() && !server.refuses_clients();
    if !answers_always && !is_serving {
        return NOT_SERVING.to_owned();
    }
    match word {
        Word::Ruok => "imok".to_owned(),
        Word::Isro => match node.role() {
            _ if !is_serving => "null".to_owned(),
            Role::ReadOnly => "ro".to_owned(),
            _ => "rw".to_owned(),
        },
        Word::Envi => envi(),
        Word::Gtmk => server.trace_mask.get().to_string(),
        Word::Stmk => {
            server.trace_mask.set(mask.unwrap_or_default());
            server.trace_mask.get().to_string()
        }
        Word::Srvr => format!("{}{}", version_lines(node), overview(node)),
        Word::Stat => format!(
            "{}Clients:\n{}\n{}",
            version_lines(node),
            connection_lines(server, node, asking, true),
            overview(node)
        ),
        Word::Cons => format!("{}\n", connection_lines(server, node, asking, false)),
        Word::Conf => conf(server),
        Word::Dirs => dirs(server),
        Word::Mntr => mntr(&gauges(server, node, member.peer()), node.stats()),
        Word::Dump => dump(server, node),
        Word::Wchs => {
            let s = node.watches().summary();
            format!("{} connections watching {} paths\nTotal watches:{}\n", s.connections, s.paths, s.watches)
        }
        Word::Wchc => format!("{}\n", watches_by_session(node)),
        Word::Wchp => format!("{}\n", watches_by_path(node)),
        Word::Hash => node.digests().map(|(zxid, digest)| format!("{zxid:x}: {digest}\n")).collect(),
        Word::Srst => {
            drop(member);
            server.member.borrow_mut().node_mut().reset_stats();
            "Server stats reset.\n".to_owned()
        }
        Word::Crst => {
            drop(member);
            server.member.borrow_mut().node_mut().reset_connection_stats();
            "Connection stats reset.\n".to_owned()
        }
    }
}

fn version_lines(node: &Node) -> String {
    let read_only = match node.role() {
        Role::ReadOnly => "READ-ONLY mode; serving only read-only clients\n",
        _ => "",
    };
    format!("Zookeeper version: {VERSION}\n{read_only}")
}

fn overview(node: &Node) -> String {
    let stats = node.stats();
    let mut text = render::overview(&Overview {
        latency: &stats.latency,
        received: stats.packets_received,
        sent: stats.packets_sent,
        connections: node.connections().len(),
        outstanding: node.outstanding(),
        zxid: node.tree().last_zxid(),
        mode: node.role().name(),
        nodes: node.tree().node_count(),
    });
    if matches!(node.role(), Role::Leading { .. }) {
        let size = |v: Option<u64>| v.map_or("-1".to_owned(), |v| v.to_string());
        let s = &stats.proposal_sizes;
        text += &format!("Proposal sizes last/min/max: {}/{}/{}\n", size(s.last), size(s.min), size(s.max));
    }
    text
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
    let sid = server.ensemble.as_ref().map_or(0, |e| e.settings.sid);
    let alone = format!(
        "clientPort={}\nsecureClientPort=-1\ndataDir={}\ndataDirSize={snapshot_bytes}\ndataLogDir={}\n\
         dataLogSize={log_bytes}\ntickTime={}\nmaxClientCnxns={}\nminSessionTimeout={}\nmaxSessionTimeout={}\n\
         clientPortListenBacklog={}\nserverId={sid}\n",
        c.client_port,
        absolute(data.snap_dir()).display(),
        absolute(data.log_dir()).display(),
        c.tick_time_ms,
        c.max_client_cnxns,
        c.min_session_timeout_ms,
        c.max_session_timeout_ms,
        c.client_port_listen_backlog,
    );
    alone + &server.ensemble.as_ref().map(membership).unwrap_or_default()
}

/// `QuorumZooKeeperServer.dumpConf`.
fn membership(ensemble: &Ensemble) -> String {
    let (settings, me) = (&ensemble.settings, ensemble.me());
    let ports = |of: fn(&Address) -> u16| {
        let addresses = me.iter().flat_map(|m| &m.addresses);
        addresses.map(|a| of(a).to_string()).collect::<Vec<_>>().join("|")
    };
    format!(
        "initLimit={}\nsyncLimit={}\nelectionAlg=3\nelectionPort={}\nquorumPort={}\npeerType={}\nmembership: \n{}",
        settings.init_limit,
        settings.sync_limit,
        ports(|a| a.election_port),
        ports(|a| a.quorum_port),
        i32::from(me.as_ref().is_some_and(|m| m.role == MemberRole::Observer)),
        ensemble.servers()
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

fn gauges(server: &Server, node: &Node, peer: Option<&Peer>) -> Gauges {
    Gauges {
        mode: node.role().name(),
        quorum: peer.zip(server.ensemble.as_ref()).map(|(peer, e)| quorum_gauges(server, node, peer, e)),
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

fn quorum_gauges(server: &Server, node: &Node, peer: &Peer, ensemble: &Ensemble) -> QuorumGauges {
    let status = peer.status();
    let state = match (node.role(), status.leader == Some(status.sid)) {
        (Role::Observing { .. }, _) => "observing",
        (_, true) => "leading",
        (_, false) => "following",
    };
    let synced = || status.learners.iter().filter(|l| l.synced);
    let leader = node.leading_for_ms(server.now()).map(|uptime_ms| LeaderGauges {
        learners: status.learners.len(),
        synced_followers: synced().filter(|l| !l.observer).count(),
        synced_non_voting_followers: synced().filter(|l| !l.observer && !l.voter).count(),
        synced_observers: synced().filter(|l| l.observer).count(),
        pending_syncs: node.pending_syncs(),
        uptime_ms,
    });
    let peer_state = match node.role() {
        // Votes go on while readers are served.
        Role::ReadOnly => "looking".to_owned(),
        _ => format!("{state} - {}", status.phase.name()),
    };
    QuorumGauges { peer_state, quorum_size: ensemble.servers().voters().count(), leader }
}

fn dump(server: &Server, node: &Node) -> String {
    let now = server.now();
    let wall = |mono_ms: i64| now.wall_ms + mono_ms - i64::try_from(now.mono_ms).unwrap_or(0);
    let hex = |id: &i64| format!("0x{id:x}");
    let sessions = match node.role() {
        // Whether a session lives is the leader's business.
        Role::Following { .. } | Role::Observing { .. } | Role::ReadOnly => {
            let all = node.tree().sessions().iter();
            render::global_sessions(&all.map(|(id, timeout_ms)| (*id, *timeout_ms)).collect::<Vec<_>>())
        }
        _ => {
            let buckets = node.sessions().buckets();
            let set = |(at, ids): (&i64, &std::collections::BTreeSet<i64>)| {
                (wall(*at), ids.iter().map(hex).collect())
            };
            render::session_sets(&buckets.iter().map(set).collect::<Vec<_>>())
        }
    };
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
