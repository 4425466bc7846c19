use crate::address::is_public;
use http::Uri;
use http::uri::Authority;
use std::net::SocketAddr;

/// A host that builds may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    pub host: String,
    pub port: u16,
    /// The administrator named it: it may lie in a private network.
    pub private: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowList(Vec<AllowedHost>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    #[error("the package index is not a URL")]
    NotUrl,
    /// Only CONNECT is proxied, so that nobody on the way changes what is installed.
    #[error("the package index must be reached by https")]
    NotHttps,
    #[error("not a host name, or host:port")]
    NotHost,
}

const PYPI: &str = "pypi.org";
const PYPI_FILES: &str = "files.pythonhosted.org";

impl AllowList {
    /// The hosts of the package index: Python's own where none is configured. An index that keeps its files
    /// elsewhere needs those hosts too (`further`, as `host` or `host:port`).
    pub fn of_index(index_url: Option<&str>, further: &[String]) -> Result<Self, IndexError> {
        let mut hosts = Vec::new();
        let mut allow = |host: &str, port: u16| {
            let host = host.to_ascii_lowercase();
            let pypi = host == PYPI || host == PYPI_FILES;
            let entry = AllowedHost { host, port, private: !pypi };
            if !hosts.contains(&entry) {
                hosts.push(entry);
            }
        };
        match index_url {
            Some(url) => {
                let uri: Uri = url.parse().map_err(|_| IndexError::NotUrl)?;
                if uri.scheme_str().ok_or(IndexError::NotUrl)? != "https" {
                    return Err(IndexError::NotHttps);
                }
                let host = uri.host().filter(|host| !host.is_empty()).ok_or(IndexError::NotUrl)?;
                allow(host, uri.port_u16().unwrap_or(443));
                if host.eq_ignore_ascii_case(PYPI) {
                    allow(PYPI_FILES, 443);
                }
            }
            None => {
                allow(PYPI, 443);
                allow(PYPI_FILES, 443);
            }
        }
        for host in further {
            let authority: Authority = host.parse().map_err(|_| IndexError::NotHost)?;
            if authority.as_str().contains('@') || authority.host().is_empty() {
                return Err(IndexError::NotHost);
            }
            allow(authority.host(), authority.port_u16().unwrap_or(443));
        }
        Ok(Self(hosts))
    }

    /// One host, at public addresses only.
    #[cfg(test)]
    pub(super) fn only_public(host: &str, port: u16) -> Self {
        Self(vec![AllowedHost { host: host.to_owned(), port, private: false }])
    }

    /// The entry that a CONNECT request names. Exactly: no subdomains, no trailing dot, no address in place of the
    /// name, no other port.
    pub fn find(&self, authority: &Authority) -> Option<&AllowedHost> {
        if authority.as_str().contains('@') {
            return None;
        }
        let port = authority.port_u16()?;
        self.0.iter().find(|entry| entry.port == port && entry.host.eq_ignore_ascii_case(authority.host()))
    }
}

impl AllowedHost {
    /// Of the addresses that its name resolved to, those that may be dialled.
    pub fn admissible(&self, resolved: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
        resolved.into_iter().filter(|address| self.private || is_public(address.ip())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(list: &AllowList, authority: &str) -> bool {
        authority.parse().is_ok_and(|authority| list.find(&authority).is_some())
    }

    #[test]
    fn threat_06_only_the_index_is_found() {
        let list = AllowList::of_index(None, &[]).unwrap();
        for yes in ["pypi.org:443", "PyPI.org:443", "files.pythonhosted.org:443"] {
            assert!(found(&list, yes), "{yes}");
        }
        for no in [
            "pypi.org",
            "pypi.org:80",
            "pypi.org:22",
            "pypi.org.:443",
            "evil.pypi.org:443",
            "pypi.org.evil.com:443",
            "evilpypi.org:443",
            "user@pypi.org:443",
            "pypi.org@evil.com:443",
            "127.0.0.1:443",
            "[::1]:443",
            "localhost:443",
            "169.254.169.254:80",
            ":443",
            "",
            "github.com:443",
        ] {
            assert!(!found(&list, no), "{no}");
        }
    }

    #[test]
    fn a_configured_index_replaces_the_default() {
        let list = AllowList::of_index(
            Some("https://user:pw@pip.corp.example:8443/simple"),
            &["files.corp.example".into()],
        )
        .unwrap();
        assert!(found(&list, "pip.corp.example:8443") && found(&list, "files.corp.example:443"));
        assert!(!found(&list, "pypi.org:443") && !found(&list, "pip.corp.example:443"));
        let list = AllowList::of_index(Some("https://pypi.org/simple"), &[]).unwrap();
        assert_eq!(list, AllowList::of_index(None, &[]).unwrap());
    }

    #[test]
    fn an_index_must_be_https() {
        for (url, error) in [
            ("http://pypi.org/simple", IndexError::NotHttps),
            ("file:///srv/wheels", IndexError::NotUrl),
            ("pypi.org", IndexError::NotUrl),
            ("", IndexError::NotUrl),
        ] {
            assert_eq!(AllowList::of_index(Some(url), &[]), Err(error), "{url}");
        }
        assert_eq!(AllowList::of_index(None, &["a b".into()]), Err(IndexError::NotHost));
        assert_eq!(AllowList::of_index(None, &["u@host".into()]), Err(IndexError::NotHost));
    }

    #[test]
    fn threat_06_a_public_name_that_points_inside_is_not_dialled() {
        let list = AllowList::of_index(None, &[]).unwrap();
        let entry = list.find(&"pypi.org:443".parse().unwrap()).unwrap();
        let inside: SocketAddr = "169.254.169.254:443".parse().unwrap();
        let outside: SocketAddr = "151.101.0.223:443".parse().unwrap();
        assert_eq!(entry.admissible([inside]), []);
        assert_eq!(entry.admissible([inside, outside]), [outside]);
        let list = AllowList::of_index(Some("https://10.0.0.7/simple"), &[]).unwrap();
        let entry = list.find(&"10.0.0.7:443".parse().unwrap()).unwrap();
        let index: SocketAddr = "10.0.0.7:443".parse().unwrap();
        assert_eq!(entry.admissible([index]), [index]);
    }
}
