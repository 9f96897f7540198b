//! reconfig: who the servers of the ensemble are to be (`PrepRequestProcessor.pRequest2Txn`).
//!
//! The new configuration's version is the zxid of the transaction that brings it. It is data of
//! `/zookeeper/config` like any other; what else follows from it is the leader's business.

use bytes::Bytes;
use zk_proto::quorum::config::Address;
use zk_proto::quorum::{Config, Member, Sid};
use zk_proto::txn::{SetDataTxn, Txn};
use zk_proto::{ErrorCode, perms};

use super::{Decider, EnsembleView};
use crate::tree::CONFIG_NODE;

/// The version of the configuration node's data is no count.
const NO_VERSION: i32 = -1;

impl Decider<'_> {
    pub(super) fn reconfig(
        &mut self,
        joining: Option<&str>,
        leaving: Option<&str>,
        new_members: Option<&str>,
        current_config_id: i64,
    ) -> Result<(Txn, Config), ErrorCode> {
        if !self.ctx.reconfig_enabled {
            return Err(ErrorCode::ReconfigDisabled);
        }
        self.ctx.session?;
        let view = self.ctx.ensemble.ok_or(ErrorCode::Unimplemented)?;
        if view.last_seen.version != view.active.version {
            return Err(ErrorCode::ReconfigInProgress);
        }
        if current_config_id != -1 && current_config_id != view.last_seen.version {
            return Err(ErrorCode::BadVersion);
        }
        let mut config = match new_members {
            Some(members) => replaced(members, view.standalone_enabled)?,
            None => changed(view.last_seen, joining, leaving)?,
        };
        config.version = self.ctx.zxid;
        check_quorum(&config, view)?;
        let mut node = self.pending.node(self.tree, CONFIG_NODE)?;
        self.require(node.acl.as_deref(), perms::WRITE)?;
        let data = Some(Bytes::from(config.to_string()));
        node.stat.version = NO_VERSION;
        node.stat.mtime_ms = self.ctx.time_ms;
        node.stat.mzxid = self.ctx.zxid;
        node.data.clone_from(&data);
        self.pending.put(self.tree, self.ctx.zxid, node);
        let txn = SetDataTxn { path: CONFIG_NODE.to_owned(), data, version: NO_VERSION };
        Ok((Txn::SetData(txn), config))
    }
}

/// Enough voters, and a quorum of them in step: else the ensemble would stop where it stands.
fn check_quorum(config: &Config, view: EnsembleView<'_>) -> Result<(), ErrorCode> {
    let voters_min = if view.standalone_enabled { 2 } else { 1 };
    if config.voters().count() < voters_min {
        return Err(ErrorCode::BadArguments);
    }
    if !config.is_quorum(view.synced) {
        return Err(ErrorCode::NewConfigNoQuorum);
    }
    Ok(())
}

/// All members anew, separated by commas or lines (`QuorumPeerConfig.parseDynamicConfig`).
fn replaced(members: &str, standalone_enabled: bool) -> Result<Config, ErrorCode> {
    let mut lines = Vec::new();
    for line in members.split([',', '\n', '\r']).map(str::trim).filter(|line| !line.is_empty()) {
        let (key, value) = line.split_once('=').ok_or(ErrorCode::BadArguments)?;
        let key = key.trim();
        let known = key == "version" || ["server.", "group", "weight"].iter().any(|k| key.starts_with(k));
        if !known {
            return Err(ErrorCode::BadArguments);
        }
        lines.push((key, value.trim()));
    }
    let config = Config::from_lines(lines.into_iter()).map_err(|_| ErrorCode::BadArguments)?;
    let voters = config.voters().count();
    let observers = config.members.len() - voters;
    if voters == 0 || (voters == 1 && standalone_enabled && observers > 0) {
        return Err(ErrorCode::BadArguments);
    }
    Ok(config)
}

/// The present members without some and with others. Only a plain majority can be changed so.
fn changed(present: &Config, joining: Option<&str>, leaving: Option<&str>) -> Result<Config, ErrorCode> {
    if !present.groups.is_empty() {
        return Err(ErrorCode::BadArguments);
    }
    let mut members = present.members.clone();
    for leaving in parts(leaving, ',') {
        members.remove(&server_number(leaving)?);
    }
    for joiner in parts(joining, ',') {
        let sides: Vec<&str> = parts(Some(joiner), '=').collect();
        let [name, spec] = sides[..] else { return Err(ErrorCode::BadArguments) };
        let sid = server_number(name.rsplit('.').next().unwrap_or(name))?;
        let member = Member::parse(spec).map_err(|_| ErrorCode::BadArguments)?;
        if member.client.is_none() || members.iter().any(|(id, m)| *id != sid && share_address(&member, m)) {
            return Err(ErrorCode::BadArguments);
        }
        members.insert(sid, member);
    }
    Ok(Config { members, ..Config::default() })
}

fn parts(text: Option<&str>, separator: char) -> impl Iterator<Item = &str> {
    text.unwrap_or_default().split(separator).map(str::trim).filter(|part| !part.is_empty())
}

/// Apache tells a server number that is none as a request it cannot read.
fn server_number(text: &str) -> Result<Sid, ErrorCode> {
    text.trim().parse().map_err(|_| ErrorCode::MarshallingError)
}

/// Whether two servers would listen on the same address. Wildcards and loopback are nobody's in particular
/// (`QuorumServer.checkAddressDuplicate`).
fn share_address(a: &Member, b: &Member) -> bool {
    let theirs = sockets(b);
    sockets(a).iter().any(|mine| theirs.contains(mine))
}

