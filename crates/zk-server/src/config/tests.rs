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
fn one_server_line_is_standalone_and_more_are_refused() {
    let c = parse("dataDir=/d\nserver.3=h:2888:3888;127.0.0.1:2199\n").unwrap();
    assert_eq!((c.client_port, c.client_host.as_deref()), (2199, Some("127.0.0.1")));
    let refusal = small("server.1=a:1:2\nserver.2=b:1:2\n").unwrap_err().to_string();
    assert!(refusal.contains("names 2 servers (1, 2)"), "{refusal}");
    assert!(small("server.1=a:1:2\nstandaloneEnabled=false\n").is_err());
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
