//! Who a session is and what it may do: authentication schemes, ACL checks, ACL validation.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use zk_proto::{Acl, ClientInfo, ErrorCode, Id, perms};

/// Which schemes exist and who is above the rules.
#[derive(Debug, Clone, Default)]
pub struct AuthRules {
    /// `skipACL=yes`: nobody is refused anything.
    pub skip_acl: bool,
    /// `DigestAuthenticationProvider.enabled=false`.
    pub digest_disabled: bool,
    /// `DigestAuthenticationProvider.superDigest`: `user:base64(sha1(user:password))` of the super user.
    pub super_digest: Option<String>,
    /// The x509 scheme exists when TLS with client certificates is served.
    pub x509_enabled: bool,
    /// `X509AuthenticationProvider.superUser`: a subject that matches every x509 entry.
    pub x509_super_user: Option<String>,
}

/// Scheme of an identity that passes every check.
pub const SUPER_SCHEME: &str = "super";

/// A scheme with rules of its own. `world` and `auth` are words of the ACL language, not schemes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Ip,
    Digest,
    X509,
}

impl AuthRules {
    fn scheme(&self, name: &str) -> Option<Scheme> {
        match name {
            "ip" => Some(Scheme::Ip),
            "digest" if !self.digest_disabled => Some(Scheme::Digest),
            "x509" if self.x509_enabled => Some(Scheme::X509),
            _ => None,
        }
    }

    /// May somebody with these identities do one of `perm`? No list at all permits everything
    /// (`ZooKeeperServer.checkACL`).
    pub fn permits(&self, acl: Option<&[Acl]>, perm: i32, auth: &[Id]) -> bool {
        let Some(acl) = acl else { return true };
        if self.skip_acl || acl.is_empty() {
            return true;
        }
        // Most lists open with world:anyone; looking there first changes no answer.
        if acl.iter().any(|a| a.perms & perm != 0 && a.id.is_anyone()) {
            return true;
        }
        auth.iter().any(|id| id.scheme == SUPER_SCHEME)
            || acl.iter().filter(|a| a.perms & perm != 0).any(|a| self.matches_any(auth, &a.id))
    }

    fn matches_any(&self, auth: &[Id], entry: &Id) -> bool {
        let Some(scheme) = self.scheme(&entry.scheme) else { return false };
        auth.iter().filter(|id| id.scheme == entry.scheme).any(|id| match scheme {
            Scheme::Ip => ip_matches(&id.id, &entry.id),
            Scheme::Digest => id.id == entry.id,
            Scheme::X509 => id.id == entry.id || self.x509_super_user.as_ref() == Some(&id.id),
        })
    }

    /// Checks a list somebody wants to set and replaces `auth` entries by the caller's identities
    /// (`PrepRequestProcessor.fixupACL`).
    pub fn fixup(&self, acl: Vec<Acl>, auth: &[Id]) -> Result<Vec<Acl>, ErrorCode> {
        if let [only] = acl.as_slice()
            && only.id.is_anyone()
        {
            return Ok(acl);
        }
        let mut unique: Vec<Acl> = Vec::with_capacity(acl.len());
        for entry in acl {
            if !unique.contains(&entry) {
                unique.push(entry);
            }
        }
        if unique.is_empty() {
            return Err(ErrorCode::InvalidAcl);
        }
        let mut fixed = Vec::with_capacity(unique.len());
        for entry in unique {
            if entry.id.is_anyone() {
                fixed.push(entry);
            } else if entry.id.scheme == "auth" {
                let before = fixed.len();
                let known = |id: &&Id| matches!(self.scheme(&id.scheme), Some(Scheme::Digest | Scheme::X509));
                fixed.extend(auth.iter().filter(known).map(|id| Acl::new(entry.perms, id.clone())));
                if fixed.len() == before {
                    return Err(ErrorCode::InvalidAcl);
                }
            } else if self.is_valid(&entry.id) {
                fixed.push(entry);
            } else {
                return Err(ErrorCode::InvalidAcl);
            }
        }
        Ok(fixed)
    }

    fn is_valid(&self, id: &Id) -> bool {
        match self.scheme(&id.scheme) {
            Some(Scheme::Ip) => IpPattern::parse(&id.id).is_some(),
            Some(Scheme::Digest) => is_user_and_digest(&id.id),
            Some(Scheme::X509) => is_distinguished_name(&id.id),
            None => false,
        }
    }

