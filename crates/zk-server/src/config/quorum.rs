//! The `server.N` lines: how many servers the file speaks of, and whether that means standalone.
//!
//! Only what a single server needs is taken from them: its number and the client address after `;`.

use std::path::Path;

use properties::Properties;

use super::ConfigError;
use super::settings::Settings;

/// What the file says about the ensemble.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Quorum {
    /// (N, value) of every `server.N` line.
    pub(crate) servers: Vec<(u64, String)>,
}

impl Quorum {
    /// Collects the lines from zoo.cfg, or from `dynamicConfigFile` when that is named.
    pub(crate) fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let Some(dynamic) = settings.text("dynamicConfigFile") else {
            return Self::collect(settings.iter());
        };
        if let Some((key, _)) = settings.iter().find(|(k, _)| k.starts_with("server.")) {
            return Err(ConfigError::InDynamicFileOnly { key: key.to_owned() });
        }
        let lines = Properties::load(Path::new(dynamic))?;
        Self::collect(lines.iter())
    }

    fn collect<'a>(lines: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, ConfigError> {
        let mut servers = Vec::new();
        for (key, value) in lines {
            let Some(number) = key.strip_prefix("server.") else { continue };
            let id = number.parse().map_err(|_| ConfigError::ServerLine {
                line: format!("{key}={value}"),
                what: "the part after `server.` must be a number from 1 to 255",
            })?;
            servers.push((id, value.to_owned()));
        }
        Ok(Self { servers })
    }

    /// The standalone decision of `QuorumPeerMain`: no server lines, or one with `standaloneEnabled`.
    pub(crate) fn check_standalone(&self, standalone_enabled: bool) -> Result<(), ConfigError> {
        match self.servers.len() {
            0 => Ok(()),
            1 if standalone_enabled => Ok(()),
            1 => Err(ConfigError::EnsembleOfOne),
            n => Err(ConfigError::Ensemble {
                count: n,
                ids: self.servers.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// Client port and host of the only server line: `…;[host:]port`.
    pub(crate) fn client_address(&self) -> Result<Option<(Option<String>, u16)>, ConfigError> {
        let Some((id, value)) = self.servers.first() else { return Ok(None) };
        let Some((_, client)) = value.split_once(';') else { return Ok(None) };
        let (host, port) = match client.rsplit_once(':') {
            Some((host, port)) => (Some(host.trim_matches(['[', ']']).to_owned()), port),
            None => (None, client),
        };
        let port = port.trim().parse().map_err(|_| ConfigError::ServerLine {
            line: format!("server.{id}={value}"),
            what: "the part after `;` must be [host:]clientPort",
        })?;
        Ok(Some((host, port)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quorum(value: &str) -> Quorum {
        Quorum { servers: vec![(1, value.to_owned())] }
    }

    #[test]
    fn the_client_part_may_carry_an_ipv6_host() {
        let got = quorum("h:2888:3888:participant;[::1]:2181").client_address();
        assert_eq!(got.ok().flatten(), Some((Some("::1".to_owned()), 2181)));
        assert_eq!(quorum("h:2888:3888").client_address().ok().flatten(), None);
        assert_eq!(quorum("h:2888:3888;2182").client_address().ok().flatten(), Some((None, 2182)));
    }
}
