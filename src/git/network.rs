//! Which addresses a repository may be fetched from. A URL comes from a project's administrator, the request goes
//! out from inside the company: without this rule it would read what only the inside may see.

use super::{
    error::{GitError, Result},
    url::{GitUrl, Scheme},
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address belongs to the public internet. Addresses that carry an IPv4 address are judged by it.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = a == 0
        || a == 10
        || a == 127
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a == 169 && b == 254)
        || (a == 172 && (16..32).contains(&b))
        || (a == 192 && b == 168)
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19))
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113);
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(v4) = address.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let s = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match s {
        // NAT64 and 6to4 lead to an IPv4 address.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_public_v4(v4(high, low)),
        [0x2002, high, low, ..] => is_public_v4(v4(high, low)),
        // Teredo, ORCHID, benchmarks and documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

/// All addresses that a host has, or the refusal. One bad address refuses the host: which of them the connection
/// would take is not ours to say.
pub(super) fn decide(host: &str, addresses: &[IpAddr], allow_private: bool) -> Result<Vec<IpAddr>> {
    if addresses.is_empty() {
        return Err(GitError::HostUnknown { host: host.to_owned(), reason: "it has no address".to_owned() });
    }
    match addresses.iter().find(|address| !allow_private && !is_public(**address)) {
        Some(bad) => Err(GitError::HostRefused { host: host.to_owned(), address: bad.to_string() }),
        None => Ok(addresses.to_vec()),
    }
}

/// Resolves the host once. The connection then goes to these addresses and to no others, so that a name server that
/// answers differently the next time gains nothing.
pub(super) async fn resolve(url: &GitUrl, allow_private: bool) -> Result<Vec<IpAddr>> {
    if url.scheme() == Scheme::File {
        return Ok(Vec::new());
    }
    let host = url.host();
    let found = tokio::net::lookup_host((host, url.port()))
        .await
        .map_err(|error| GitError::HostUnknown { host: host.to_owned(), reason: error.to_string() })?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.dedup();
    decide(host, &addresses, allow_private)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for bad in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.8.8.8",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:c0a8:101::",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ] {
            assert!(!is_public(bad.parse().unwrap()), "{bad}");
        }
        for good in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.0.1",
            "223.255.255.255",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::1",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(is_public(good.parse().unwrap()), "{good}");
        }
    }

    /// A name server may answer with a public and a private address at once.
    #[test]
    fn one_private_address_refuses_the_host() {
        let mixed = ["1.1.1.1".parse().unwrap(), "127.0.0.1".parse().unwrap()];
        assert!(matches!(decide("x", &mixed, false), Err(GitError::HostRefused { .. })));
        assert_eq!(decide("x", &mixed, true).unwrap(), mixed);
        assert_eq!(decide("x", &mixed[..1], false).unwrap(), &mixed[..1]);
        assert!(matches!(decide("x", &[], true), Err(GitError::HostUnknown { .. })));
    }

    /// The resolver of the C library reads numbers in many ways; what counts is the address that comes out.
    #[tokio::test]
    async fn loopback_is_refused_however_it_is_written() {
        for text in [
            "127.0.0.1",
            "localhost",
            "2130706433",
            "0x7f000001",
            "017700000001",
            "127.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ] {
            let url = GitUrl::parse(&format!("https://{text}/a.git"), false).unwrap();
            let outcome = resolve(&url, false).await;
            assert!(
                matches!(outcome, Err(GitError::HostRefused { .. } | GitError::HostUnknown { .. })),
                "{text}: {outcome:?}"
            );
        }
        let url = GitUrl::parse("https://127.0.0.1/a.git", false).unwrap();
        assert_eq!(resolve(&url, true).await.unwrap(), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    }
}
