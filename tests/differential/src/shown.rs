//! Replies in words, with times and session ids replaced by names that are alike on both servers.

use zk_proto::{ErrorCode, MultiResult, Response, Stat};

use crate::session::{Event, Reply};

/// Maps session ids of one server to the number of the session.
#[derive(Debug, Default)]
pub struct Names {
    ids: Vec<i64>,
}

impl Names {
    pub fn add(&mut self, id: i64) {
        self.ids.push(id);
    }

    fn owner(&self, id: i64) -> String {
        match self.ids.iter().position(|known| *known == id) {
            Some(number) => format!("session#{number}"),
            None => format!("0x{id:x}"),
        }
    }

    /// Everything of a stat but its times.
    pub fn stat(&self, stat: &Stat) -> String {
        format!(
            "c{:x} m{:x} p{:x} v{} cv{} av{} owner {} len {} children {}",
            stat.czxid,
            stat.mzxid,
            stat.pzxid,
            stat.version,
            stat.cversion,
            stat.aversion,
            self.owner(stat.ephemeral_owner),
            stat.data_length,
            stat.num_children
        )
    }

    pub fn reply(&self, reply: &Reply) -> String {
        match reply {
            Reply::Closed => "closed".to_owned(),
            Reply::Answer { zxid, err, body } => {
                let body = body.as_ref().map_or(String::new(), |body| self.response(body));
                format!("zxid {zxid:x} {} {body}", error(*err))
            }
        }
    }

    fn response(&self, response: &Response) -> String {
        match response {
            Response::PathStat { path, stat } => format!("{path} {}", self.stat(stat)),
            Response::Stat { stat } => self.stat(stat),
            Response::Data { data, stat } => format!("{data:?} {}", self.stat(stat)),
            Response::Children { children } => sorted(children),
            Response::ChildrenStat { children, stat } => format!("{} {}", sorted(children), self.stat(stat)),
            Response::Acl { acl, stat } => {
                // `auth` becomes the caller's identities, which Apache keeps in hash order.
                let mut acl = acl.clone();
                acl.sort();
                format!("{acl:?} {}", self.stat(stat))
            }
            Response::Multi(results) => {
                results.iter().map(|result| self.multi_result(result)).collect::<Vec<_>>().join("; ")
            }
            Response::ClientInfos(infos) => {
                let mut infos: Vec<String> =
                    infos.iter().map(|info| format!("{}:{}", info.auth_scheme, info.user)).collect();
                infos.sort();
                infos.join(" ")
            }
            other => format!("{other:?}"),
        }
    }

    fn multi_result(&self, result: &MultiResult) -> String {
        match result {
            MultiResult::Create2 { path, stat } => format!("{path} {}", self.stat(stat)),
            MultiResult::SetData { stat } => self.stat(stat),
            MultiResult::GetData { data, stat } => format!("{data:?} {}", self.stat(stat)),
            MultiResult::GetChildren { children } => sorted(children),
            other => format!("{other:?}"),
        }
    }
}

/// Apache keeps children in hash order; only which there are counts.
fn sorted(children: &[String]) -> String {
    let mut children = children.to_vec();
    children.sort();
    format!("{children:?}")
}

fn error(code: i32) -> String {
    ErrorCode::from_code(code).map_or_else(|| format!("error {code}"), |code| format!("{code:?}"))
}

/// Events in their order, those of one transaction sorted: which watch fires first is hash order in Apache.
pub fn events(events: &[Event]) -> Vec<String> {
    let mut keyed: Vec<(i64, String)> = events
        .iter()
        .map(|e| (e.zxid, format!("{:?} {} at {:x}", e.event.kind, e.event.path, e.zxid)))
        .collect();
    keyed.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
    keyed.into_iter().map(|(_, text)| text).collect()
}
