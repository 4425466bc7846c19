//! The types of settings, and how each is read from text. Flags, environment and file all give text, so that a
//! value means the same wherever it was written.

use crate::{docker::SubnetPool, run::RunKind};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

pub(super) trait Value: Sized {
    /// The value, or advice on what to write instead.
    fn read(text: &str) -> Result<Self, String>;
    fn show(&self) -> String;
}

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl Value for Scheme {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            _ => Err("write http or https".to_owned()),
        }
    }

    fn show(&self) -> String {
        self.as_str().to_owned()
    }
}

/// A `postgres://` URL. It holds a password, so it never shows itself.
#[derive(Debug, Clone)]
pub struct ConnectionUrl(SecretString);

impl ConnectionUrl {
    /// How to connect. The URL was parsed when it was read, so this cannot surprise.
    pub fn options(&self) -> Result<PgConnectOptions, sqlx::Error> {
        PgConnectOptions::from_str(self.0.expose_secret())
    }
}

impl Value for ConnectionUrl {
    fn read(text: &str) -> Result<Self, String> {
        let form = "write postgres://user:password@host:port/database";
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(form.to_owned());
        }
        // The parser's own message may quote the URL, and with it the password.
        PgConnectOptions::from_str(text).map_err(|_| form.to_owned())?;
        Ok(Self(text.into()))
    }

    fn show(&self) -> String {
        match self.options() {
            Ok(options) => format!(
                "postgres://{}:***@{}:{}/{}",
                options.get_username(),
                options.get_host(),
                options.get_port(),
                options.get_database().unwrap_or_default()
            ),
            Err(_) => "***".to_owned(),
        }
    }
}

impl<T: Value> Value for Option<T> {
    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::read(text).map(Some) }
    }

    fn show(&self) -> String {
        self.as_ref().map(T::show).unwrap_or_default()
    }
}

impl Value for Vec<IpNet> {
    fn read(text: &str) -> Result<Self, String> {
        let advice = "write networks such as 10.0.0.0/8 or single addresses, separated by commas";
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| {
                part.parse()
                    .or_else(|_| part.parse::<IpAddr>().map(IpNet::from))
                    .map_err(|_| advice.to_owned())
            })
            .collect()
    }

    fn show(&self) -> String {
        self.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

impl Value for Vec<RunKind> {
    fn read(text: &str) -> Result<Self, String> {
        // The platform's own work is no run: the schedules' leader does it.
        let can_be_runs = || RunKind::ALL.iter().filter(|kind| **kind != RunKind::Maintenance);
        let names = can_be_runs().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
        let kinds: Result<Self, _> =
            text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::parse).collect();
        kinds
            .ok()
            .filter(|kinds| {
                !kinds.is_empty() && kinds.iter().all(|kind| can_be_runs().any(|can| can == kind))
            })
            .ok_or_else(|| format!("write one or more of {names}, separated by commas"))
    }

    fn show(&self) -> String {
        self.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(",")
    }
}

impl Value for Vec<String> {
    fn read(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(<String as Value>::read).collect()
    }

    fn show(&self) -> String {
        self.join(",")
    }
}

impl Value for PathBuf {
    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("write a path".to_owned()) } else { Ok(Self::from(text)) }
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Value for String {
    fn read(text: &str) -> Result<Self, String> {
        match text.trim() {
            "" => Err("write a value, or leave the key out for its default".to_owned()),
            text if text.chars().any(char::is_control) => Err("remove the control characters".to_owned()),
            text => Ok(text.to_owned()),
        }
    }

    fn show(&self) -> String {
        self.clone()
    }
}

macro_rules! parsed {
    ($($kind:ty, $advice:literal;)+) => {$(
        impl Value for $kind {
            fn read(text: &str) -> Result<Self, String> {
                text.trim().parse().map_err(|_| $advice.to_owned())
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

parsed! {
    bool, "write true or false";
    i32, "write a whole number";
    u32, "write a whole number";
    u64, "write a whole number";
    usize, "write a whole number";
    f64, "write a number, such as 1.5";
    SubnetPool, "write an IPv4 network of /8 to /28, such as 10.213.0.0/16";
    SocketAddr, "write address and port, such as 127.0.0.1:3000";
}
