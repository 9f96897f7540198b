//! `listeners`, `advertised.listeners` and `listener.security.protocol.map`: where the broker binds and what it tells clients.
//!
//! Rules and words follow `KafkaConfig.validateValues` and `CoreUtils.listenerListToEndPoints`. Only PLAINTEXT is served
//! for now; a listener of another protocol refuses the start instead of serving clear text in its place.

use std::collections::BTreeMap;

use super::values::ConfigError;

/// How a listener is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl SecurityProtocol {
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "PLAINTEXT" => Self::Plaintext,
            "SSL" => Self::Ssl,
            "SASL_PLAINTEXT" => Self::SaslPlaintext,
            "SASL_SSL" => Self::SaslSsl,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// The number in `UpdateMetadata` requests.
    pub fn id(self) -> i16 {
        match self {
            Self::Plaintext => 0,
            Self::Ssl => 1,
            Self::SaslPlaintext => 2,
            Self::SaslSsl => 3,
        }
    }
}

/// One endpoint of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Upper-case, e.g. `PLAINTEXT` or `INTERNAL`.
    pub name: String,
    pub protocol: SecurityProtocol,
    /// `None` in `listeners` means the default interface; never `None` in what is advertised.
    pub host: Option<String>,
    /// 0 in `listeners` lets the system choose.
    pub port: u16,
}

impl Listener {
    /// `NAME://host:port`, as in `/brokers/ids/<id>`.
    pub fn connection_string(&self) -> String {
        match &self.host {
            Some(host) if host.contains(':') => format!("{}://[{host}]:{}", self.name, self.port),
            Some(host) => format!("{}://{host}:{}", self.name, self.port),
            None => format!("{}://:{}", self.name, self.port),
        }
    }
}

/// All that concerns listeners, consistent with itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listeners {
    pub bind: Vec<Listener>,
    /// Subset of `bind` by name. A port of 0 is replaced by the bound one at start.
    pub advertised: Vec<Listener>,
    /// The listener other brokers use.
    pub inter_broker: String,
    pub protocols: BTreeMap<String, SecurityProtocol>,
}

/// The raw texts the endpoints come from.
#[derive(Debug, Default, Clone, Copy)]
pub struct ListenerTexts<'a> {
    pub listeners: Option<&'a str>,
    pub advertised: Option<&'a str>,
    pub protocol_map: &'a str,
    pub inter_broker_listener: Option<&'a str>,
    pub inter_broker_protocol: Option<&'a str>,
    /// 2.7.1's `host.name`, `port`, `advertised.host.name`, `advertised.port`.
    pub host_name: Option<&'a str>,
    pub port: Option<&'a str>,
    pub advertised_host_name: Option<&'a str>,
    pub advertised_port: Option<&'a str>,
}

impl Listeners {
    pub fn parse(texts: &ListenerTexts<'_>) -> Result<Self, ConfigError> {
        let protocols = protocol_map(texts.protocol_map)?;
        let default_bind =
            format!("PLAINTEXT://{}:{}", texts.host_name.unwrap_or(""), texts.port.unwrap_or("9092"));
        let bind_text = texts.listeners.filter(|t| !t.is_empty()).unwrap_or(&default_bind);
        let bind = endpoints("listeners", bind_text, &protocols)?;
        distinct_ports(&bind, bind_text)?;
        let advertised = match texts.advertised.filter(|t| !t.is_empty()) {
            Some(text) => endpoints("advertised.listeners", text, &protocols)?,
            None => legacy_advertised(texts, &bind)?,
        };
        let inter_broker = inter_broker_name(texts)?;
        let listeners = Self { bind, advertised, inter_broker, protocols };
        listeners.check()?;
        Ok(listeners)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let names = |list: &[Listener]| list.iter().map(|l| l.name.as_str()).collect::<Vec<_>>().join(",");
        let rule = |text: String| Err(ConfigError::Rule(text));
        if !self.advertised.iter().any(|l| l.name == self.inter_broker) {
            return rule(format!(
                "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options based on currently configured listeners are {}",
                names(&self.advertised)
            ));
        }
        if !self.advertised.iter().all(|a| self.bind.iter().any(|b| b.name == a.name)) {
            return rule(format!(
                "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. Found {}. The valid options based on the current configuration are {}",
                names(&self.advertised),
                names(&self.bind)
            ));
        }
        if self.advertised.iter().any(|l| l.host.as_deref() == Some("0.0.0.0")) {
            return rule("advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.".to_owned());
        }
        for listener in &self.bind {
            if listener.protocol != SecurityProtocol::Plaintext {
                return Err(ConfigError::Unsupported {
                    key: "listeners".to_owned(),
                    value: listener.connection_string(),
                    reason: format!("{} is not served yet, only PLAINTEXT is", listener.protocol.name()),
                });
            }
        }
        Ok(())
    }
}

