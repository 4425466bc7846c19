use super::{
    CliError, Client,
    output::{Output, moment},
};
use crate::http::{CreatedToken, NewToken};
use chrono::{DateTime, Utc};
use clap::Subcommand;
use odooops::{id::ApiTokenId, user::query::Token};
use reqwest::Method;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes a token and prints it, once. It acts as its maker, for the API and as git's password.
    Create {
        /// What it is for.
        #[arg(long)]
        name: String,
        /// When it ends, such as 2030-01-31T00:00:00Z. Never, when left out.
        #[arg(long, value_name = "TIME")]
        expires: Option<DateTime<Utc>>,
    },
    /// One's own tokens.
    List,
    /// Ends a token.
    Revoke { token: ApiTokenId },
}

pub async fn run(command: Command, client: &Client, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::Create { name, expires } => {
            let made: CreatedToken = client.post("/tokens", &NewToken { name, expires_at: expires }).await?;
            output.show(&made, |made| made.token.clone())?;
        }
        Command::List => {
            let tokens: Vec<Token> = client.get("/tokens").await?;
            output.list(&tokens, &["ID", "NAME", "CREATED", "EXPIRES", "LAST USED"], |t| {
                vec![
                    t.id.to_string(),
                    t.name.clone(),
                    moment(Some(t.created_at)),
                    moment(t.expires_at),
                    moment(t.last_used_at),
                ]
            })?;
        }
        Command::Revoke { token } => {
            client.act(Method::DELETE, &format!("/tokens/{token}")).await?;
            let done = serde_json::json!({ "id": token, "revoked": true });
            output.show(&done, |_| format!("Token {token} is revoked."))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
