//! The answers as a table for people and as JSON for programs.

use serde_json::{Value, json};
use zk_proto::quorum::Role;

use super::ask::{Answer, Report};
use super::members::Ensemble;
use super::verdict::{Health, Verdict};

/// `mntr`'s keys that tell how well the others keep up; `followers` is 3.4's and 3.5's word for learners.
const MNTR: [&str; 8] = [
    "uptime",
    "znode_count",
    "learners",
    "followers",
    "synced_followers",
    "synced_observers",
    "pending_syncs",
    "avg_latency",
];

/// Transactions the leader has applied and this server has not; `None` across epochs or without a leader.
fn lag(report: &Report, leader: Option<&Report>) -> Option<i64> {
    let leader = leader?;
    // They were asked one after the other: a follower may have been asked later.
    (leader.epoch() == report.epoch()).then(|| (leader.zxid - report.zxid).max(0))
}

fn leader<'a>(answers: &'a [Answer], verdict: &Verdict) -> Option<&'a Report> {
    match answers.get(verdict.leader?)? {
        Answer::Serving(report) => Some(report),
        _ => None,
    }
}

/// One line a server, the reasons of those that say nothing, and the verdict.
pub fn table(ensemble: &Ensemble, answers: &[Answer], verdict: &Verdict) -> String {
    let leader = leader(answers, verdict);
    let head =
        ["ID", "ADDRESS", "VOTES", "ROLE", "EPOCH", "ZXID", "LAG", "CONNECTIONS", "OUTSTANDING", "VERSION"];
    let mut rows = vec![head.map(str::to_owned)];
    for (server, answer) in ensemble.servers.iter().zip(answers) {
        let dash = || "-".to_owned();
        let number = |n: Option<i64>| n.map_or_else(dash, |n| n.to_string());
        let votes = if server.role == Role::Participant { "yes" } else { "no" };
        let (id, address) = (number(server.id), server.address());
        rows.push(match answer {
            Answer::Serving(report) => [
                id,
                address,
                votes.to_owned(),
                report.mode.clone(),
                report.epoch().to_string(),
                format!("0x{:x}", report.zxid),
                number(lag(report, leader)),
                number(report.connections),
                number(report.outstanding),
                release(&report.version).to_owned(),
            ],
            silent => {
                let mut row = std::array::from_fn(|_| dash());
                (row[0], row[1], row[2], row[3]) = (id, address, votes.to_owned(), state(silent).to_owned());
                row
            }
        });
    }
    let mut out = columns(&rows);
    for (server, answer) in ensemble.servers.iter().zip(answers) {
        if let Some(reason) = reason(answer) {
            out += &format!("{}: {reason}\n", server.name());
        }
    }
    out + &verdict.sentence + "\n"
}

/// `3.9.3` of `3.9.3-c26634f34490bb0ea7a09cc51e05ede3b4e320ee`, and ours whole.
fn release(version: &str) -> &str {
    match version.split_once('-') {
        Some((release, hash)) if hash.len() >= 32 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => release,
        _ => version,
    }
}

fn columns(rows: &[[String; 10]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 10] = std::array::from_fn(width);
    let line = |row: &[String; 10]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn state(answer: &Answer) -> &'static str {
    match answer {
        Answer::Serving(_) => "serving",
        Answer::NotServing => "not serving",
        Answer::Up(_) => "up",
        Answer::Missing(_) => "unreachable",
    }
}

fn reason(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Serving(_) => None,
        Answer::NotServing => Some("it runs, and waits for a leader or for its state".to_owned()),
        Answer::Up(why) => Some(format!("its election port answers; {why}")),
        Answer::Missing(why) => Some(why.clone()),
    }
}