    /// Checks credentials a session presents. The identities are to be added to its own; `None` refuses them,
    /// upon which Apache answers AuthFailed and closes the connection.
    pub fn authenticate(&self, scheme: &str, credentials: &[u8], peer: IpAddr) -> Option<Vec<Id>> {
        match self.scheme(scheme)? {
            Scheme::Digest => {
                let digest = generate_digest(&String::from_utf8_lossy(credentials));
                let mut ids = Vec::new();
                if self.super_digest.as_deref() == Some(digest.as_str()) {
                    ids.push(Id::new(SUPER_SCHEME, ""));
                }
                ids.push(Id::new("digest", digest));
                Some(ids)
            }
            Scheme::Ip => Some(vec![ip_id(peer)]),
            // Certificates are checked in the TLS handshake, not presented in a packet.
            Scheme::X509 => None,
        }
    }

    /// What whoAmI tells: the user names of a session's identities (`AuthUtil.getClientInfos`).
    pub fn client_infos(&self, auth: &[Id]) -> Vec<ClientInfo> {
        let user = |id: &Id| match self.scheme(&id.scheme) {
            None => String::new(),
            Some(Scheme::Digest) => id.id.split(':').next().unwrap_or_default().to_owned(),
            Some(Scheme::Ip | Scheme::X509) => id.id.clone(),
        };
        auth.iter().map(|id| ClientInfo { auth_scheme: id.scheme.clone(), user: user(id) }).collect()
    }

    /// A list as somebody may see it: without ADMIN the digests are hidden (ZOOKEEPER-3979).
    pub fn visible(&self, acl: &[Acl], auth: &[Id]) -> Vec<Acl> {
        let mut visible = acl.to_vec();
        if !self.permits(Some(acl), perms::ADMIN, auth) {
            for entry in visible.iter_mut().filter(|entry| entry.id.scheme == "digest") {
                if let Some(colon) = entry.id.id.find(':') {
                    entry.id.id.replace_range(colon.., ":x");
                }
            }
        }
        visible
    }
}

/// The identity every connection starts with.
pub fn ip_id(peer: IpAddr) -> Id {
    Id::new("ip", peer.to_canonical().to_string())
}

/// `user:base64(sha1(user:password))` of `user:password`.
pub fn generate_digest(user_and_password: &str) -> String {
    let user = user_and_password.split(':').next().unwrap_or_default();
    let hash = Sha1::digest(user_and_password.as_bytes());
    format!("{user}:{}", STANDARD.encode(hash))
}

/// Two parts around colons, of which trailing empty ones do not count (Java's `split`).
fn is_user_and_digest(id: &str) -> bool {
    let counted = id.trim_end_matches(':');
    !counted.is_empty() && counted.split(':').count() == 2
}

/// A plausible RFC 2253 name: comma-separated `key=value` parts.
fn is_distinguished_name(id: &str) -> bool {
    id.split(',').all(|part| part.split_once('=').is_some_and(|(key, _)| !key.trim().is_empty()))
}

/// `a.b.c.d[/bits]`. Only IPv4, as in Apache.
struct IpPattern {
    address: u32,
    bits: u32,
}

impl IpPattern {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, bits.parse::<i32>().ok()?),
            None => (text, 32),
        };
        let bits = u32::try_from(bits).ok().filter(|bits| *bits <= 32)?;
        Some(Self { address: parse_v4(address)?, bits })
    }

    fn masked(&self, address: u32) -> u32 {
        let host_bits = 32 - self.bits;
        address.checked_shr(host_bits).unwrap_or(0)
    }
}

fn ip_matches(id: &str, pattern: &str) -> bool {
    match (IpPattern::parse(pattern), parse_v4(id)) {
        (Some(pattern), Some(address)) => pattern.masked(address) == pattern.masked(pattern.address),
        _ => false,
    }
}