fn protocol_map(text: &str) -> Result<BTreeMap<String, SecurityProtocol>, ConfigError> {
    let mut map = BTreeMap::new();
    for item in super::values::list(text) {
        let Some((name, protocol)) = item.rsplit_once(':') else {
            return Err(ConfigError::invalid(
                "listener.security.protocol.map",
                text,
                "expected NAME:PROTOCOL pairs",
            ));
        };
        let Some(protocol) = SecurityProtocol::parse(protocol.trim()) else {
            return Err(ConfigError::Rule(format!(
                "No enum constant org.apache.kafka.common.security.auth.SecurityProtocol.{protocol}"
            )));
        };
        map.insert(name.trim().to_ascii_uppercase(), protocol);
    }
    Ok(map)
}

fn endpoints(
    key: &str,
    text: &str,
    protocols: &BTreeMap<String, SecurityProtocol>,
) -> Result<Vec<Listener>, ConfigError> {
    let mut list: Vec<Listener> = Vec::new();
    for item in super::values::list(text) {
        let wrong = |why: String| {
            ConfigError::Rule(format!("Error creating broker listeners from '{text}' ({key}): {why}"))
        };
        let (name, host, port) =
            split(&item).ok_or_else(|| wrong(format!("Unable to parse {item} to a broker endpoint")))?;
        let name = name.to_ascii_uppercase();
        let protocol = *protocols
            .get(&name)
            .ok_or_else(|| wrong(format!("No security protocol defined for listener {name}; add {name}:PLAINTEXT to listener.security.protocol.map")))?;
        if list.iter().any(|l| l.name == name) {
            return Err(ConfigError::Rule(format!(
                "Each listener must have a different name, listeners: {text}"
            )));
        }
        let host = Some(host).filter(|h| !h.is_empty()).map(str::to_owned);
        list.push(Listener { name, protocol, host, port });
    }
    Ok(list)
}

/// Cuts `NAME://host:port`; an IPv6 address stands in brackets.
fn split(item: &str) -> Option<(&str, &str, u16)> {
    let (name, rest) = item.split_once("://")?;
    let (host, port) = rest.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    Some((name, host, port.parse().ok()?))
}

fn distinct_ports(list: &[Listener], text: &str) -> Result<(), ConfigError> {
    for (at, one) in list.iter().enumerate().filter(|(_, l)| l.port != 0) {
        for other in list[at + 1..].iter().filter(|l| l.port == one.port) {
            let v4 =
                |l: &Listener| l.host.as_deref().is_some_and(|h| h.parse::<std::net::Ipv4Addr>().is_ok());
            let v6 =
                |l: &Listener| l.host.as_deref().is_some_and(|h| h.parse::<std::net::Ipv6Addr>().is_ok());
            if !(v4(one) && v6(other) || v6(one) && v4(other)) {
                return Err(ConfigError::Rule(format!(
                    "Each listener must have a different port, listeners: {text}"
                )));
            }
        }
    }
    Ok(())
}

