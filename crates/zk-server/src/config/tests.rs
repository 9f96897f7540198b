use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    parse_with(text, &[])
}

fn parse_with(text: &str, system: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let system = system.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Config::from_properties(&Properties::parse(text).unwrap(), &system)
}

const SMALL: &str = "dataDir=/d\nclientPort=2181\n";

fn small(more: &str) -> Result<Config, ConfigError> {
    parse(&format!("{SMALL}{more}"))
}

#[test]
fn a_small_file_gets_the_originals_defaults() {
    let c = parse(SMALL).unwrap();
    assert_eq!(c.data_log_dir, PathBuf::from("/d"));
    assert_eq!((c.tick_time_ms, c.min_session_timeout_ms, c.max_session_timeout_ms), (3000, 6000, 60_000));
    assert_eq!((c.max_client_cnxns, c.snap_count, c.jute_max_buffer), (60, 100_000, 1_048_575));
    assert!(c.force_sync && c.digest_enabled && !c.extended_types_enabled);
    assert!(c.notices.is_empty(), "{:?}", c.notices);
}

#[test]
fn every_key_is_honoured_or_named_once() {
    let c = small("tickTime=2000\nadmin.serverPort=9\nadmin.enableServer=false\nfoo=1\nwatchManagerName=x\nzookeeper.snapCount=5\n").unwrap();
    let all = c.notices.join("\n");
    assert!(all.contains("not honoured yet: admin.serverPort"), "{all}");
    assert!(all.contains("unknown keys, ignored; check their spelling: foo"), "{all}");
    assert!(all.contains("write them without it: zookeeper.snapCount"), "{all}");
    assert!(all.contains("watchManagerName"), "{all}");
    assert!(!all.contains("tickTime") && !all.contains("enableServer"), "{all}");
}

#[test]
fn system_properties_fill_what_the_file_leaves_out() {
    let c = parse_with(
        "dataDir=/d\nclientPort=1\nsnapCount=10\n",
        &[("zookeeper.snapCount", "20"), ("zookeeper.forceSync", "no"), ("java.net.preferIPv4Stack", "true")],
    )
    .unwrap();
    assert_eq!((c.snap_count, c.force_sync), (10, false));
    assert!(c.notices.join("\n").contains("JVM properties: java.net.preferIPv4Stack"));
}

#[test]
fn jute_maxbuffer_works_from_the_file_and_says_so() {
    let c = small("jute.maxbuffer=0x400000\n").unwrap();
    assert_eq!(c.jute_max_buffer, 4 << 20);
    assert!(c.notices[0].contains("Apache ZooKeeper takes these from -D only"));
    let both =
        parse_with("dataDir=/d\nclientPort=1\njute.maxbuffer=100\n", &[("jute.maxbuffer", "2000")]).unwrap();
    assert_eq!(both.jute_max_buffer, 2000);
    assert!(both.notices.is_empty());
}

#[test]
fn one_server_line_is_standalone() {
    let c = parse("dataDir=/d\nserver.3=h:2888:3888;127.0.0.1:2199\n").unwrap();
    assert_eq!((c.client_port, c.client_host.as_deref()), (2199, Some("127.0.0.1")));
    assert!(c.ensemble.is_none());
    let v6 = parse("dataDir=/d\nserver.1=h:2888:3888:participant;[::1]:2181\n").unwrap();
    assert_eq!(v6.client_host.as_deref(), Some("::1"));
}

/// A data directory with that `myid`, and the head of its zoo.cfg.
fn member(myid: Option<&str>) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    if let Some(myid) = myid {
        std::fs::write(dir.path().join("myid"), myid).unwrap();
    }
    let head = format!("dataDir={}\ninitLimit=10\nsyncLimit=5\n", dir.path().display());
    (dir, head)
}

const THREE: &str = "server.1=a:2888:3888\nserver.2=b:2888:3888;10.0.0.2:2182\nserver.3=c:2888:3888\n";

#[test]
fn several_server_lines_are_an_ensemble_and_myid_says_which_is_this_one() {
    let (_dir, head) = member(Some("2\n"));
    let c = parse(&format!("{head}{THREE}")).unwrap();
    let e = c.ensemble.unwrap();
    assert_eq!((e.sid, e.init_limit, e.sync_limit, e.connect_limit), (2, 10, 5, 10));
    assert_eq!(e.servers.members.len(), 3);
    assert_eq!((c.client_port, c.client_host.as_deref()), (2182, Some("10.0.0.2")));
    assert!(c.notices.is_empty(), "{:?}", c.notices);

    let (_dir, head) = member(Some("1"));
    let c = parse(&format!("{head}clientPort=2181\nstandaloneEnabled=false\nserver.1=a:1:2\n")).unwrap();
    assert_eq!(c.ensemble.unwrap().servers.voters().count(), 1, "an ensemble of one");
    assert!(c.notices[0].starts_with("No server failure will be tolerated."));
}

