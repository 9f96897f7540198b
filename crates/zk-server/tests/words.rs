//! Four-letter words against a running server: the shapes that scripts and exporters parse.

#![allow(clippy::unwrap_used)]

mod support;

use support::{Client, create, create_with, serve, word};
use zk_proto::Request;

/// Replaces every run of digits by `#`, so that only the shape is left.
fn shape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            c => out.push(c),
        }
    }
    out
}

#[test]
fn the_words_have_the_originals_shapes() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), "4lw.commands.whitelist=*\n");
    let ask = |w: &str| word(server.address(), w);
    let mut client = Client::connect(server.address());
    client.call(&create("/a", b"x")).unwrap();
    client.call(&create_with("/e", b"", 1)).unwrap();
    client.call(&Request::GetData { path: "/a".into(), watch: true }).unwrap();

    assert_eq!(ask("ruok"), "imok");
    assert_eq!(ask("isro"), "rw");
    assert_eq!(ask("gtmk"), "306");
    assert_eq!(ask("stmk\0\0\0\0\0\0\0\x07"), "7");
    let srvr = "Zookeeper version: #.#.#-zoolog#.#.#, built on #/#/# #:# GMT\n\
                Latency min/avg/max: #/#.#/#\nReceived: #\nSent: #\nConnections: #\nOutstanding: #\n\
                Zxid: #x#\nMode: standalone\nNode count: #\n";
    assert_eq!(shape(&ask("srvr")), srvr);
    assert!(ask("srvr").ends_with("Zxid: 0x3\nMode: standalone\nNode count: 7\n"), "{}", ask("srvr"));
    let (version, rest) = srvr.split_once('\n').unwrap();
    let clients = " /#.#.#.#:#[#](queued=#,recved=#,sent=#)\n".repeat(2);
    assert_eq!(shape(&ask("stat")), format!("{version}\nClients:\n{clients}\n{rest}"));
    let cons = ask("cons");
    let first = cons.lines().next().unwrap();
    assert!(first.contains(&format!(",sid=0x{:x},lop=GETD,", client.session.session_id)), "{first}");
    assert!(first.contains(",to=30000,lcxid=0x3,lzxid=0x3,lresp="), "{first}");
    assert!(cons.ends_with(")\n\n"));
    let sid = format!("0x{:x}", client.session.session_id);
    assert_eq!(ask("wchs"), "1 connections watching 1 paths\nTotal watches:1\n");
    assert_eq!(ask("wchc"), format!("{sid}\n\t/a\n\n"));
    assert_eq!(ask("wchp"), format!("/a\n\t{sid}\n\n"));
    let dump = ask("dump");
    assert!(dump.contains(&format!("Sessions with Ephemerals (1):\n{sid}:\n\t/e\n")), "{dump}");
    assert!(dump.starts_with("SessionTracker dump:\nSession Sets (1)/(1):\n1 expire at "), "{dump}");
    assert_eq!(shape(&ask("dirs")), "datadir_size: #\nlogdir_size: #\n");
    assert_eq!(ask("srst"), "Server stats reset.\n");
    assert_eq!(ask("crst"), "Connection stats reset.\n");
    assert_eq!(ask("hash"), "", "there were no 128 transactions yet");
    for n in 0..125 {
        client.call(&create(&format!("/n{n}"), b"")).unwrap();
    }
    assert!(ask("hash").starts_with("80: ") && ask("hash").lines().count() == 1, "{}", ask("hash"));
}

#[test]
fn conf_and_mntr_tell_the_settings_and_the_figures() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), "maxClientCnxns=7\n");
    let mut client = Client::connect(server.address());
    client.call(&create("/a", b"12345")).unwrap();
    let conf = word(server.address(), "conf");
    for line in
        ["tickTime=2000", "maxClientCnxns=7", "minSessionTimeout=4000", "secureClientPort=-1", "serverId=0"]
    {
        assert!(conf.lines().any(|l| l == line), "{line} is missing in\n{conf}");
    }
    let mntr = word(server.address(), "mntr");
    let value = |key: &str| {
        let line = mntr.lines().find_map(|l| l.strip_prefix(&format!("zk_{key}\t")));
        line.unwrap_or_else(|| panic!("{key} is missing in\n{mntr}")).to_owned()
    };
    assert_eq!(value("znode_count"), "6");
    assert_eq!(value("global_sessions"), "1");
    assert_eq!(value("sync_processor_request_queued"), "2");
    assert_eq!(value("cnt_updatelatency"), "2");
    assert_eq!(value("num_alive_connections"), "2");
}

#[test]
fn a_word_outside_the_list_is_refused_in_the_originals_words() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), "4lw.commands.whitelist=ruok\n");
    let refused = "mntr is not executed because it is not in the whitelist.\n";
    assert_eq!(word(server.address(), "mntr"), refused);
    assert_eq!(word(server.address(), "ruok\n"), "imok");
    assert!(word(server.address(), "srvr").contains("Mode: standalone"));
}
