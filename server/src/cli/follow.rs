//! Streams: a log as it grows, a run until it has ended. A stream that breaks off - the server restarts - is taken up
//! again where it was.

use super::{
    CliError, Client,
    output::{Output, clean},
};
use futures::StreamExt;
use odooops::{
    id::RunId,
    log::LogLine,
    run::{LogLevel, RunView},
};
use std::{io, time::Duration};
use tokio::time::{Instant, sleep};

/// How long a server that restarts is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);

/// Remembers since when nothing came.
struct Patience(Option<Instant>);

impl Patience {
    fn renew(&mut self) {
        self.0 = None;
    }

    /// Waits a little after a broken stream; gives the error back when that went on for too long.
    async fn bear(&mut self, error: CliError) -> Result<(), CliError> {
        let since = *self.0.get_or_insert_with(Instant::now);
        if !matches!(error, CliError::Unreachable { .. }) || since.elapsed() > PATIENCE {
            return Err(error);
        }
        sleep(PAUSE).await;
        Ok(())
    }
}

pub async fn logs(
    client: &Client,
    output: &Output,
    run: RunId,
    after: i64,
    follow: bool,
) -> Result<(), CliError> {
    let mut after = after;
    let mut patience = Patience(None);
    loop {
        let path = format!("/runs/{run}/logs?after={after}&follow={follow}");
        match some_logs(client, output, &path, &mut after, &mut patience).await {
            Ok(()) => return Ok(()),
            Err(error) if follow => patience.bear(error).await?,
            Err(error) => return Err(error),
        }
    }
}

async fn some_logs(
    client: &Client,
    output: &Output,
    path: &str,
    after: &mut i64,
    patience: &mut Patience,
) -> Result<(), CliError> {
    let mut lines = client.lines::<LogLine>(path).await?;
    while let Some(line) = lines.next().await {
        let line = line?;
        patience.renew();
        if output.json {
            output.say(&serde_json::to_string(&line).map_err(io::Error::from)?)?;
        } else {
            let level = match line.level {
                LogLevel::Warn => " WARNING",
                LogLevel::Error => " ERROR",
                LogLevel::Debug | LogLevel::Info => "",
            };
            let at = line.created_at.format("%H:%M:%S");
            output.say(&format!("{at} {}{level} {}", line.stream, clean(&line.message)))?;
        }
        *after = line.seq;
    }
    Ok(())
}

/// Waits until the run has ended and tells what it goes through.
pub async fn until_ended(
    client: &Client,
    run: RunId,
    mut told: impl FnMut(&RunView),
) -> Result<RunView, CliError> {
    let mut patience = Patience(None);
    loop {
        let broken = match client.lines::<RunView>(&format!("/runs/{run}/watch")).await {
            Err(error) => error,
            Ok(mut views) => loop {
                match views.next().await {
                    Some(Ok(view)) => {
                        patience.renew();
                        told(&view);
                        if view.status.is_terminal() {
                            return Ok(view);
                        }
                    }
                    Some(Err(error)) => break error,
                    None => {
                        break CliError::Unreachable {
                            place: format!("run {run}"),
                            cause: "the stream ended before the run did".to_owned(),
                            advice: "",
                        };
                    }
                }
            },
        };
        patience.bear(broken).await?;
    }
}