#[test]
fn what_is_wrong_with_an_ensemble_is_said_in_the_originals_words() {
    let wrong = |myid, lines: &str| {
        let (_dir, head) = member(myid);
        parse(&format!("{head}clientPort=2181\n{lines}")).unwrap_err().to_string()
    };
    let begins = |text: String, with: &str| assert!(text.starts_with(with), "{text}");
    begins(wrong(None, THREE), "myid file is missing");
    begins(wrong(Some("two"), THREE), "serverid two is not a number");
    begins(wrong(Some("4"), THREE), "My id 4 not in the peer list");
    begins(wrong(Some("1"), &format!("{THREE}electionAlg=1\n")), "Invalid electionAlg value. Only 3");
    begins(wrong(Some("1"), &format!("{THREE}group.1=1:2\n")), "server 3 is in no group");
    begins(wrong(Some("1"), &format!("{THREE}sslQuorum=true\n")), "sslQuorum=true is not honoured yet");
    begins(wrong(Some("1"), &format!("{THREE}peerType=king\n")), "peerType=king");
    begins(wrong(Some("1"), "server.1=a:1:2\nserver.2=b:1:2:observer\n"), "Observers w/o quorum");
    begins(wrong(Some("1"), "server.2=b:1:2:observer\n"), "Observers w/o participants");
    begins(wrong(Some("1"), "standaloneEnabled=false\n"), "standaloneEnabled = false then number of");
    begins(wrong(Some("1"), "server.1=a:1:2|b:1:2\nserver.2=c:1:2\n"), "Multiple address feature");
    begins(
        wrong(Some("2"), THREE),
        "client address for this server (id = 2) in static config file is 0.0.0.0:2181",
    );
    let dir = tempfile::tempdir().unwrap();
    let unset = parse(&format!("dataDir={}\nclientPort=1\n{THREE}", dir.path().display())).unwrap_err();
    begins(unset.to_string(), "initLimit is not set");
}

#[test]
fn ensemble_keys_are_named_in_ensembles_only() {
    let keys = "observerMasterPort=2191\nlocalSessionsEnabled=false\npeerType=observer\n";
    assert!(small(keys).unwrap().notices.is_empty());
    let (_dir, head) = member(Some("1"));
    let c = parse(&format!("{head}clientPort=1\n{THREE}server.4=d:1:2\n{keys}")).unwrap();
    let all = c.notices.join("\n");
    assert!(all.contains("not honoured yet: observerMasterPort\n"), "{all}");
    assert!(all.contains("Non-optimal configuration, consider an odd number of servers."), "{all}");
    assert!(
        all.contains("Peer type from servers list (PARTICIPANT) doesn't match peerType (OBSERVER)"),
        "{all}"
    );
}

#[test]
fn servers_may_stand_in_a_file_of_their_own() {
    let (dir, head) = member(Some("1"));
    let dynamic = dir.path().join("zoo.cfg.dynamic.1000000ff");
    let write = |text: &str| std::fs::write(&dynamic, text).unwrap();
    let base = dir.path().join("zoo.cfg");
    let read = |more: &str| {
        let text = format!("{head}clientPort=2181\ndynamicConfigFile={}\n{more}", dynamic.display());
        std::fs::write(&base, text).unwrap();
        Config::from_file(&base, &SystemProperties::new())
    };
    write(THREE);
    let e = read("").unwrap().ensemble.unwrap();
    assert_eq!((e.servers.version, e.servers.members.len()), (0x1_0000_00ff, 3));
    assert_eq!(e.files, None, "nothing is rewritten without reconfigEnabled");
    std::fs::write(dir.path().join("zoo.cfg.dynamic.next"), format!("{THREE}version=200000001")).unwrap();
    let e = read("reconfigEnabled=true\n").unwrap().ensemble.unwrap();
    assert_eq!(e.files, Some(ConfigFiles { base: base.clone(), is_split: true }));
    assert_eq!(e.last_seen.map(|c| c.version), Some(0x2_0000_0001));
    assert!(read("server.1=a:1:2\n").unwrap_err().to_string().starts_with("parameter: server.1 must be in"));
    write(&format!("{THREE}version=5\n"));
    assert!(read("").unwrap_err().to_string().starts_with("dynamic file shouldn't have version"));
    write(&format!("{THREE}tickTime=5\n"));
    assert!(read("").unwrap_err().to_string().starts_with("Unrecognised parameter: tickTime"));
}

/// kazoo's test suite configures one; a scheme that is missing grants nothing, so the server starts and says so.
#[test]
fn an_authentication_scheme_that_is_not_offered_is_named() {
    let provider = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider";
    let c = small(&format!("authProvider.1={provider}\n")).unwrap();
    assert!(c.notices.iter().any(|n| n.contains("not honoured yet: authProvider.1")), "{:?}", c.notices);
}

#[test]
fn errors_name_the_key_and_what_to_do() {
    let text = |r: Result<Config, ConfigError>| r.unwrap_err().to_string();
    assert!(text(parse("clientPort=1\n")).contains("dataDir is not set"));
    assert!(text(parse("dataDir=/d\n")).contains("clientPort is not set"));
    assert!(text(small("tickTime=x\n")).contains("tickTime=x is not a whole number"));
    assert!(text(small("tickTime=0\n")).contains("at least 1"));
    assert!(text(small("minSessionTimeout=9\nmaxSessionTimeout=8\n")).contains("larger than"));
    assert!(text(small("forceSync=perhaps\n")).contains("true or false"));
    assert!(text(small("enforce.auth.enabled=true\n")).contains("less protected"));
}
