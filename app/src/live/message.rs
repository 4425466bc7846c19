//! What travels over `/live`, as JSON text frames. The server uses these very types.
//!
//! One socket per page. A subscription is authorised on its object; `Denied` ends it and only it. After a
//! reconnect the browser subscribes again with the last sequence that it has seen (`after`), and the server
//! goes on from the next one: nothing is lost and nothing comes twice.

use odooops::{
    Error,
    branch::Board,
    id::{ProjectId, RunId},
    log::LogLine,
    run::RunView,
};
use serde::{Deserialize, Serialize};

/// Something that changes while one looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Answered at once and after every change with the whole board.
    Board(ProjectId),
    /// Answered at once and after every change with the whole run.
    Run(RunId),
    /// Answered with the lines after `after` (all of them without it), then with each new batch.
    Log(RunId),
    /// The list of projects: a hint to load it again, nothing at first.
    Projects,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToServer {
    Subscribe {
        topic: Topic,
        /// The last log sequence seen; only for `Log`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<i64>,
    },
    Unsubscribe {
        topic: Topic,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToBrowser {
    /// The first message. A build that differs from the page's means that a reload is due.
    Hello {
        build: String,
    },
    Board {
        project_id: ProjectId,
        board: Box<Board>,
    },
    Run {
        run: Box<RunView>,
    },
    /// In order of `seq`, without gaps within the run.
    Log {
        run_id: RunId,
        lines: Vec<LogLine>,
    },
    Projects,
    /// The subscription is over: not seen, not allowed, or no longer allowed.
    Denied {
        topic: Topic,
        error: Error,
    },
}

impl ToBrowser {
    /// The subscription that this answers.
    pub fn topic(&self) -> Option<Topic> {
        match self {
            Self::Hello { .. } => None,
            Self::Board { project_id, .. } => Some(Topic::Board(*project_id)),
            Self::Run { run } => Some(Topic::Run(run.id)),
            Self::Log { run_id, .. } => Some(Topic::Log(*run_id)),
            Self::Projects => Some(Topic::Projects),
            Self::Denied { topic, .. } => Some(*topic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use odooops::id::RunId;

    #[test]
    fn the_wire_form_is_stable() {
        let run = RunId("0192f0c1-2345-7890-abcd-ef0123456789".parse().unwrap());
        let subscribe = ToServer::Subscribe { topic: Topic::Log(run), after: Some(7) };
        let text = serde_json::to_string(&subscribe).unwrap();
        assert_eq!(
            text,
            r#"{"subscribe":{"topic":{"log":"0192f0c1-2345-7890-abcd-ef0123456789"},"after":7}}"#
        );
        assert_eq!(serde_json::from_str::<ToServer>(&text).unwrap(), subscribe);
        let projects = ToServer::Unsubscribe { topic: Topic::Projects };
        let text = serde_json::to_string(&projects).unwrap();
        assert_eq!(text, r#"{"unsubscribe":{"topic":"projects"}}"#);
        assert_eq!(serde_json::from_str::<ToServer>(&text).unwrap(), projects);
    }
}