/// Four decimal parts; more lenient than the standard library, as Java's `parseInt` is.
fn parse_v4(text: &str) -> Option<u32> {
    let mut parts = text.split('.');
    let mut address = 0u32;
    for _ in 0..4 {
        let part = parts.next()?.parse::<i32>().ok()?;
        address = address << 8 | u32::from(u8::try_from(part).ok()?);
    }
    if parts.next().is_some() { None } else { Some(address) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest_acl(id: &str) -> Vec<Acl> {
        vec![Acl::new(perms::ALL, Id::new("digest", id))]
    }

    #[test]
    fn the_digest_of_the_manuals_example() {
        // DigestAuthenticationProvider's well-known super:test
        assert_eq!(generate_digest("super:test"), "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
    }

    #[test]
    fn the_super_user_passes_every_check() {
        let rules = AuthRules {
            super_digest: Some("super:D/InIHSb7yEEbrWz8b9l71RjZJU=".into()),
            ..AuthRules::default()
        };
        let peer = IpAddr::from([127, 0, 0, 1]);
        let ids = rules.authenticate("digest", b"super:test", peer).expect("digest always authenticates");
        assert_eq!(ids[0], Id::new("super", ""));
        assert!(rules.permits(Some(&digest_acl("a:b")), perms::WRITE, &ids));
        let other = rules.authenticate("digest", b"super:wrong", peer).expect("as above");
        assert!(!rules.permits(Some(&digest_acl("a:b")), perms::WRITE, &other));
    }

    #[test]
    fn unknown_schemes_are_refused() {
        let rules = AuthRules::default();
        let peer = IpAddr::from([10, 1, 2, 3]);
        assert_eq!(rules.authenticate("kerberos", b"", peer), None);
        assert_eq!(rules.authenticate("ip", b"", peer), Some(vec![Id::new("ip", "10.1.2.3")]));
    }

    #[test]
    fn ip_entries_match_by_prefix() {
        let check =
            |pattern: &str, id: &str, expect: bool| assert_eq!(ip_matches(id, pattern), expect, "{pattern}");
        check("10.1.2.3", "10.1.2.3", true);
        check("10.1.2.3", "10.1.2.4", false);
        check("10.1.0.0/16", "10.1.200.4", true);
        check("10.1.0.0/16", "10.2.0.4", false);
        check("0.0.0.0/0", "1.2.3.4", true);
        check("10.1.2.3/33", "10.1.2.3", false);
        check("10.1.2.3", "::1", false);
    }

    #[test]
    fn fixup_checks_each_scheme() {
        let rules = AuthRules { x509_enabled: true, ..AuthRules::default() };
        let check = |scheme: &str, id: &str, valid: bool| {
            let got = rules.fixup(vec![Acl::new(1, Id::new(scheme, id))], &[]);
            assert_eq!(got.is_ok(), valid, "{scheme}:{id}");
        };
        check("world", "anyone", true);
        check("world", "nobody", false);
        check("digest", "a:b", true);
        check("digest", "a:b:", true);
        check("digest", "a", false);
        check("digest", "a:b:c", false);
        check("digest", ":", false);
        check("ip", "127.0.0.1", true);
        check("ip", "127.0.0.1/8", true);
        check("ip", "localhost", false);
        check("ip", "127.0.0.256", false);
        check("x509", "CN=a,O=b", true);
        check("x509", "a", false);
        check("super", "", false);
        check("auth", "", false);
        check("", "x", false);
    }

    #[test]
    fn an_empty_list_is_invalid() {
        assert_eq!(AuthRules::default().fixup(Vec::new(), &[]), Err(ErrorCode::InvalidAcl));
    }

    #[test]
    fn auth_entries_become_the_callers_identities_and_duplicates_go() {
        let rules = AuthRules::default();
        let auth = [Id::new("ip", "1.2.3.4"), Id::new("digest", "u:h"), Id::new("digest", "v:h")];
        let entry = Acl::new(perms::READ, Id::new("auth", ""));
        assert_eq!(
            rules.fixup(vec![entry.clone(), entry], &auth),
            Ok(vec![
                Acl::new(perms::READ, Id::new("digest", "u:h")),
                Acl::new(perms::READ, Id::new("digest", "v:h"))
            ])
        );
    }

    #[test]
    fn digests_are_hidden_from_who_may_not_administrate() {
        let rules = AuthRules::default();
        let mut acl = digest_acl("u:secret");
        acl.extend(Acl::read_only());
        assert_eq!(rules.visible(&acl, &[])[0].id.id, "u:x");
        assert_eq!(rules.visible(&acl, &[Id::new("digest", "u:secret")])[0].id.id, "u:secret");
    }

    #[test]
    fn who_am_i_names_users_without_their_digests() {
        let auth = [Id::new("ip", "1.2.3.4"), Id::new("digest", "u:h"), Id::new("super", "")];
        let infos = AuthRules::default().client_infos(&auth);
        let users: Vec<_> = infos.iter().map(|i| (i.auth_scheme.as_str(), i.user.as_str())).collect();
        assert_eq!(users, [("ip", "1.2.3.4"), ("digest", "u"), ("super", "")]);
    }
}
