//! The way out for image builds, which reaches the package index and nothing else.
//!
//! A build's network is `--internal`: there is no route out of it. On its gateway address listens a forward proxy
//! of ours that knows one verb, CONNECT, and a short list of hosts. It resolves the name itself and dials the very
//! address that it looked at, so that a name cannot point somewhere else a moment later (threat 6); loopback,
//! private and link-local addresses are refused unless the administrator named an index that lives there. It answers
//! only peers of its own network: the gateway address can be reached from other bridges of the host as well.
//! Connections, bytes and time are bounded. What travels inside is TLS between pip and the index.

mod allow;
mod proxy;

pub use allow::{AllowList, AllowedHost, IndexError};
pub use proxy::{Bounds, EgressProxy};

#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    #[error("the package proxy cannot listen on {address}: {cause}")]
    Listen { address: std::net::IpAddr, cause: std::io::Error },
}
