use crate::id::HostId;
use rustls::pki_types::ServerName;

/// Who is called, as the names of certificates say it. They stand in no DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeName {
    /// The console's machine.
    Control,
    /// The ops database, on the console's machine.
    Postgres,
    /// A machine's environments.
    Environments(HostId),
    /// A machine's worker.
    Worker(HostId),
}

impl NodeName {
    /// The names that the console's machine has.
    pub const CONTROL: [Self; 2] = [Self::Control, Self::Postgres];

    /// The names that a joined machine has.
    pub fn of_host(host: HostId) -> [Self; 2] {
        [Self::Environments(host), Self::Worker(host)]
    }

    pub fn server_name(self) -> ServerName<'static> {
        // Made of letters, digits, dashes and dots: it always reads.
        ServerName::try_from(self.to_string())
            .unwrap_or(ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()))
    }
}

impl std::fmt::Display for NodeName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Control => f.write_str("control.node.ops"),
            Self::Postgres => f.write_str("postgres.control.node.ops"),
            Self::Environments(host) => write!(f, "{host}.node.ops"),
            Self::Worker(host) => write!(f, "worker.{host}.node.ops"),
        }
    }
}
