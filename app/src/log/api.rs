#[cfg(feature = "ssr")]
use crate::request::{Visitor, answer};
use crate::{codec::Json, error::Fault};
use leptos::{prelude::*, server_fn::codec::GetUrl};
#[cfg(feature = "ssr")]
use odooops::access::{Action, authorise, may};
use odooops::{id::RunId, log::LogLine};

/// What of a log is in the page when it arrives. The live socket brings the rest.
#[cfg(feature = "ssr")]
const FIRST: i64 = 1_000;
#[cfg(feature = "ssr")]
const FIRST_BYTES: i64 = 256 * 1024;

/// The first lines of a build's log, for those whose role shows it.
#[server(prefix = "/api/console", endpoint = "log", input = GetUrl, output = Json)]
pub async fn first_lines(id: RunId) -> Result<Option<Vec<LogLine>>, Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            authorise(&mut txn, &visitor.actor, Action::ViewRun(id)).await?;
            if !may(&mut txn, &visitor.actor, Action::ViewLogs(id)).await? {
                return Ok(None);
            }
            odooops::log::query::page_within(&mut txn, id, 0, FIRST, FIRST_BYTES).await.map(Some)
        }
        .await,
    )
}
