//! The text of the words, from plain data. Every line and blank is what 3.9.3 prints.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use zk_node::stats::{ConnectionStats, Summary};

/// One line of `cons` and `stat`.
pub(crate) struct ConnectionLine {
    pub(crate) peer: SocketAddr,
    /// Java's selection key: 1 reads, 4 writes; 0 while it does neither.
    pub(crate) interest: u8,
    pub(crate) queued: usize,
    pub(crate) stats: ConnectionStats,
    pub(crate) session: Option<SessionPart>,
}

/// What a connection line says of its session.
pub(crate) struct SessionPart {
    pub(crate) id: i64,
    pub(crate) established_wall_ms: i64,
    pub(crate) timeout_ms: i32,
}

/// `dumpConnectionInfo`, without the line end.
pub(crate) fn connection(line: &ConnectionLine, brief: bool) -> String {
    let stats = &line.stats;
    let mut text = format!(
        " {}[{:x}](queued={},recved={},sent={}",
        java_address(line.peer),
        line.interest,
        line.queued,
        stats.received,
        stats.sent
    );
    if let (false, Some(session)) = (brief, &line.session) {
        let _ = write!(
            text,
            ",sid=0x{:x},lop={},est={},to={}",
            session.id, stats.last_op, session.established_wall_ms, session.timeout_ms
        );
        if stats.last_cxid >= 0 {
            let _ = write!(text, ",lcxid=0x{:x}", stats.last_cxid);
        }
        let _ = write!(
            text,
            ",lzxid=0x{:x},lresp={},llat={},minlat={},avglat={},maxlat={}",
            stats.last_zxid,
            stats.last_response_ms,
            stats.last_latency_ms,
            stats.latency.min(),
            stats.latency.whole_avg(),
            stats.latency.max()
        );
    }
    text.push(')');
    text
}

/// `InetSocketAddress.toString` of an address without a host name: IPv6 in full and in brackets.
pub(crate) fn java_address(peer: SocketAddr) -> String {
    match peer.ip().to_canonical() {
        IpAddr::V4(ip) => format!("/{ip}:{}", peer.port()),
        IpAddr::V6(ip) => {
            let parts: Vec<String> = ip.segments().iter().map(|s| format!("{s:x}")).collect();
            format!("/[{}]:{}", parts.join(":"), peer.port())
        }
    }
}

/// The figures of `srvr` and the end of `stat`.
pub(crate) struct Overview<'a> {
    pub(crate) latency: &'a Summary,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) connections: usize,
    pub(crate) outstanding: usize,
    pub(crate) zxid: i64,
    pub(crate) mode: &'static str,
    pub(crate) nodes: usize,
}

pub(crate) fn overview(o: &Overview<'_>) -> String {
    format!(
        "Latency min/avg/max: {}/{}/{}\nReceived: {}\nSent: {}\nConnections: {}\nOutstanding: {}\n\
         Zxid: 0x{:x}\nMode: {}\nNode count: {}\n",
        o.latency.min(),
        java_double(o.latency.avg()),
        o.latency.max(),
        o.received,
        o.sent,
        o.connections,
        o.outstanding,
        o.zxid,
        o.mode,
        o.nodes
    )
}

/// `Double.toString` for the magnitudes that occur: scientific below 10^-3 and from 10^7.
pub(crate) fn java_double(value: f64) -> String {
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        return format!("{value:?}");
    }
    let text = format!("{value:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text,
    }
}

/// `Date.toString`, in universal time.
pub(crate) fn java_date(wall_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(wall_ms)
        .map(|t| t.strftime("%a %b %d %H:%M:%S UTC %Y").to_string())
        .unwrap_or_else(|_| wall_ms.to_string())
}

/// `ExpiryQueue.dump`: what expires when, a bucket a line.
pub(crate) fn expiry_sets(buckets: &[(i64, Vec<String>)]) -> String {
    let total: usize = buckets.iter().map(|(_, members)| members.len()).sum();
    let mut text = format!("Sets ({})/({total}):\n", buckets.len());
    for (wall_ms, members) in buckets {
        let _ = writeln!(text, "{} expire at {}:", members.len(), java_date(*wall_ms));
        for member in members {
            let _ = writeln!(text, "\t{member}");
        }
    }
    text
}

/// `0x<sid>` and its paths, or a path and its sids: `wchc`, `wchp`, and the ephemerals of `dump`.
pub(crate) fn tree<H, M>(groups: &[(H, Vec<M>)], head_end: &str) -> String
where
    H: std::fmt::Display,
    M: std::fmt::Display,
{
    let mut text = String::new();
    for (head, members) in groups {
        let _ = writeln!(text, "{head}{head_end}");
        for member in members {
            let _ = writeln!(text, "\t{member}");
        }
    }
    text
}

