//! `ops migrate`: brings the ops database to this program's schema. `ops up` does it at every start.

use crate::Failure;
use odooops::{
    config::Config,
    postgres::ops::{self, Role},
};
use std::process::ExitCode;

pub async fn run(config: &Config) -> Result<ExitCode, Failure> {
    let owner = ops::pool(config, Role::Owner, 2)?;
    ops::migrate(config, &owner).await.map_err(|error| {
        let hint = "The database must answer: start `ops up`, or name another by OPS_DATABASE_URL.";
        if config.database_url.is_none() { format!("{error}. {hint}") } else { error.to_string() }
    })?;
    owner.close().await;
    println!("The ops database is up to date.");
    Ok(ExitCode::SUCCESS)
}
