//! The address of a repository somewhere else. Only https and ssh; `file` where the administrator allows it. What
//! parses here can be given to git as an argument: it never looks like an option or a transport helper.

use super::error::{GitError, Result};
use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GitUrl {
    scheme: Scheme,
    user: Option<String>,
    /// Without brackets; empty for `file`.
    host: String,
    port: Option<u16>,
    /// With a leading slash, except for ssh paths that start in the home directory (`git@host:path`).
    path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    Https,
    Ssh,
    File,
}

impl GitUrl {
    pub const MAX: usize = 2000;

    /// Parses `https://host/path`, `ssh://user@host/path` and `user@host:path`; `file:///path` when `allow_file`.
    pub fn parse(text: &str, allow_file: bool) -> Result<Self> {
        let refuse = |reason| Err(refused(text, reason));
        if text.is_empty() || text.len() > Self::MAX {
            return refuse("it is empty or too long");
        }
        if text
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || matches!(c, '\\' | '"' | '\'' | '`' | '<' | '>'))
        {
            return refuse("it contains a character that no URL has");
        }
        if text.starts_with('-') {
            return refuse("it starts with a dash");
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return match scheme {
                "https" => Self::with_authority(text, Scheme::Https, rest),
                "ssh" | "git+ssh" | "ssh+git" => Self::with_authority(text, Scheme::Ssh, rest),
                "file" if allow_file => Self::file(text, rest),
                "file" => refuse("file URLs are not allowed on this installation"),
                "http" | "git" | "ftp" | "ftps" => {
                    refuse("the connection would not be encrypted: use https or ssh")
                }
                _ => refuse("only https and ssh are supported"),
            };
        }
        if text.contains("::") {
            return refuse("transport helpers are not allowed");
        }
        match text.split_once(':') {
            Some((authority, path)) if !authority.contains('/') => Self::scp(text, authority, path),
            _ => refuse("it is neither an https nor an ssh URL"),
        }
    }

    fn with_authority(text: &str, scheme: Scheme, rest: &str) -> Result<Self> {
        let refuse = |reason| Err(refused(text, reason));
        let Some((authority, path)) = rest.split_once('/') else {
            return refuse("the path is missing");
        };
        let (user, host_port) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if user.is_some_and(|user| user.contains(':')) || (scheme == Scheme::Https && user.is_some()) {
            return refuse("user names and passwords do not belong into the URL");
        }
        let (host, port) = if let Some(rest) = host_port.strip_prefix('[') {
            let Some((host, after)) = rest.split_once(']') else {
                return refuse("the host is not valid");
            };
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return refuse("the host is not valid");
            }
            (host, after.strip_prefix(':').or(if after.is_empty() { None } else { Some(after) }))
        } else {
            match host_port.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (host_port, None),
            }
        };
        let port = match port.map(str::parse::<u16>) {
            None => None,
            Some(Ok(port)) if port > 0 => Some(port),
            Some(_) => return refuse("the port is not valid"),
        };
        Self::checked(text, scheme, user, host, port, &format!("/{path}"))
    }

    fn scp(text: &str, authority: &str, path: &str) -> Result<Self> {
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if path.is_empty() {
            return Err(refused(text, "the path is missing"));
        }
        Self::checked(text, Scheme::Ssh, user, host, None, path)
    }

    fn file(text: &str, rest: &str) -> Result<Self> {
        let path = rest.strip_prefix("localhost").unwrap_or(rest);
        if !path.starts_with('/') {
            return Err(refused(text, "a file URL needs an absolute path"));
        }
        let path = path.to_owned();
        Ok(Self { scheme: Scheme::File, user: None, host: String::new(), port: None, path })
    }

    fn checked(
        text: &str,
        scheme: Scheme,
        user: Option<&str>,
        host: &str,
        port: Option<u16>,
        path: &str,
    ) -> Result<Self> {
        let refuse = |reason| Err(refused(text, reason));
        let plain = |s: &str| s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        let ipv6 = host.parse::<std::net::Ipv6Addr>().is_ok();
        if host.is_empty() || host.len() > 253 || host.starts_with(['-', '.']) || !(plain(host) || ipv6) {
            return refuse("the host is not valid");
        }
        if user.is_some_and(|user| user.is_empty() || user.starts_with('-') || !plain(user)) {
            return refuse("the user is not valid");
        }
        if path.trim_matches('/').is_empty() || path.starts_with('-') || path.starts_with("/-") {
            return refuse("the path is not valid");
        }
        if path.contains(['?', '#', ';', '&', '|', '$', '(', ')', '*']) {
            return refuse("the path contains a character that no repository has");
        }
        let lower = path.to_ascii_lowercase();
        if ["%00", "%0a", "%0d"].iter().any(|bad| lower.contains(bad)) {
            return refuse("the path contains a character that no repository has");
        }
        Ok(Self {
            scheme,
            user: user.map(str::to_owned),
            host: host.to_lowercase(),
            port,
            path: path.to_owned(),
        })
    }

    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.scheme {
            Scheme::Https => 443,
            Scheme::Ssh => 22,
            Scheme::File => 0,
        })
    }

    /// What a submodule's URL means in a repository that came from here: `./x` and `../x` start at this URL, as
    /// git itself reads them; anything else stands alone.
    pub fn submodule(base: Option<&Self>, text: &str, allow_file: bool) -> Result<Self> {
        if !(text.starts_with("./") || text.starts_with("../")) {
            return Self::parse(text, allow_file);
        }
        let Some(base) = base else {
            return Err(refused(
                text,
                "it is relative, and this repository came from nowhere else: name it in full",
            ));
        };
        let mut path = base.path.trim_end_matches('/').to_owned();
        let mut rest = text;
        loop {
            if let Some(after) = rest.strip_prefix("./") {
                rest = after;
            } else if let Some(after) = rest.strip_prefix("../") {
                rest = after;
                match path.rfind('/') {
                    Some(slash) => path.truncate(slash),
                    None if !path.is_empty() => path.clear(),
                    None => return Err(refused(text, "it leads out of the host")),
                }
            } else {
                break;
            }
        }
        if rest.split('/').any(|part| part == "..") {
            return Err(refused(text, "the path is not valid"));
        }
        let path = if path.is_empty() && !base.path.starts_with('/') {
            rest.to_owned()
        } else {
            format!("{path}/{rest}")
        };
        let joined = Self { path, ..base.clone() };
        Self::parse(&joined.to_string(), allow_file)
    }
}

