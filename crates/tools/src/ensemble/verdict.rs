//! From the answers to one sentence: is there a quorum, and what is to be done if not.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use zk_proto::quorum::{Role, Sid};

use super::ask::{Answer, Report};
use super::members::{Ensemble, Server};

/// How an ensemble is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// A leader, and every voter serves.
    Whole,
    /// There is a quorum, and a voter, or the leader from here, is missing.
    Weakened,
    NoQuorum,
}

/// The judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub health: Health,
    /// Index of the server that leads, or serves alone.
    pub leader: Option<usize>,
    pub sentence: String,
}

impl Verdict {
    pub fn exit_code(&self) -> i32 {
        match self.health {
            Health::Whole => 0,
            Health::Weakened => 1,
            Health::NoQuorum => 2,
        }
    }
}

/// The voters by what they do.
struct Voters<'a> {
    all: Vec<&'a Server>,
    serving: Vec<&'a Server>,
    up: Vec<&'a Server>,
    missing: Vec<&'a Server>,
}

impl<'a> Voters<'a> {
    fn of(ensemble: &'a Ensemble, answers: &[Answer]) -> Self {
        let all: Vec<(&Server, &Answer)> = ensemble
            .servers
            .iter()
            .zip(answers)
            .filter(|(server, _)| server.role == Role::Participant)
            .collect();
        let those = |wanted: fn(&Answer) -> bool| -> Vec<&'a Server> {
            all.iter().filter(|(_, answer)| wanted(answer)).map(|(server, _)| *server).collect()
        };
        Self {
            serving: those(|answer| serves(answer).is_some()),
            up: those(|answer| !matches!(answer, Answer::Missing(_))),
            missing: those(|answer| matches!(answer, Answer::Missing(_))),
            all: those(|_| true),
        }
    }

    /// Whether these would be a quorum; by number where the configuration is not known.
    fn is_quorum(&self, ensemble: &Ensemble, servers: &[&Server]) -> bool {
        if ensemble.config.members.is_empty() {
            return servers.len() > self.all.len() / 2;
        }
        let ids: BTreeSet<Sid> = servers.iter().filter_map(|server| server.id).collect();
        ensemble.config.is_quorum(&ids)
    }
}

/// A server in a quorum; a read-only one serves without.
fn serves(answer: &Answer) -> Option<&Report> {
    match answer {
        Answer::Serving(report) if report.mode != "read-only" => Some(report),
        _ => None,
    }
}

/// Judges the answers, which are in the order of `ensemble.servers`.
pub fn judge(ensemble: &Ensemble, answers: &[Answer]) -> Verdict {
    let mode = |wanted: &str| answers.iter().position(|a| serves(a).is_some_and(|r| r.mode == wanted));
    if let (Some(alone), [_]) = (mode("standalone"), answers) {
        let sentence = "one server alone, no ensemble: it serves".to_owned();
        return Verdict { health: Health::Whole, leader: Some(alone), sentence };
    }
    let voters = Voters::of(ensemble, answers);
    let counts = counts(ensemble, &voters);
    // Of two that say they lead the one of the later epoch does; the other has not noticed yet.
    let leader = answers
        .iter()
        .enumerate()
        .filter_map(|(index, answer)| Some((index, serves(answer)?)))
        .filter(|(_, report)| report.mode == "leader")
        .max_by_key(|(_, report)| report.zxid);
    if let Some((index, report)) = leader {
        let name = ensemble.servers[index].name();
        let mut sentence = format!("quorum: yes, {name} leads in epoch {}; {counts}", report.epoch());
        let whole = voters.serving.len() == voters.all.len();
        if !whole {
            sentence += &advice_for_the_rest(ensemble, &voters);
        }
        let health = if whole { Health::Whole } else { Health::Weakened };
        return Verdict { health, leader: Some(index), sentence };
    }
    if let Some(follower) = mode("follower").or(mode("observer")) {
        let name = ensemble.servers[follower].name();
        let sentence = format!(
            "quorum: yes, {name} serves with a leader that could not be asked from here; {counts}{}",
            advice_for_the_rest(ensemble, &voters)
        );
        return Verdict { health: Health::Weakened, leader: None, sentence };
    }
    let sentence = format!("quorum: no, {counts}{}", advice_without_quorum(ensemble, &voters));
    Verdict { health: Health::NoQuorum, leader: None, sentence }
}

fn counts(ensemble: &Ensemble, voters: &Voters<'_>) -> String {
    let all = voters.all.len();
    let needed = match ensemble.config.groups.is_empty() {
        true if all < 2 => String::new(),
        true => format!(", {} are needed", all / 2 + 1),
        false => ", more than half of the weight in more than half of the groups is needed".to_owned(),
    };
    let (serving, up) = (voters.serving.len(), voters.up.len());
    match serving {
        0 => format!("{up} of {all} voters {} up and none serves{needed}", is_or_are(up)),
        _ => format!("{serving} of {all} voters {}{needed}", if serving == 1 { "serves" } else { "serve" }),
    }
}

fn is_or_are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

fn advice_for_the_rest(ensemble: &Ensemble, voters: &Voters<'_>) -> String {
    let mut advice = String::new();
    if !voters.missing.is_empty() {
        let _ = write!(advice, "; bring back {}", names(&voters.missing, "and"));
    }
    let waiting: Vec<&Server> =
        voters.up.iter().filter(|server| !voters.serving.contains(server)).copied().collect();
    if !waiting.is_empty() {
        let run = if waiting.len() == 1 { "runs" } else { "run" };
        let _ = write!(advice, "; {} {run}, and could not be seen serving", names(&waiting, "and"));
    }
    let fewer = voters.up.split_last().map_or(&[][..], |(_, rest)| rest);
    if !voters.is_quorum(ensemble, fewer) {
        advice += "; one more failure stops the service";
    }
    advice
}

