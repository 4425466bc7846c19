//! The keys. The macro turns one table into the struct, its documentation and its reader, so that none of them
//! can disagree.

use super::{
    load::{Given, Problem},
    value::{ConnectionUrl, Scheme, Value},
};
use crate::{docker::SubnetPool, run::RunKind};
use ipnet::IpNet;
use std::{net::SocketAddr, path::PathBuf};

/// One setting, as documentation and flags need it.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `data_dir`: the name in the file.
    pub name: &'static str,
    doc: &'static [&'static str],
}

impl Key {
    /// What the key means, one sentence or more.
    pub fn documentation(&self) -> String {
        self.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }

    /// `OPS_DATA_DIR`.
    pub fn variable(&self) -> String {
        format!("OPS_{}", self.name.to_ascii_uppercase())
    }

    /// `data-dir`.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }
}

macro_rules! keys {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ty = $default:expr;)+) => {
        /// The platform's settings, valid and complete.
        #[derive(Debug, Clone)]
        pub struct Config {
            $($(#[doc = $doc])+ pub $name: $kind,)+
        }

        /// Every key there is, in the order of its documentation.
        pub const KEYS: &[Key] = &[$(Key { name: stringify!($name), doc: &[$($doc),+] }),+];

        impl Config {
            /// Takes each key from what was given, or its default. A value that does not read is a problem
            /// and the default stands in, so that one look finds all problems.
            pub(super) fn read(mut given: impl FnMut(&str) -> Option<Given>, problems: &mut Vec<Problem>) -> Self {
                Self {
                    $($name: match given(stringify!($name)) {
                        None => $default,
                        Some(given) => match <$kind as Value>::read(&given.text) {
                            Ok(value) => value,
                            Err(advice) => {
                                problems.push(Problem::new(stringify!($name), given.source, advice));
                                $default
                            }
                        },
                    },)+
                }
            }

            /// Each key with its value as text, passwords masked.
            pub fn show(&self) -> Vec<(&'static Key, String)> {
                let values = [$(Value::show(&self.$name)),+];
                KEYS.iter().zip(values).collect()
            }
        }
    };
}

keys! {
    /// Where everything is kept: clusters, secrets, repositories, logs. An absolute path.
    data_dir: PathBuf = default_data_dir();
    /// The address that browsers reach: console and environments share it.
    listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 3000));
    /// The address that other machines of the installation reach, such as 0.0.0.0:3443; none listens when not set. On a
    /// joined machine, where the console's machine reaches it.
    node_listen: Option<SocketAddr> = None;
    /// The domain of the console; environments are its subdomains. With the port when it is not the scheme's own.
    /// Give environments a registrable domain of their own in production: they run foreign code.
    base_domain: String = "localhost:3000".to_owned();
    /// The scheme in links: https when something before us terminates TLS.
    public_scheme: Scheme = Scheme::Http;
    /// The ops database, `postgres://owner:password@host/database`, PostgreSQL 15 or newer. Replaces the embedded
    /// control cluster. Give it by environment or file: flags are visible to every process.
    database_url: Option<ConnectionUrl> = None;
    /// The folder with PostgreSQL's server programs (`initdb`, `postgres`). Found when not set.
    postgres_bin: Option<PathBuf> = None;
    /// The Docker daemon of this machine, `unix:///path`. Docker's own default when not set.
    docker_host: Option<String> = None;
    /// The image that environments run.
    odoo_image: String = "odoo:19.0".to_owned();
    /// The image in which requirements.txt is installed: the same with a compiler.
    odoo_build_image: String = "odoo:19.0-build".to_owned();
    /// The range that environments' networks are cut from, 16 addresses each. One that nothing else here uses.
    environment_subnets: SubnetPool = SubnetPool::default();
    /// The Python package index for requirements.txt, an https address. pip's own default when not set.
    pip_index_url: Option<String> = None;
    /// Hosts that the package index sends its readers to for files, separated by commas: `files.example.com`, with
    /// `:port` when it is not 443. A build reaches these and the index, nothing else.
    pip_index_hosts: Vec<String> = Vec::new();
    /// The certificates (PEM) that the package index is trusted by. This machine's own when not set.
    pip_ca_bundle: Option<PathBuf> = None;
    /// Whether projects may be made from repositories on this machine's disk (`file://`, paths).
    allow_file_remotes: bool = false;
    /// Whether repositories may be fetched from loopback and private networks, such as a Git server of your own.
    allow_private_remotes: bool = false;
    /// Networks of reverse proxies whose `X-Forwarded-*` headers are believed, separated by commas.
    trusted_proxies: Vec<IpNet> = Vec::new();
    /// How many runs this machine works on at the same time.
    worker_concurrency: usize = default_concurrency();
    /// The kinds of runs that this machine does, separated by commas.
    worker_kinds: Vec<RunKind> = vec![RunKind::Build];
    /// How long a worker that is told to stop may take to finish what it does, in seconds. What is not finished then
    /// goes back to the queue; a second signal hands it back at once.
    drain_seconds: u64 = 30;
    /// Memory of an environment's container, in MiB.
    environment_memory_mb: u64 = 1024;
    /// Processors of an environment's container; fractions are allowed.
    environment_cpus: f64 = 1.0;
    /// Processes and threads of an environment's container.
    environment_pids: u32 = 512;
    /// The size of an environment's /tmp, in MiB.
    environment_tmp_mb: u64 = 256;
    /// Connections that an environment may hold to its database.
    environment_connections: u32 = 16;
    /// How long a build may take before it is ended, in seconds.
    build_timeout_seconds: u64 = 3600;
    /// What a build may print before it fails, in bytes.
    output_limit_bytes: u64 = 1 << 30;
    /// How many days the output of builds and servers is kept.
    log_retention_days: i32 = 30;
    /// How many days measurements are kept.
    metric_retention_days: i32 = 90;
    /// How many days the events of runs are kept. The runs themselves stay.
    event_retention_days: i32 = 365;
    /// How many days it is kept who did what.
    audit_retention_days: i32 = 365;
    /// How many days data without an owner are kept in quarantine before they are deleted. Production's are kept until
    /// a person deletes them.
    quarantine_days: u32 = 7;
    /// After how many days without use an image that was built for requirements.txt is removed. It is built again when
    /// it is needed.
    unused_image_days: u32 = 14;
    /// The folder with the console's browser side (scripts, styles).
    site_root: PathBuf = PathBuf::from("target/site");
    /// What is logged: error, warn, info, debug, trace, or a filter such as `info,odooops::queue=debug`.
    log: String = "info".to_owned();
    /// Whether logs are JSON, one object a line.
    log_json: bool = false;
}

fn default_data_dir() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return PathBuf::from("/var/lib/odooops");
    }
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .unwrap_or_else(|| PathBuf::from("/var/lib"))
        .join("odooops")
}

fn default_concurrency() -> usize {
    std::thread::available_parallelism().map_or(1, |cpus| (cpus.get() / 2).max(1))
}
