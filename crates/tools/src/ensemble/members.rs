//! Who belongs to an ensemble and where each of them may be asked.

use std::path::Path;

use properties::Properties;
use zk_proto::quorum::{Config, Member, Role, Sid};

/// A host and a port, the host not resolved.
pub type HostPort = (String, u16);

/// One server to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its number, where it is known.
    pub id: Option<Sid>,
    pub role: Role,
    /// Where clients reach it.
    pub client: Option<HostPort>,
    /// The host to show where `client` has one that means something else elsewhere, `localhost`.
    pub host: Option<String>,
    /// The client port is not in the configuration but that of another server, which is the same on most sites.
    /// Not to be believed where two servers share a host.
    pub guessed: bool,
    /// Where the others send their votes; it is open as long as the process runs.
    pub election: Vec<HostPort>,
}

impl Server {
    /// A server of which nothing is known but its address.
    pub fn at(address: HostPort) -> Self {
        Self {
            id: None,
            role: Role::Participant,
            client: Some(address),
            host: None,
            guessed: false,
            election: Vec::new(),
        }
    }

    /// `server.N=…` as a server to ask.
    pub fn of(id: Sid, member: &Member) -> Self {
        let election =
            member.addresses.iter().map(|address| (address.host.clone(), address.election_port)).collect();
        let client =
            member.client.as_ref().map(|(host, port)| match (is_any(host), member.addresses.first()) {
                (true, Some(address)) => (address.host.clone(), *port),
                _ => (host.clone(), *port),
            });
        Self { id: Some(id), role: member.role, client, host: None, guessed: false, election }
    }

    /// The address to show.
    pub fn address(&self) -> String {
        let shown = self.client.as_ref().filter(|_| !self.guessed).or(self.election.first());
        let shown = shown.or(self.client.as_ref());
        shown.map_or_else(String::new, |(host, port)| show(self.host.as_ref().unwrap_or(host), *port))
    }

    /// `server 3 (z3:2181)`, or the address alone.
    pub fn name(&self) -> String {
        match self.id {
            Some(id) => format!("server {id} ({})", self.address()),
            None => self.address(),
        }
    }
}

/// `host:port`, an IPv6 address in brackets.
pub fn show(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// An address that only says "all my own".
fn is_any(host: &str) -> bool {
    matches!(host, "0.0.0.0" | "::" | "0:0:0:0:0:0:0:0")
}

/// An ensemble, or one server alone (`config` without members).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ensemble {
    pub config: Config,
    pub servers: Vec<Server>,
    /// The number of the server whose file was read.
    pub own: Option<Sid>,
}

/// Reads a server's `zoo.cfg`, with its dynamic file if there is one.
pub fn from_file(path: &Path) -> Result<Ensemble, String> {
    let fixed = Properties::load(path).map_err(|error| error.to_string())?;
    let dynamic = match fixed.get("dynamicConfigFile") {
        Some(file) => Properties::load(Path::new(file)).map_err(|error| error.to_string())?,
        None => Properties::new(),
    };
    let data_dir = fixed.get("dataDir").unwrap_or_default();
    let myid = std::fs::read_to_string(Path::new(data_dir).join("myid")).ok();
    let own = myid.and_then(|text| text.trim().parse().ok());
    from_properties(&fixed, &dynamic, own).map_err(|error| format!("{}: {error}", path.display()))
}

fn from_properties(fixed: &Properties, dynamic: &Properties, own: Option<Sid>) -> Result<Ensemble, String> {
    let lines = fixed.iter().chain(dynamic.iter());
    let config = Config::from_lines(lines).map_err(|error| error.to_string())?;
    let client_port: Option<u16> = fixed.get("clientPort").and_then(|port| port.trim().parse().ok());
    let bound = fixed.get("clientPortAddress").map(str::trim).filter(|host| !is_any(host));
    let own_host = bound.unwrap_or("localhost").to_owned();
    if config.members.is_empty() {
        let port = client_port.ok_or("neither server lines nor a clientPort")?;
        return Ok(Ensemble { config, servers: vec![Server::at((own_host, port))], own: None });
    }
    let mut servers: Vec<Server> =
        config.members.iter().map(|(id, member)| Server::of(*id, member)).collect();
    for server in &mut servers {
        match (client_port, &server.client) {
            (Some(port), None) if server.id == own && own.is_some() => {
                server.client = Some((own_host.clone(), port));
                server.host = match bound {
                    Some(_) => None,
                    None => server.election.first().map(|(host, _)| host.clone()),
                };
            }
            (Some(port), None) => {
                server.client = server.election.first().map(|(host, _)| (host.clone(), port));
                server.guessed = true;
            }
            _ => {}
        }
    }
    Ok(Ensemble { config, servers, own })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ensemble(fixed: &str, dynamic: &str, own: Option<Sid>) -> Ensemble {
        let parse = |text| Properties::parse(text).expect("parses");
        from_properties(&parse(fixed), &parse(dynamic), own).expect("makes sense")
    }

    fn client(ensemble: &Ensemble, index: usize) -> Option<(&str, u16, bool)> {
        let server = &ensemble.servers[index];
        server.client.as_ref().map(|(host, port)| (host.as_str(), *port, server.guessed))
    }

    #[test]
    fn the_client_port_of_a_static_file_is_ones_own_and_a_guess_for_the_others() {
        let text = "clientPort=2181\nserver.1=z1:3188:3288\nserver.2=z2:3188:3288\n";
        let ensemble = ensemble(text, "", Some(2));
        assert_eq!(client(&ensemble, 0), Some(("z1", 2181, true)));
        assert_eq!(client(&ensemble, 1), Some(("localhost", 2181, false)));
        assert_eq!(ensemble.servers[0].address(), "z1:3288", "a guess is not shown");
    }

    #[test]
    fn a_dynamic_file_tells_every_client_address() {
        let dynamic = "server.1=z1:1:2:participant;0.0.0.0:2181\nserver.5=z5:1:2:observer;[::1]:2182\n";
        let ensemble = ensemble("dataDir=/d\n", dynamic, None);
        assert_eq!(client(&ensemble, 0), Some(("z1", 2181, false)));
        assert_eq!(client(&ensemble, 1), Some(("::1", 2182, false)));
        assert_eq!(ensemble.servers[1].name(), "server 5 ([::1]:2182)");
    }

    #[test]
    fn a_file_without_server_lines_is_one_server() {
        let alone = ensemble("clientPort=2181\nclientPortAddress=10.0.0.1\n", "", None);
        assert_eq!((alone.servers.len(), client(&alone, 0)), (1, Some(("10.0.0.1", 2181, false))));
    }
}
