//! `odooops::Error` across server functions: its own JSON codec, and the HTTP status that says the same.

use crate::codec::JsonText;
use leptos::prelude::{FromServerFnError, ServerFnErrorErr};
use odooops::{Detail, Error};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a server function fails with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fault(pub Error);

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Fault {}

/// Troubles of the transport. Their texts name paths and types: they stay on the side where they happened.
impl FromServerFnError for Fault {
    type Encoder = JsonText;

    fn from_server_fn_error(error: ServerFnErrorErr) -> Self {
        Self(match error {
            ServerFnErrorErr::Request(_) => Error::unavailable("console.unreachable"),
            ServerFnErrorErr::Args(_) | ServerFnErrorErr::MissingArg(_) => {
                Error::invalid("request", Detail::new("request.body"))
            }
            #[cfg(feature = "ssr")]
            error => Error::internal(error),
            #[cfg(not(feature = "ssr"))]
            _ => Error::unavailable("console.answer"),
        })
    }
}