/// One object; `docs/commands.md` names its fields.
pub fn json(ensemble: &Ensemble, answers: &[Answer], verdict: &Verdict) -> String {
    let leader_report = leader(answers, verdict);
    let servers: Vec<Value> = ensemble
        .servers
        .iter()
        .zip(answers)
        .map(|(server, answer)| {
            let mut value = json!({
                "id": server.id,
                "address": server.address(),
                "voter": server.role == Role::Participant,
                "state": state(answer),
                "reason": reason(answer),
            });
            if let Answer::Serving(report) = answer {
                value["role"] = json!(report.mode);
                value["epoch"] = json!(report.epoch());
                value["zxid"] = json!(format!("0x{:x}", report.zxid));
                value["lag"] = json!(lag(report, leader_report));
                value["connections"] = json!(report.connections);
                value["outstanding"] = json!(report.outstanding);
                value["version"] = json!(report.version);
                for key in MNTR {
                    if let Some(number) = report.mntr.get(key).and_then(|text| text.parse::<f64>().ok()) {
                        value[key] = if number.fract() == 0.0 { json!(number as i64) } else { json!(number) };
                    }
                }
            }
            value
        })
        .collect();
    let leader = verdict.leader.map(|index| ensemble.servers[index].id);
    let value = json!({
        "quorum": verdict.health != Health::NoQuorum,
        "whole": verdict.health == Health::Whole,
        "leader": leader.flatten(),
        "epoch": leader_report.map(Report::epoch),
        "verdict": verdict.sentence,
        "servers": servers,
    });
    format!("{value:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ensemble::members::Server;
    use crate::ensemble::verdict::judge;
    use zk_proto::quorum::Config;

    fn picture() -> (Ensemble, Vec<Answer>) {
        let config =
            Config::parse("server.1=z1:1:2;2181\nserver.2=z2:1:2;2181\nserver.3=z3:1:2:observer;2181")
                .unwrap();
        let servers = config.members.iter().map(|(id, member)| Server::of(*id, member)).collect();
        let report = |mode: &str, zxid| Report {
            mode: mode.into(),
            zxid,
            version: "3.9.3-c26634f34490bb0ea7a09cc51e05ede3b4e320ee".into(),
            connections: Some(2),
            outstanding: Some(0),
            mntr: [("uptime".to_owned(), "1234".to_owned())].into(),
        };
        let answers = vec![
            Answer::Serving(report("follower", 0x5_0000_0001)),
            Answer::Serving(report("leader", 0x5_0000_0004)),
            Answer::Missing("nothing listens on z3:2: the server is not running".into()),
        ];
        (Ensemble { config, servers, own: None }, answers)
    }

    #[test]
    fn the_table_is_aligned_and_ends_with_the_verdict() {
        let (ensemble, answers) = picture();
        let verdict = judge(&ensemble, &answers);
        assert_eq!(
            table(&ensemble, &answers, &verdict),
            "ID  ADDRESS  VOTES  ROLE         EPOCH  ZXID         LAG  CONNECTIONS  OUTSTANDING  VERSION\n\
             1   z1:2181  yes    follower     5      0x500000001  3    2            0            3.9.3\n\
             2   z2:2181  yes    leader       5      0x500000004  0    2            0            3.9.3\n\
             3   z3:2181  no     unreachable  -      -            -    -            -            -\n\
             server 3 (z3:2181): nothing listens on z3:2: the server is not running\n\
             quorum: yes, server 2 (z2:2181) leads in epoch 5; 2 of 2 voters serve, 2 are needed\n"
        );
    }

    #[test]
    fn the_json_says_the_same() {
        let (ensemble, answers) = picture();
        let verdict = judge(&ensemble, &answers);
        let value: Value = serde_json::from_str(&json(&ensemble, &answers, &verdict)).unwrap();
        assert_eq!((value["quorum"].as_bool(), value["leader"].as_i64()), (Some(true), Some(2)));
        assert_eq!(value["servers"][0]["lag"], 3);
        assert_eq!(value["servers"][0]["uptime"], 1234);
        assert_eq!(value["servers"][2]["state"], "unreachable");
        assert_eq!(value["servers"][2]["role"], Value::Null);
    }
}
