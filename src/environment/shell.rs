//! What is said about a program that somebody runs in an environment: between command line and console, and between
//! console and worker, in the same words.
//!
//! Over a websocket: bytes in binary messages, the rest as JSON in text messages ([`Told`] to the program, [`Ended`]
//! from it, last). Without a terminal the first byte of what comes says whether it is output or an error.

use crate::{Error, Result, error::Detail};
use serde::{Deserialize, Serialize};

/// Of a message, in either direction.
pub const MAX_MESSAGE: usize = 64 << 10;
pub const OUTPUT: u8 = 1;
pub const ERROR: u8 = 2;

const MAX_ARGUMENTS: usize = 64;
const MAX_BYTES: usize = 8 << 10;
/// What runs when nothing else is asked for.
const DEFAULT: &str = "bash";

/// Why a session was ended from our side, as codes of websockets. The numbers and words are for programs.
pub mod close {
    /// The program has ended.
    pub const DONE: (u16, &str) = (1000, "ended");
    /// We restart.
    pub const RESTART: (u16, &str) = (1001, "restart");
    /// The worker does not answer any more.
    pub const LOST: (u16, &str) = (1011, "worker lost");
    pub const SIGNED_OUT: (u16, &str) = (4401, "signed out");
    pub const REVOKED: (u16, &str) = (4403, "revoked");
    /// Nobody typed and nothing was printed for too long.
    pub const IDLE: (u16, &str) = (4408, "idle");
}

/// The form of a request in a query.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShellQuery {
    /// A JSON array of the program and its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
    /// With both, there is a terminal of this size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u16>,
}

/// What somebody wants to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellRequest {
    arguments: Vec<String>,
    terminal: Option<Size>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    pub columns: u16,
    pub rows: u16,
}

impl Size {
    /// One that a terminal may have.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self { columns: self.columns.clamp(1, 1000), rows: self.rows.clamp(1, 1000) }
    }
}

/// What is told the program besides its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Told {
    Size(Size),
    /// `{"end_of_input":true}`
    End {
        end_of_input: bool,
    },
}

/// How the program ended; None when that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub exit_code: Option<i64>,
}

impl ShellRequest {
    /// Nothing: the shell that environments have.
    pub fn new(arguments: Vec<String>, terminal: Option<Size>) -> Result<Self> {
        let arguments = if arguments.is_empty() { vec![DEFAULT.to_owned()] } else { arguments };
        let sound = arguments.len() <= MAX_ARGUMENTS
            && arguments.iter().map(String::len).sum::<usize>() <= MAX_BYTES
            && arguments.iter().all(|it| !it.contains('\0'))
            && arguments.first().is_some_and(|program| !program.is_empty());
        if !sound {
            return Err(Error::invalid("arguments", Detail::new("shell.arguments")));
        }
        Ok(Self { arguments, terminal: terminal.map(Size::bounded) })
    }

    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    pub fn program(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }

    pub fn terminal(&self) -> Option<Size> {
        self.terminal
    }

    pub fn query(&self) -> ShellQuery {
        ShellQuery {
            arguments: serde_json::to_string(&self.arguments).ok(),
            columns: self.terminal.map(|size| size.columns),
            rows: self.terminal.map(|size| size.rows),
        }
    }
}

impl TryFrom<ShellQuery> for ShellRequest {
    type Error = Error;

    fn try_from(query: ShellQuery) -> Result<Self> {
        let arguments = match query.arguments {
            Some(text) => serde_json::from_str(&text)
                .map_err(|_| Error::invalid("arguments", Detail::new("shell.arguments")))?,
            None => Vec::new(),
        };
        let terminal = query.columns.zip(query.rows).map(|(columns, rows)| Size { columns, rows });
        Self::new(arguments, terminal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(arguments: &str) -> Result<ShellRequest> {
        ShellRequest::try_from(ShellQuery { arguments: Some(arguments.to_owned()), ..Default::default() })
    }

    #[test]
    fn threat_01_arguments_are_a_vector_or_refused() {
        assert_eq!(asked(r#"["ls","-l; rm -rf /"]"#).unwrap().arguments(), ["ls", "-l; rm -rf /"]);
        assert_eq!(asked("[]").unwrap().arguments(), ["bash"]);
        assert_eq!(ShellRequest::try_from(ShellQuery::default()).unwrap().program(), "bash");
        let many = serde_json::to_string(&vec!["x"; MAX_ARGUMENTS + 1]).unwrap();
        let long = serde_json::to_string(&["x".repeat(MAX_BYTES + 1)]).unwrap();
        for bad in ["", "ls", "{}", "[1]", r#"[""]"#, "[\"a\\u0000b\"]", &many, &long] {
            assert!(matches!(asked(bad), Err(Error::Invalid { .. })), "{bad}");
        }
    }

    #[test]
    fn a_request_comes_through_its_query_and_sizes_are_bounded() {
        let size = Size { columns: 0, rows: 65_000 };
        let request = ShellRequest::new(vec!["a b".to_owned(), "\"".to_owned()], Some(size)).unwrap();
        assert_eq!(request.terminal(), Some(Size { columns: 1, rows: 1000 }));
        assert_eq!(ShellRequest::try_from(request.query()).unwrap(), request);
    }

    #[test]
    fn messages_are_told_apart() {
        let told = |text| serde_json::from_str::<Told>(text).ok();
        assert_eq!(told(r#"{"columns":80,"rows":24}"#), Some(Told::Size(Size { columns: 80, rows: 24 })));
        assert_eq!(told(r#"{"end_of_input":true}"#), Some(Told::End { end_of_input: true }));
        assert_eq!(told(r#"{"columns":80}"#), None);
    }
}