fn sockets(member: &Member) -> Vec<(&str, u16)> {
    let servers = member.addresses.iter().flat_map(|Address { host, quorum_port, election_port }| {
        [(host.as_str(), *quorum_port), (host.as_str(), *election_port)]
    });
    let client = member.client.iter().map(|(host, port)| (host.as_str(), *port));
    servers.chain(client).filter(|(host, _)| !is_special(host)).collect()
}

fn is_special(host: &str) -> bool {
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified() || ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use zk_proto::quorum::Role;
    use zk_proto::{Id, Request};

    use super::*;
    use crate::{DecideCtx, Decision, Pending, Tree, TreeConfig, decide};

    const THREE: &str = "server.1=z1:1:11:participant;0.0.0.0:21\nserver.2=z2:2:12:participant;0.0.0.0:22\n\
                         server.3=z3:3:13:participant;0.0.0.0:23\nversion=100000000";

    struct Case<'a> {
        joining: Option<&'a str>,
        leaving: Option<&'a str>,
        new_members: Option<&'a str>,
        from: i64,
        synced: &'a [Sid],
    }

    const NOTHING: Case<'_> =
        Case { joining: None, leaving: None, new_members: None, from: -1, synced: &[1, 2, 3] };

    fn run_as(auth: &[Id], seen: &str, case: Case<'_>) -> Decision {
        let active = Config::parse(THREE).unwrap();
        let seen = Config::parse(seen).unwrap();
        let synced: BTreeSet<Sid> = case.synced.iter().copied().collect();
        let ctx = DecideCtx {
            zxid: 0x1_0000_0007,
            time_ms: 5,
            session_id: 9,
            cxid: 1,
            auth,
            session: Ok(()),
            reconfig_enabled: true,
            ensemble: Some(EnsembleView {
                active: &active,
                last_seen: &seen,
                synced: &synced,
                standalone_enabled: true,
            }),
        };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let request = Request::Reconfig {
            joining: owned(case.joining),
            leaving: owned(case.leaving),
            new_members: owned(case.new_members),
            current_config_id: case.from,
        };
        decide(&Tree::new(TreeConfig::default()), &mut Pending::new(), &ctx, request)
    }

    fn superuser() -> Vec<Id> {
        vec![Id::new("super", "")]
    }

    fn error(case: Case<'_>) -> Option<ErrorCode> {
        run_as(&superuser(), THREE, case).error
    }

    #[test]
    fn members_leave_and_join_under_a_new_version() {
        let joining = Some("server.4=z4:4:14:observer;24, server.2=z2:2:12;22");
        let decision = run_as(&superuser(), THREE, Case { joining, leaving: Some("3,9"), ..NOTHING });
        assert_eq!(decision.error, None);
        let config = decision.reconfig.unwrap();
        let text = "server.1=z1:1:11:participant;0.0.0.0:21\nserver.2=z2:2:12:participant;0.0.0.0:22\n\
                    server.4=z4:4:14:observer;0.0.0.0:24\nversion=100000007";
        assert_eq!(config.to_string(), text);
        assert_eq!(config.members[&4].role, Role::Observer);
        assert_eq!(decision.header.kind, zk_proto::txn::kind::RECONFIG);
        let expected =
            SetDataTxn { path: CONFIG_NODE.to_owned(), data: Some(Bytes::from(text)), version: -1 };
        assert_eq!(decision.txn, Txn::SetData(expected));
    }

    #[test]
    fn all_members_may_be_given_anew() {
        let new_members = Some("server.1=z1:1:11;21,server.2=z2:2:12;22");
        assert_eq!(error(Case { new_members, ..NOTHING }), None);
        let unknown = Some("server.1=z1:1:11;21,boss.2=z2:2:12;22");
        assert_eq!(error(Case { new_members: unknown, ..NOTHING }), Some(ErrorCode::BadArguments));
    }

    #[test]
    fn what_cannot_be_is_refused_with_apaches_codes() {
        let join = |joining| Case { joining: Some(joining), ..NOTHING };
        assert_eq!(error(join("server.4=z4:4:14:observer")), Some(ErrorCode::BadArguments), "no client port");
        assert_eq!(error(join("server.4=z3:3:14;24")), Some(ErrorCode::BadArguments), "an address is taken");
        assert_eq!(error(join("server.4")), Some(ErrorCode::BadArguments));
        assert_eq!(error(join("server.x=z4:4:14;24")), Some(ErrorCode::MarshallingError));
        let leave = |leaving| Case { leaving: Some(leaving), ..NOTHING };
        assert_eq!(error(leave("2,3")), Some(ErrorCode::BadArguments), "one voter is no ensemble");
        assert_eq!(error(Case { from: 3, ..NOTHING }), Some(ErrorCode::BadVersion));
        assert_eq!(error(Case { from: 0x1_0000_0000, ..leave("3") }), None);
        assert_eq!(error(Case { synced: &[1], ..NOTHING }), Some(ErrorCode::NewConfigNoQuorum));
    }

    #[test]
    fn one_at_a_time_and_only_by_whoever_may_write_the_node() {
        let seen = THREE.replace("version=100000000", "version=100000005");
        assert_eq!(run_as(&superuser(), &seen, NOTHING).error, Some(ErrorCode::ReconfigInProgress));
        let nobody = [Id::new("ip", "10.0.0.1")];
        let leave = Case { leaving: Some("3"), ..NOTHING };
        assert_eq!(run_as(&nobody, THREE, leave).error, Some(ErrorCode::NoAuth));
    }
}
