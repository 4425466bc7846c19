//! What travels over `/live`, as JSON text frames. The server uses these very types.
//!
//! One socket per page. A subscription is authorised on its object; `Denied` ends it and only it. After a
//! reconnect the browser subscribes again with the last sequence that it has seen (`after`), and the server
//! goes on from the next one: nothing is lost and nothing comes twice.

use odooops::{
    Error,
    id::{ProjectId, RunId},
    log::LogLine,
};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// Something that changes while one looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Answered at once and after every change with the whole `Board`.
    Board(ProjectId),
    /// Answered at once and after every change with the whole `RunView`.
    Run(RunId),
    /// Answered with the `LogLine`s after `after` (all of them without it), then with each new batch: in order of
    /// `seq`, without gaps within the run.
    Log(RunId),
    /// The list of projects: a hint (`null`) to load it again, nothing at first.
    Projects,
    /// Queue, hosts, schedules, for the platform's administrators: a hint like that of the projects.
    Platform,
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

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToBrowser {
    /// The first message. A build that differs from the page's means that a reload is due.
    Hello { build: String },
    News {
        topic: Topic,
        /// The sequence of the last line within; only for `Log`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_seq: Option<i64>,
        /// What the topic says it is answered with. Read by who subscribed: the socket's code, which every page has,
        /// needs not know boards and builds.
        content: Box<RawValue>,
    },
    /// The subscription is over: not seen, not allowed, or no longer allowed.
    Denied { topic: Topic, error: Error },
}

impl ToBrowser {
    pub fn news(topic: Topic, content: &impl Serialize) -> serde_json::Result<Self> {
        Ok(Self::News { topic, last_seq: None, content: to_raw_value(content)? })
    }

    pub fn lines(run: RunId, lines: &[LogLine]) -> serde_json::Result<Self> {
        let last_seq = lines.last().map(|line| line.seq);
        Ok(Self::News { topic: Topic::Log(run), last_seq, content: to_raw_value(lines)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
