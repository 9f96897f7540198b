//! Tables of Kafka's APIs: what the broker's own table serves, beside what the originals advertise.
//!
//! Notes are the headers of the API's source files, so that a behaviour is written down once, where it is.

use kafka_broker::api::{SERVED, Served};
use kafka_proto::messages::ApiKey;

use crate::{code, repository, table};

/// Key, versions that Kafka 2.7.1 advertises, those that 3.9 advertises with ZooKeeper, and what the API belongs to.
/// Source: `*Request.json` of both releases (`validVersions`, `listeners`). The KRaft-only ones are left out.
#[rustfmt::skip]
const ORIGINALS: &[(i16, &str, &str, &str)] = &[
    (0, "0–8", "0–11", ""),
    (1, "0–12", "0–17", ""),
    (2, "0–5", "0–9", ""),
    (3, "0–9", "0–12", ""),
    (4, "0–4", "0–7", "replication and cluster control"),
    (5, "0–3", "0–4", "replication and cluster control"),
    (6, "0–6", "0–8", "replication and cluster control"),
    (7, "0–3", "0–3", "replication and cluster control"),
    (8, "0–8", "0–9", ""),
    (9, "0–7", "0–9", ""),
    (10, "0–3", "0–6", ""),
    (11, "0–7", "0–9", ""),
    (12, "0–4", "0–4", ""),
    (13, "0–4", "0–5", ""),
    (14, "0–5", "0–5", ""),
    (15, "0–5", "0–5", ""),
    (16, "0–4", "0–5", ""),
    (17, "0–1", "0–1", "SASL"),
    (18, "0–3", "0–4", ""),
    (19, "0–6", "0–7", ""),
    (20, "0–5", "0–6", ""),
    (21, "0–2", "0–2", ""),
    (22, "0–4", "0–5", ""),
    (23, "0–3", "0–4", ""),
    (24, "0–2", "0–5", "transactions"),
    (25, "0–2", "0–4", "transactions"),
    (26, "0–2", "0–4", "transactions"),
    (27, "0", "0–1", "transactions"),
    (28, "0–3", "0–4", "transactions"),
    (29, "0–2", "0–3", "access control lists"),
    (30, "0–2", "0–3", "access control lists"),
    (31, "0–2", "0–3", "access control lists"),
    (32, "0–3", "0–4", ""),
    (33, "0–1", "0–2", ""),
    (34, "0–1", "0–2", "log directories"),
    (35, "0–2", "0–4", "log directories"),
    (36, "0–2", "0–2", "SASL"),
    (37, "0–3", "0–3", ""),
    (38, "0–2", "0–3", "delegation tokens"),
    (39, "0–2", "0–2", "delegation tokens"),
    (40, "0–2", "0–2", "delegation tokens"),
    (41, "0–2", "0–3", "delegation tokens"),
    (42, "0–2", "0–2", ""),
    (43, "0–2", "0–2", "elections and reassignment"),
    (44, "0–1", "0–1", ""),
    (45, "0", "0", "elections and reassignment"),
    (46, "0", "0", "elections and reassignment"),
    (47, "0", "0", ""),
    (48, "0", "0–1", "quotas"),
    (49, "0", "0–1", "quotas"),
    (50, "0", "0", "SCRAM"),
    (51, "0", "0", "SCRAM"),
    (56, "0", "0–3", "replication and cluster control"),
    (57, "0", "0–1", "features"),
    (58, "", "0", "replication and cluster control"),
    (60, "", "0–1", ""),
    (61, "", "0", "transactions"),
    (65, "", "0", "transactions"),
    (66, "", "0–1", "transactions"),
    (67, "", "0", "transactions"),
    (68, "", "0", "KIP-848 groups"),
    (69, "", "0", "KIP-848 groups"),
];

fn original(api: ApiKey) -> Option<&'static (i16, &'static str, &'static str, &'static str)> {
    ORIGINALS.iter().find(|row| row.0 == api.code())
}

fn dash(versions: &str) -> String {
    if versions.is_empty() { "–".to_owned() } else { versions.to_owned() }
}

fn versions(served: &Served) -> String {
    if served.min == served.max { served.min.to_string() } else { format!("{}–{}", served.min, served.max) }
}

pub fn served() -> String {
    let rows = SERVED.iter().map(|served| {
        let (api, here) = (served.api, versions(served));
        let (_, v2_7, v3_9, _) = original(api).unwrap_or_else(|| panic!("{api} is not in ORIGINALS"));
        let first = header(served).0;
        vec![api.code().to_string(), api.name().to_owned(), here, dash(v2_7), dash(v3_9), first]
    });
    table(&["key", "API", "here", "2.7.1", "3.9", "what it does"], rows)
}

/// What the source files say beyond their first sentence.
pub fn behaviour() -> String {
    let parts = SERVED.iter().filter_map(|served| {
        let (_, rest) = header(served);
        (!rest.is_empty()).then(|| format!("### {}\n\n{rest}\n", served.api.name()))
    });
    parts.collect::<Vec<_>>().join("\n")
}

pub fn not_served() -> String {
    let known = ApiKey::ALL.iter().filter(|api| Served::find(**api).is_none());
    let rows = known.filter_map(|api| {
        let (key, v2_7, v3_9, area) = original(*api)?;
        assert!(!area.is_empty(), "{api} belongs to nothing");
        Some(vec![key.to_string(), api.name().to_owned(), dash(v2_7), dash(v3_9), (*area).to_owned()])
    });
    table(&["key", "API", "2.7.1", "3.9", "belongs to"], rows)
}

/// The header of an API's file: its first sentence without name and versions, and the rest. The versions it names
/// must be those served.
fn header(served: &Served) -> (String, String) {
    let module = snake(served.api.name());
    let folder = repository().join("crates/kafka-broker/src/api");
    let source = std::fs::read_to_string(folder.join(format!("{module}.rs")))
        .or_else(|_| std::fs::read_to_string(folder.join(&module).join("mod.rs")))
        .unwrap_or_else(|e| panic!("{module}: {e}"));
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let text = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n");
    let (paragraph, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
    let title = format!("{} {}", served.api.name(), versions(served));
    let after = paragraph
        .strip_prefix(&title)
        .unwrap_or_else(|| panic!("the header of {module}.rs must begin with {}: {paragraph}", code(&title)));
    let (_kip, first) =
        after.split_once(": ").unwrap_or_else(|| panic!("{module}.rs: no colon after its versions"));
    (first.replace('\n', " "), rest.trim().to_owned())
}

/// `OffsetForLeaderEpoch` → `offset_for_leader_epoch`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