/// Sessions as whoever decides on their end shows them.
pub(crate) fn session_sets(sessions: &[(i64, Vec<String>)]) -> String {
    format!("Session {}", expiry_sets(sessions))
}

/// Sessions as a learner shows them (`LearnerSessionTracker.dumpSessions`): by id, with their timeouts.
pub(crate) fn global_sessions(sessions: &[(i64, i32)]) -> String {
    let mut text = format!("Global Sessions({}):\n", sessions.len());
    for (id, timeout_ms) in sessions {
        let _ = writeln!(text, "0x{id:x}\t{timeout_ms}ms");
    }
    text
}

/// `dump`: sessions, ephemeral nodes by session, connections by expiry.
pub(crate) fn dump(
    sessions: &str,
    ephemerals: &[(String, Vec<String>)],
    connections: &[(i64, Vec<String>)],
) -> String {
    format!(
        "SessionTracker dump:\n{}ephemeral nodes dump:\nSessions with Ephemerals ({}):\n{}\
         Connections dump:\nConnections {}",
        sessions,
        ephemerals.len(),
        tree(ephemerals, ":"),
        expiry_sets(connections)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(session: Option<SessionPart>) -> ConnectionLine {
        let mut stats = ConnectionStats { received: 5, sent: 4, last_op: "GETD", ..Default::default() };
        (stats.last_cxid, stats.last_zxid, stats.last_response_ms) = (0x1f, 0x200, 77);
        stats.latency.add(1);
        stats.latency.add(2);
        stats.last_latency_ms = 2;
        ConnectionLine { peer: "127.0.0.1:40000".parse().unwrap(), interest: 1, queued: 0, stats, session }
    }

    #[test]
    fn connection_lines_read_like_the_originals() {
        let session = SessionPart {
            id: 0x1000_0012_3456_0000,
            established_wall_ms: 1_700_000_000_000,
            timeout_ms: 10_000,
        };
        assert_eq!(
            connection(&line(Some(session)), false),
            " /127.0.0.1:40000[1](queued=0,recved=5,sent=4,sid=0x1000001234560000,lop=GETD,est=1700000000000,\
             to=10000,lcxid=0x1f,lzxid=0x200,lresp=77,llat=2,minlat=1,avglat=1,maxlat=2)"
        );
        assert_eq!(connection(&line(None), false), " /127.0.0.1:40000[1](queued=0,recved=5,sent=4)");
    }

    #[test]
    fn addresses_are_written_as_java_does() {
        let text = |s: &str| java_address(s.parse().unwrap());
        assert_eq!(text("[::1]:2181"), "/[0:0:0:0:0:0:0:1]:2181");
        assert_eq!(text("[::ffff:10.0.0.7]:9"), "/10.0.0.7:9");
    }

    #[test]
    fn doubles_are_written_as_java_does() {
        let all = [(0.0, "0.0"), (2.0, "2.0"), (0.3333, "0.3333"), (0.0005, "5.0E-4"), (1.25e7, "1.25E7")];
        for (value, expect) in all {
            assert_eq!(java_double(value), expect);
        }
    }

    #[test]
    fn the_overview_has_the_lines_of_srvr() {
        let mut latency = Summary::default();
        latency.add(0);
        latency.add(1);
        let o = Overview {
            latency: &latency,
            received: 10,
            sent: 9,
            connections: 1,
            outstanding: 0,
            zxid: 0x1f,
            mode: "standalone",
            nodes: 5,
        };
        assert_eq!(
            overview(&o),
            "Latency min/avg/max: 0/0.5/1\nReceived: 10\nSent: 9\nConnections: 1\nOutstanding: 0\n\
             Zxid: 0x1f\nMode: standalone\nNode count: 5\n"
        );
    }

    #[test]
    fn dump_has_three_parts() {
        let at = 1_700_000_000_000;
        let text = dump(
            &session_sets(&[(at, vec!["0x1".to_owned()])]),
            &[("0x1".to_owned(), vec!["/e".to_owned()])],
            &[(at, vec!["ip: /1.2.3.4:5 sessionId: 0x1".to_owned()])],
        );
        assert_eq!(
            text,
            "SessionTracker dump:\nSession Sets (1)/(1):\n1 expire at Tue Nov 14 22:13:20 UTC 2023:\n\t0x1\n\
             ephemeral nodes dump:\nSessions with Ephemerals (1):\n0x1:\n\t/e\n\
             Connections dump:\nConnections Sets (1)/(1):\n1 expire at Tue Nov 14 22:13:20 UTC 2023:\n\
             \tip: /1.2.3.4:5 sessionId: 0x1\n"
        );
        assert_eq!(global_sessions(&[(0x1f, 4000)]), "Global Sessions(1):\n0x1f\t4000ms\n");
    }
}
