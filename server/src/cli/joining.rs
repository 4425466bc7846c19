//! Machines join the installation and are cut off: `ops worker token`, `join`, `revoke`.

use super::{CliError, Client, output::Output, project::segment};
use crate::http::{HostTokenRequest, Revoked};
use clap::{Args, Subcommand};
use odooops::{
    config::Config,
    host,
    node::{self, Fingerprint, join::Invitation},
};
use std::{net::SocketAddr, process::ExitCode};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lets one machine join, once, within an hour: prints what to run there.
    Token {
        /// The host's name; the machine says its own, when left out. That of a host that joined before lets it join
        /// again, with new keys.
        #[arg(long)]
        name: Option<String>,
        /// What runs may require of it, separated by commas.
        #[arg(long, value_delimiter = ',')]
        labels: Vec<String>,
    },
    /// Makes this machine a host of another one's installation. Then start `ops up` here.
    Join(Join),
    /// Cuts a host off: its certificate and its database login end, its runs go back to the queue.
    Revoke { host: String },
}

#[derive(Debug, Args)]
pub struct Join {
    /// The address that `ops worker token` printed.
    #[arg(value_name = "URL")]
    control: String,
    #[arg(long)]
    token: String,
    /// The fingerprint that `ops worker token` printed: by it this machine knows whom it talks to.
    #[arg(long, value_name = "SHA256", value_parser = |text: &str| text.parse::<Fingerprint>())]
    ca_fingerprint: Fingerprint,
    /// This host's name, when the token has none. The machine's own, when left out.
    #[arg(long)]
    name: Option<String>,
    /// Where the console's machine reaches this one, `host:port`. The address that this connection comes from, with the
    /// port of --node-listen, when left out.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
}

pub async fn run(
    command: Command,
    client: &Client,
    output: &Output,
    config: &Config,
) -> Result<ExitCode, CliError> {
    match command {
        Command::Token { name, labels } => {
            let request = HostTokenRequest { name, labels };
            let made: host::Invitation = client.post("/host-tokens", &request).await?;
            output.show(&made, |made| {
                format!("On the other machine, within an hour:\n\n  {}\n", made.command())
            })?;
        }
        Command::Join(join) => {
            let identity = node::join::join(config, &invitation(join, config)?).await;
            let identity = identity.map_err(|error| CliError::Join(error.to_string()))?;
            let shown = serde_json::json!({ "host": identity.host, "name": identity.name });
            output.show(&shown, |_| {
                format!("This machine is the host {} now. Start `ops up` here.", identity.name)
            })?;
        }
        Command::Revoke { host } => {
            let path = format!("/hosts/{}/revoke", segment(&host));
            let done: Revoked = client.post(&path, &serde_json::json!({})).await?;
            output.show(&done, |done| format!("{} is revoked; its runs go on elsewhere.", done.name))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn invitation(join: Join, config: &Config) -> Result<Invitation, CliError> {
    let bad = || CliError::BadUrl(join.control.clone());
    let rest = join.control.strip_prefix("https://").ok_or_else(bad)?;
    let control = rest.trim_end_matches('/');
    let with_port = control.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok() && !host.contains(['/', '@', '?', '#'])
    });
    if !with_port {
        return Err(bad());
    }
    let own = || nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    Ok(Invitation {
        control: control.to_owned(),
        token: join.token.into(),
        authority: join.ca_fingerprint,
        name: join.name.or_else(own).unwrap_or_default().to_ascii_lowercase(),
        listen: config.node_listen.unwrap_or(SocketAddr::from(([0, 0, 0, 0], node::PORT))),
        address: join.address,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_other_machine_is_https_with_a_port() {
        let config = Config::load(&odooops::config::Flags::default(), |_| None).unwrap();
        let to = |control: &str| {
            let ca_fingerprint = "a".repeat(64).parse().unwrap();
            let join = Join {
                control: control.to_owned(),
                token: "t".to_owned(),
                ca_fingerprint,
                name: None,
                address: None,
            };
            invitation(join, &config).map(|invitation| invitation.control)
        };
        assert_eq!(to("https://ops.example.com:3443").unwrap(), "ops.example.com:3443");
        assert_eq!(to("https://[::1]:3443/").unwrap(), "[::1]:3443");
        for bad in
            ["http://a:1", "a:1", "https://a", "https://:1", "https://a/b:1", "https://u@a:1", "https://a:x"]
        {
            assert!(matches!(to(bad), Err(CliError::BadUrl(_))), "{bad}");
        }
    }
}
