//! Whose request is it? The `Host` header decides, and it is the client's: it is parsed here, once, into what the
//! rest of the proxy needs, and what does not parse goes no further.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Names by which the machine itself calls; they always mean the console, whatever the base domain.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The longest name DNS knows.
const MAX_HOST: usize = 253;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Site {
    Console,
    /// The label before the base domain.
    Environment(String),
    /// A sound name that is nothing of ours.
    Foreign,
}

/// The console's host name, without its port: browsers may come through another one (a tunnel, a front proxy).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseDomain(String);

impl BaseDomain {
    pub fn parse(text: &str) -> Option<Self> {
        parse_host(text).map(Self)
    }

    /// None when the host is not a host name at all.
    pub fn site(&self, host: &str) -> Option<Site> {
        let host = parse_host(host)?;
        if host == self.0 || LOOPBACK_NAMES.contains(&host.as_str()) {
            return Some(Site::Console);
        }
        Some(match host.strip_suffix(&self.0).and_then(|rest| rest.strip_suffix('.')) {
            Some(label) if !label.contains('.') => Site::Environment(label.to_owned()),
            _ => Site::Foreign,
        })
    }
}

/// `Name.Example:3000` -> `name.example`. Nothing but a name or an address and a port passes: no user, no path,
/// no percent signs, no empty labels, no underscores.
fn parse_host(text: &str) -> Option<String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        if !port.is_empty() {
            parse_port(port.strip_prefix(':')?)?;
        }
        return address.parse::<Ipv6Addr>().ok().map(|address| address.to_string());
    }
    let name = match text.split_once(':') {
        Some((name, port)) => {
            parse_port(port)?;
            name
        }
        None => text,
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if name.len() > MAX_HOST || !name.split('.').all(is_label) {
        return None;
    }
    // `127.1` and `0x7f.1` are addresses to some resolvers; only the plain form is one here.
    let last = name.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    if numeric && name.parse::<Ipv4Addr>().is_err() {
        return None;
    }
    Some(name)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn parse_port(port: &str) -> Option<u16> {
    // `parse` alone would take a sign.
    port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::{BaseDomain, Site};
    use proptest::prelude::*;

    fn environment(label: &str) -> Option<Site> {
        Some(Site::Environment(label.to_owned()))
    }

    #[test]
    fn hosts() {
        let base = BaseDomain::parse("localhost:3000").unwrap();
        let long_label = "a".repeat(64);
        let long_name = "a.".repeat(130) + "localhost";
        for (host, site) in [
            ("localhost:3000", Some(Site::Console)),
            ("localhost", Some(Site::Console)),
            ("LOCALHOST:3000", Some(Site::Console)),
            ("localhost.:3000", Some(Site::Console)),
            ("127.0.0.1:3000", Some(Site::Console)),
            ("[::1]:3000", Some(Site::Console)),
            ("[::1]", Some(Site::Console)),
            ("library-main-0a1b2c.localhost:3000", environment("library-main-0a1b2c")),
            ("Library-MAIN-0a1b2c.LocalHost", environment("library-main-0a1b2c")),
            ("a.b.localhost", Some(Site::Foreign)),
            ("example.com", Some(Site::Foreign)),
            ("localhost.example.com", Some(Site::Foreign)),
            ("evillocalhost", Some(Site::Foreign)),
            ("127.0.0.2", Some(Site::Foreign)),
            ("127.1", None),
            ("0x7f.1", None),
            ("0x7f000001", None),
            ("2130706433", None),
            ("", None),
            (":3000", None),
            (".", None),
            ("..", None),
            (".localhost", None),
            ("a..localhost", None),
            ("../../etc/passwd", None),
            ("a.b@c", None),
            ("a@localhost", None),
            ("a.localhost/x", None),
            ("a.localhost#", None),
            ("a.localhost?x", None),
            ("a.localhost\\x", None),
            ("a%2elocalhost", None),
            ("a b.localhost", None),
            ("a_b.localhost", None),
            ("-a.localhost", None),
            ("a-.localhost", None),
            ("a.localhost:", None),
            ("a.localhost:x", None),
            ("a.localhost:+80", None),
            ("a.localhost:65536", None),
            ("a.localhost:80:80", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[a.localhost]", None),
            ("é.localhost", None),
            (&format!("{long_label}.localhost"), None),
            (&long_name, None),
        ] {
            assert_eq!(base.site(host), site, "{host:?}");
        }
    }

    #[test]
    fn a_domain_of_one_s_own() {
        let base = BaseDomain::parse("ops.example.com").unwrap();
        assert_eq!(base.site("ops.example.com:8443"), Some(Site::Console));
        assert_eq!(base.site("x.ops.example.com"), environment("x"));
        assert_eq!(base.site("example.com"), Some(Site::Foreign));
        assert_eq!(base.site("xops.example.com"), Some(Site::Foreign));
        assert_eq!(base.site("localhost"), Some(Site::Console));
        assert_eq!(BaseDomain::parse("https://ops.example.com"), None);
    }

    proptest! {
        #[test]
        fn what_passes_as_an_environment_is_a_label(host in "\\PC{0,40}(\\.localhost)?(:[0-9]{0,6})?") {
            let base = BaseDomain::parse("localhost:3000").unwrap();
            if let Some(Site::Environment(label)) = base.site(&host) {
                prop_assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
                prop_assert!((1..=63).contains(&label.len()));
            }
        }
    }
}