fn refused(url: &str, reason: &'static str) -> GitError {
    let url = url.chars().filter(|c| !c.is_control()).take(120).collect();
    GitError::UrlRefused { url, reason }
}

/// In the form that git gets.
impl fmt::Display for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Https => "https",
            Scheme::Ssh => "ssh",
            Scheme::File => "file",
        };
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        if self.scheme == Scheme::Ssh && !self.path.starts_with('/') {
            // No URL says "relative to the home directory"; the short form does. It cannot hold a port.
            return write!(f, "{user}{}:{}", self.host, self.path);
        }
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        write!(f, "{scheme}://{user}{host}{port}{}", self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn https_and_ssh_parse_and_print() {
        for (text, host, port) in [
            ("https://github.com/OCA/web.git", "github.com", 443),
            ("https://git.example.com:8443/a/b/c", "git.example.com", 8443),
            ("ssh://git@example.com/a.git", "example.com", 22),
            ("ssh://git@example.com:2222/a.git", "example.com", 2222),
            ("git@github.com:OCA/web.git", "github.com", 22),
            ("https://[2001:db8::1]/a", "2001:db8::1", 443),
        ] {
            let url = GitUrl::parse(text, false).unwrap();
            assert_eq!((url.host(), url.port()), (host, port), "{text}");
            assert_eq!(url.to_string(), text);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for bad in [
            "",
            "ext::sh -c touch% /tmp/pwned",
            "ext::sh",
            "EXT::sh",
            "fd::17",
            "http://example.com/a",
            "git://example.com/a",
            "ftp://example.com/a",
            "file:///etc/passwd",
            "/etc",
            "../other",
            "--upload-pack=touch pwned",
            "-oProxyCommand=touch:x",
            "ssh://-oProxyCommand=touch/x",
            "ssh://git@-oProxyCommand=touch/x",
            "ssh://-x@example.com/a",
            "-x@example.com:a",
            "git@-oProxyCommand=x:a",
            "git@example.com:-a",
            "ssh://example.com/-a",
            "https://user:secret@example.com/a",
            "https://token@example.com/a",
            "ssh://git:secret@example.com/a",
            "https://example.com",
            "https://example.com/",
            "https:///a",
            "https://example.com:99999/a",
            "https://example.com:0/a",
            "https://example.com:x/a",
            "https://exa mple.com/a",
            "https://example.com/a\nb",
            "https://example.com/a%0ab",
            "https://example.com/a?x=1",
            "https://example.com/a#b",
            "https://example.com/$(id)",
            "https://example.com/`id`",
            "https://exa$mple.com/a",
            "https://[::1/a",
            "https://[x]/a",
            "git@example.com:",
            "javascript:alert(1)//https://x",
        ] {
            let parsed = GitUrl::parse(bad, false);
            assert!(matches!(parsed, Err(GitError::UrlRefused { .. })), "{bad:?}: {parsed:?}");
        }
        assert!(GitUrl::parse(&format!("https://example.com/{}", "a".repeat(2000)), false).is_err());
        assert!(GitUrl::parse("file:///srv/a.git", true).is_ok());
        assert!(GitUrl::parse("file://host/a.git", true).is_err());
    }

    #[test]
    fn submodules_are_relative_to_where_the_repository_came_from() {
        let join = |base: &str, url: &str| {
            GitUrl::submodule(Some(&GitUrl::parse(base, false).unwrap()), url, false).map(|u| u.to_string())
        };
        let base = "https://example.com/team/main.git";
        assert_eq!(join(base, "../web.git").unwrap(), "https://example.com/team/web.git");
        assert_eq!(join(base, "../../oca/web.git").unwrap(), "https://example.com/oca/web.git");
        assert_eq!(join(base, "./web.git").unwrap(), "https://example.com/team/main.git/web.git");
        assert_eq!(join("git@example.com:team/main.git", "../web").unwrap(), "git@example.com:team/web");
        assert_eq!(join("git@example.com:main.git", "../web").unwrap(), "git@example.com:web");
        assert_eq!(join(base, "https://other.example/x").unwrap(), "https://other.example/x");
        assert!(join(base, "../../../../x").is_err());
        assert!(join(base, "../x/../../y").is_err());
        assert!(join(base, "ext::sh").is_err());
        assert!(GitUrl::submodule(None, "../web.git", false).is_err());
    }

    proptest! {
        #[test]
        fn what_parses_is_no_option_and_no_helper(text in "\\PC{0,60}") {
            if let Ok(url) = GitUrl::parse(&text, false) {
                let shown = url.to_string();
                prop_assert!(!shown.starts_with('-') && !shown.contains("::"), "{}", shown);
                prop_assert!(!url.host().starts_with('-'));
                prop_assert_eq!(GitUrl::parse(&shown, false).unwrap(), url);
            }
        }

        #[test]
        fn hostile_hosts_never_parse(prefix in "[a-z]{0,4}", c in "[;$`|&<>(){}'\" ,!*?~^%]", suffix in "[a-z]{0,4}") {
            let https = format!("https://{prefix}{c}{suffix}/a");
            prop_assert!(GitUrl::parse(&https, true).is_err());
            let scp = format!("git@{prefix}{c}{suffix}:a");
            prop_assert!(GitUrl::parse(&scp, true).is_err());
        }
    }
}
