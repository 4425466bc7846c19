//! The command line as scripts use it: the program's own parser, the socket, and how it ends.

use super::{Fixture, streams::served};
use crate::cli;
use clap::Parser;
use odooops::config::Config;
use std::process::ExitCode;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: cli::Command,
}

async fn run(config: &Config, line: &str) -> Result<ExitCode, String> {
    let line = Line::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
    cli::run(line.command, config).await.map_err(|error| error.to_string())
}

/// `ExitCode` tells its number to nobody but the operating system, and shows it.
fn ends_with(code: &ExitCode, number: u8) -> bool {
    format!("{code:?}") == format!("{:?}", ExitCode::from(number))
}

#[tokio::test]
async fn waiting_tells_by_its_exit_code() {
    for (status, number) in
        [("succeeded", 0), ("warning", 0), ("failed", 1), ("timed_out", 1), ("canceled", 2)]
    {
        let f = Fixture::new().await;
        served(&f).await;
        let config = &f.web.config;
        let lease = f.start_run().await;
        let line = format!("ops env wait {} --timeout 60s", f.run);
        let (code, ()) = tokio::join!(run(config, &line), f.finish_run(lease, status));
        assert!(ends_with(&code.clone().unwrap(), number), "{status}: {code:?}");
    }
}

#[tokio::test]
async fn waiting_gives_up_with_124() {
    let f = Fixture::new().await;
    served(&f).await;
    let code = run(&f.web.config, &format!("ops env wait {} --timeout 1s", f.run)).await.unwrap();
    assert!(ends_with(&code, 124), "{code:?}");
}

#[tokio::test]
async fn commands_do_what_they_say() {
    let f = Fixture::new().await;
    served(&f).await;
    let config = &f.web.config;
    for line in [
        "ops project create fresh --name Fresh".to_owned(),
        "ops project list --json".to_owned(),
        "ops project show fresh".to_owned(),
        "ops branch list --project demo".to_owned(),
        "ops branch move --project demo feature-x --stage staging".to_owned(),
        "ops run list --project demo".to_owned(),
        format!("ops run show {}", f.run),
        format!("ops run logs {}", f.run),
        "ops env create demo staging feature-x".to_owned(),
        "ops env list -p demo".to_owned(),
        format!("ops env show {}", f.environment),
        format!("ops env destroy {}", f.environment),
        "ops token create --name ci --expires 2099-01-01T00:00:00Z".to_owned(),
        "ops token list".to_owned(),
        "ops login-link".to_owned(),
    ] {
        let code = run(config, &line).await.unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(ends_with(&code, 0), "{line}");
    }
    let mut conn = f.superuser().await;
    let state = sqlx::query_scalar!("select state from ops.environments where id = $1", f.environment.0)
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(state, "destroying");
    for (line, says) in [
        ("ops project show nope", "There is no such project"),
        ("ops project create ../x", "lower-case letters"),
        ("ops env create demo production main", "Production is built from its branch"),
        ("ops env create demo live main", "invalid value"),
        ("ops branch move --project demo feature-x", "required"),
        ("ops env wait x", "invalid value"),
    ] {
        let error = run(config, line).await.unwrap_err();
        assert!(error.contains(says), "{line}: {error}");
    }
}
