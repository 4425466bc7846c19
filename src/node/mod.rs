//! Machines of one installation, and how they talk.
//!
//! The machine of the console has a certificate authority of its own (`authority`), made at first need. Another machine
//! joins with a one-use token (`join`) and keeps what it got in `<data>/node` (`identity`). From then on everything
//! between them is TLS 1.3 with both sides' certificates (`tls`); who is called is said by the server's name, so that
//! addresses and DNS decide nothing:
//!
//! | name | listens | gives |
//! |---|---|---|
//! | `control.node.ops` | the console's machine, `ops node` | HTTP: join, sources by `/git`, images |
//! | `postgres.control.node.ops` | the same | the ops database's bytes (`relay`) |
//! | `<host>.node.ops` | a joined machine, `ops proxy` | its environments' HTTP and websockets |
//! | `worker.<host>.node.ops` | the same | its worker's private listener |
//!
//! The console's machine calls worker and environments of other machines (`reach`); they call nobody but it.

pub mod authority;
pub mod control;
mod identity;
pub mod invite;
pub mod join;
pub mod listener;
mod name;
mod places;
pub mod query;
pub mod reach;
pub mod relay;
pub mod service;
mod tls;

#[cfg(test)]
mod tests;

pub use authority::Authority;
pub use identity::{Identity, Keys, machine_name};
pub use listener::{Guest, Listener, Visitor};
pub use name::NodeName;
pub use reach::{Reach, Stream};
pub use tls::{Fingerprint, client as client_config, nobody as no_client_config};

use std::{io, path::PathBuf};

/// Where a joined machine's proxy listens unless `node_listen` says otherwise, and where a console's machine does by
/// convention.
pub const PORT: u16 = 3443;

#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: {reason}; join this machine again")]
    Identity { path: PathBuf, reason: String },
    #[error("certificates: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Secret(#[from] crate::config::SecretError),
    #[error(transparent)]
    Postgres(#[from] crate::postgres::PostgresError),
    #[error("{place} cannot be reached: {cause}")]
    Unreachable { place: String, cause: String },
    #[error("{0}")]
    Refused(String),
}

impl NodeError {
    fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    fn unreachable(place: impl Into<String>, cause: impl std::fmt::Display) -> Self {
        Self::Unreachable { place: place.into(), cause: cause.to_string() }
    }
}
