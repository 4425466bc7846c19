//! Which addresses a repository may be fetched from. A URL comes from a project's administrator, the request goes
//! out from inside the company: without this rule it would read what only the inside may see.

use super::{
    error::{GitError, Result},
    url::{GitUrl, Scheme},
};
use crate::address::is_public;
use std::net::IpAddr;

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
