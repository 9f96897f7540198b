//! From a few addresses to the whole ensemble: each server tells its configuration.

use std::collections::BTreeSet;

use zk_client::{ConnectOptions, ZkClient};
use zk_proto::quorum::{Config, Sid};

use super::ask::ask_word;
use super::members::{Ensemble, HostPort, Server};

/// How long a server may take to open a session, where it does not tell its configuration by `conf`.
const SESSION_MS: u64 = 2000;

/// The ensemble that the servers at these addresses belong to; the servers themselves if they do not tell.
pub fn from_addresses(list: &str) -> Result<Ensemble, String> {
    let addresses = list
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(parse)
        .collect::<Result<Vec<_>, _>>()?;
    if addresses.is_empty() {
        return Err("--server names no server".to_owned());
    }
    let told: Vec<Told> = std::thread::scope(|scope| {
        let asked: Vec<_> = addresses.iter().map(|address| scope.spawn(move || tell(address))).collect();
        asked.into_iter().map(|one| one.join().unwrap_or_default()).collect()
    });
    Ok(merge(&addresses, &told))
}

fn parse(text: &str) -> Result<HostPort, String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') => (host, port),
        _ => (text, "2181"),
    };
    let port = port.parse().map_err(|_| format!("{text} is no host:port"))?;
    Ok((host.trim_start_matches('[').trim_end_matches(']').to_owned(), port))
}

/// What one server says about itself.
#[derive(Debug, Default)]
struct Told {
    id: Option<Sid>,
    config: Option<Config>,
}

fn tell(address: &HostPort) -> Told {
    // Who does not answer this will not answer more.
    let Ok(conf) = ask_word(address, "conf") else { return Told::default() };
    let id = conf.lines().find_map(|line| line.strip_prefix("serverId=")?.trim().parse().ok());
    if let Some(config) = config_of(&conf) {
        return Told { id, config: Some(config) };
    }
    let config = config_by_session(address);
    // A server of a static configuration knows one client port, its own.
    let mut with_clients = config.iter().flat_map(|c| &c.members).filter(|(_, m)| m.client.is_some());
    let only = with_clients.next().filter(|_| with_clients.next().is_none()).map(|(id, _)| *id);
    let only = only.filter(|_| config.as_ref().is_some_and(|config| config.members.len() > 1));
    Told { id: id.or(only), config }
}

fn config_of(text: &str) -> Option<Config> {
    Config::parse(text).ok().filter(|config| !config.members.is_empty())
}

fn config_by_session((host, port): &HostPort) -> Option<Config> {
    // A server that does not even say who it is will not open a session.
    if !ask_word(&(host.clone(), *port), "srvr").ok()?.contains("Mode: ") {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let hosts = super::members::show(host, *port);
        let options = ConnectOptions::new(&hosts).connect_timeout_ms(SESSION_MS);
        let (zk, _events) = ZkClient::connect(options).await.ok()?;
        let told = zk.get_config(false).await.ok();
        // The session is over when the server likes to know it.
        let _ = zk.close().await;
        let data = told?.0?;
        config_of(std::str::from_utf8(&data).ok()?)
    })
}

/// The newest configuration, completed by what each server knows about itself.
fn merge(addresses: &[HostPort], told: &[Told]) -> Ensemble {
    let newest = told.iter().filter_map(|told| told.config.as_ref()).max_by_key(|config| config.version);
    let Some(newest) = newest else {
        let servers = addresses.iter().cloned().map(Server::at).collect();
        return Ensemble { config: Config::default(), servers, own: None };
    };
    let mut config = newest.clone();
    for other in told.iter().filter_map(|told| told.config.as_ref()) {
        for (id, member) in &other.members {
            if let Some(known) = config.members.get_mut(id)
                && known.client.is_none()
            {
                known.client.clone_from(&member.client);
            }
        }
    }
    let mut servers: Vec<Server> =
        config.members.iter().map(|(id, member)| Server::of(*id, member)).collect();
    let mut found = BTreeSet::new();
    for (address, told) in addresses.iter().zip(told) {
        let known = servers.iter_mut().find(|server| match told.id {
            Some(id) => server.id == Some(id),
            None => server.client.as_ref() == Some(address),
        });
        match known {
            // The address that was given is the one that is known to work from here.
            Some(server) if found.insert(server.id) => server.client = Some(address.clone()),
            Some(_) => {}
            None => place(&mut servers, address),
        }
    }
    // Most sites have one client port everywhere.
    if let Some((_, port)) = addresses.first() {
        for server in servers.iter_mut().filter(|server| server.client.is_none()) {
            server.client = server.election.first().map(|(host, _)| (host.clone(), *port));
            server.guessed = true;
        }
    }
    Ensemble { config, servers, own: None }
}

/// An address whose server did not say its number: the one member on that host whose client port is not known, else
/// a server that no configuration names.
fn place(servers: &mut Vec<Server>, address: &HostPort) {
    let here = |server: &&mut Server| {
        let same_host = server.election.iter().any(|(host, _)| *host == address.0);
        same_host && (server.client.is_none() || server.client.as_ref().is_some_and(|(_, p)| *p == address.1))
    };
    let mut candidates = servers.iter_mut().filter(here);
    match (candidates.next(), candidates.next()) {
        (Some(server), None) => server.client = Some(address.clone()),
        _ => servers.push(Server::at(address.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(id: Option<Sid>, config: &str) -> Told {
        Told { id, config: config_of(config) }
    }

    #[test]
    fn addresses_have_a_default_port() {
        assert_eq!(parse("z1"), Ok(("z1".into(), 2181)));
        assert_eq!(parse("[::1]:2182"), Ok(("::1".into(), 2182)));
        assert!(parse("z1:x").is_err());
    }

    #[test]
    fn servers_of_one_host_are_told_apart_by_what_each_says_of_itself() {
        let line = |own: i64| -> String {
            let client = |n: i64| if n == own { format!(";0.0.0.0:218{n}") } else { String::new() };
            (1..=3).map(|n| format!("server.{n}=h:1{n}:2{n}:participant{}\n", client(n))).collect()
        };
        let addresses = [("127.0.0.1".to_owned(), 2181), ("127.0.0.1".to_owned(), 2182)];
        let ensemble = merge(&addresses, &[told(Some(1), &line(1)), told(Some(2), &line(2))]);
        assert_eq!(ensemble.servers.len(), 3);
        assert_eq!(ensemble.servers[0].client, Some(("127.0.0.1".into(), 2181)));
        assert_eq!(ensemble.servers[1].client, Some(("127.0.0.1".into(), 2182)));
        let guess = &ensemble.servers[2];
        assert_eq!((&guess.client, guess.guessed), (&Some(("h".into(), 2181)), true));
    }

    #[test]
    fn without_a_configuration_the_addresses_are_all_there_is() {
        let addresses = [("z1".to_owned(), 2181), ("z2".to_owned(), 2181)];
        let ensemble = merge(&addresses, &[told(None, ""), told(None, "")]);
        assert_eq!((ensemble.servers.len(), ensemble.config.members.len()), (2, 0));
    }

    #[test]
    fn a_silent_server_takes_its_place_by_its_host() {
        let config = "server.1=z1:1:2;2181\nserver.2=z2:1:2:participant\n";
        let addresses = [("z1".to_owned(), 2181), ("z2".to_owned(), 2181)];
        let ensemble = merge(&addresses, &[told(Some(1), config), told(None, "")]);
        assert_eq!(ensemble.servers.len(), 2);
        assert_eq!(ensemble.servers[1].client, Some(("z2".into(), 2181)));
    }
}