/// Without `advertised.listeners`: `advertised.host.name`/`advertised.port` (2.7.1), else what is bound, the machine's
/// name standing in for an unnamed host.
fn legacy_advertised(texts: &ListenerTexts<'_>, bind: &[Listener]) -> Result<Vec<Listener>, ConfigError> {
    let mut advertised = bind.to_vec();
    for listener in &mut advertised {
        if let Some(host) = texts.advertised_host_name {
            listener.host = Some(host.to_owned());
        }
        if let Some(port) = texts.advertised_port {
            listener.port = port
                .parse()
                .map_err(|_| ConfigError::invalid("advertised.port", port, "Not a number of type INT"))?;
        }
        if listener.host.is_none() {
            listener.host = Some(own_host_name());
        }
    }
    Ok(advertised)
}

/// What Java's `InetAddress.getLocalHost().getCanonicalHostName()` gives when the resolver knows nothing better.
fn own_host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

fn inter_broker_name(texts: &ListenerTexts<'_>) -> Result<String, ConfigError> {
    match (texts.inter_broker_listener, texts.inter_broker_protocol) {
        (Some(_), Some(_)) => Err(ConfigError::Rule(
            "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set."
                .to_owned(),
        )),
        (Some(name), None) => Ok(name.to_ascii_uppercase()),
        (None, protocol) => {
            let protocol = protocol.unwrap_or("PLAINTEXT");
            let wanted = SecurityProtocol::parse(protocol).ok_or_else(|| {
                ConfigError::invalid(
                    "security.inter.broker.protocol",
                    protocol,
                    "String must be one of: PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL",
                )
            })?;
            // Kafka takes the protocol's own name as the listener's name.
            Ok(wanted.name().to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL";

    fn parse(texts: ListenerTexts<'_>) -> Result<Listeners, String> {
        let texts = ListenerTexts {
            protocol_map: if texts.protocol_map.is_empty() { MAP } else { texts.protocol_map },
            ..texts
        };
        Listeners::parse(&texts).map_err(|e| e.to_string())
    }

    #[test]
    fn nothing_set_binds_9092_everywhere_and_advertises_the_machine() {
        let listeners = parse(ListenerTexts::default()).expect("defaults");
        assert_eq!(listeners.bind[0].connection_string(), "PLAINTEXT://:9092");
        assert!(listeners.advertised[0].host.is_some());
        assert_eq!(listeners.inter_broker, "PLAINTEXT");
    }

    #[test]
    fn named_listeners_take_their_protocol_from_the_map() {
        let listeners = parse(ListenerTexts {
            listeners: Some("internal://127.0.0.1:9092,EXTERNAL://[::1]:9093"),
            protocol_map: "INTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT",
            inter_broker_listener: Some("INTERNAL"),
            ..Default::default()
        })
        .expect("valid");
        assert_eq!(listeners.bind[0].name, "INTERNAL");
        assert_eq!(listeners.bind[1].connection_string(), "EXTERNAL://[::1]:9093");
    }

    #[test]
    fn mistakes_are_named() {
        let check = |texts: ListenerTexts<'_>, part: &str| {
            let error = parse(texts).expect_err(part);
            assert!(error.contains(part), "{error}");
        };
        check(
            ListenerTexts { listeners: Some("PLAINTEXT://a"), ..Default::default() },
            "Unable to parse PLAINTEXT://a to a broker endpoint",
        );
        check(
            ListenerTexts { listeners: Some("X://a:1"), ..Default::default() },
            "No security protocol defined for listener X",
        );
        check(
            ListenerTexts { listeners: Some("PLAINTEXT://a:1,PLAINTEXT://b:2"), ..Default::default() },
            "different name",
        );
        check(
            ListenerTexts { listeners: Some("PLAINTEXT://a:1,SSL://b:1"), ..Default::default() },
            "different port",
        );
        check(
            ListenerTexts { listeners: Some("PLAINTEXT://0.0.0.0:1"), ..Default::default() },
            "nonroutable meta-address 0.0.0.0",
        );
        check(
            ListenerTexts { listeners: Some("PLAINTEXT://a:1,SSL://b:2"), ..Default::default() },
            "SSL is not served yet",
        );
    }
}