fn advice_without_quorum(ensemble: &Ensemble, voters: &Voters<'_>) -> String {
    if voters.is_quorum(ensemble, &voters.up) {
        let ports: Vec<String> = voters
            .all
            .iter()
            .filter_map(|server| server.election.first())
            .map(|(host, port)| super::members::show(host, *port))
            .collect();
        let ports = if ports.is_empty() { String::new() } else { format!(" ({})", ports.join(", ")) };
        return format!(
            ": enough run, so an election is going on, or they cannot reach each other's election ports{ports}; \
             if this lasts, look into their logs and the firewall"
        );
    }
    match &voters.missing[..] {
        [] => ": look into the logs of those that run".to_owned(),
        missing => format!(": start {}", names(missing, "or")),
    }
}

/// `server 1 (a), server 2 (b) or server 3 (c)`
fn names(servers: &[&Server], last: &str) -> String {
    let names: Vec<String> = servers.iter().map(|server| server.name()).collect();
    match names.split_last() {
        Some((end, [])) => end.clone(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
        None => String::new(),
    }
}

/// The lines `zkServer.sh status` puts before its last one: who is missing, and why nobody serves if nobody does.
pub fn missing(ensemble: &Ensemble, answers: &[Answer]) -> String {
    let mut lines = String::new();
    let mut own_serves = false;
    for (server, answer) in ensemble.servers.iter().zip(answers) {
        let own = server.id == ensemble.own;
        own_serves |= own && serves(answer).is_some();
        let kind = if server.role == Role::Observer { "observer" } else { "server" };
        let name = match server.id {
            Some(id) => format!("{kind} {id} ({})", server.address()),
            None => server.address(),
        };
        match answer {
            Answer::Missing(why) if !own => {
                let _ = writeln!(lines, "Missing: {name}: {why}.");
            }
            Answer::NotServing if !own => {
                let _ = writeln!(lines, "Not serving: {name} runs, and waits for a leader.");
            }
            _ => {}
        }
    }
    let voters = Voters::of(ensemble, answers);
    if !own_serves && voters.serving.is_empty() && !voters.up.is_empty() {
        let counts = counts(ensemble, &voters);
        let _ = writeln!(lines, "No quorum: {counts}{}.", advice_without_quorum(ensemble, &voters));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_proto::quorum::Config;

    fn three() -> Ensemble {
        let text: String = (1..=3).map(|n| format!("server.{n}=z{n}:2888:3888;2181\n")).collect();
        let config = Config::parse(&text).unwrap();
        let servers = config.members.iter().map(|(id, member)| Server::of(*id, member)).collect();
        Ensemble { config, servers, own: Some(1) }
    }

    fn is(mode: &str) -> Answer {
        Answer::Serving(Report { mode: mode.into(), zxid: 0x5_0000_0001, ..Report::default() })
    }

    fn gone() -> Answer {
        Answer::Missing("nothing listens".into())
    }

    fn check(answers: [Answer; 3], exit_code: i32, sentence: &str) {
        let verdict = judge(&three(), &answers);
        assert_eq!((verdict.exit_code(), verdict.sentence.as_str()), (exit_code, sentence));
    }

    #[test]
    fn every_state_has_its_sentence_and_its_exit_code() {
        check(
            [is("follower"), is("leader"), is("follower")],
            0,
            "quorum: yes, server 2 (z2:2181) leads in epoch 5; 3 of 3 voters serve, 2 are needed",
        );
        check(
            [is("follower"), is("leader"), gone()],
            1,
            "quorum: yes, server 2 (z2:2181) leads in epoch 5; 2 of 3 voters serve, 2 are needed; bring back server \
             3 (z3:2181); one more failure stops the service",
        );
        check(
            [is("follower"), gone(), is("follower")],
            1,
            "quorum: yes, server 1 (z1:2181) serves with a leader that could not be asked from here; 2 of 3 voters \
             serve, 2 are needed; bring back server 2 (z2:2181); one more failure stops the service",
        );
        check(
            [Answer::NotServing, gone(), gone()],
            2,
            "quorum: no, 1 of 3 voters is up and none serves, 2 are needed: start server 2 (z2:2181) or server 3 \
             (z3:2181)",
        );
        check(
            [Answer::NotServing, Answer::NotServing, gone()],
            2,
            "quorum: no, 2 of 3 voters are up and none serves, 2 are needed: enough run, so an election is going on, \
             or they cannot reach each other's election ports (z1:3888, z2:3888, z3:3888); if this lasts, look into \
             their logs and the firewall",
        );
    }

    #[test]
    fn a_read_only_server_is_no_quorum() {
        let verdict = judge(&three(), &[is("read-only"), gone(), gone()]);
        assert_eq!(verdict.health, Health::NoQuorum);
    }

    #[test]
    fn status_names_the_missing_and_says_nothing_when_nobody_is() {
        let ensemble = three();
        assert_eq!(missing(&ensemble, &[is("follower"), is("leader"), is("follower")]), "");
        assert_eq!(
            missing(&ensemble, &[is("leader"), Answer::NotServing, gone()]),
            "Not serving: server 2 (z2:2181) runs, and waits for a leader.\n\
             Missing: server 3 (z3:2181): nothing listens.\n"
        );
        let alone = missing(&ensemble, &[Answer::NotServing, gone(), gone()]);
        assert!(alone.ends_with("No quorum: 1 of 3 voters is up and none serves, 2 are needed: start server 2 (z2:2181) or server 3 (z3:2181).\n"), "{alone}");
    }
}
