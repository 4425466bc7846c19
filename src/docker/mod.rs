//! The only place that speaks to Docker.
//!
//! A Docker socket is as good as root, so what goes through it is built and checked here: [`spec`] makes the body
//! of a container from our own terms, [`check`] is a second, separate opinion that refuses any body with more in it
//! than a tenant may have, and both stand between every caller and the daemon. Everything made carries labels of
//! this installation ([`labels`]); what does not carry them is never touched. All operations may be repeated:
//! creating what is there and removing what is gone are successes.

mod check;
mod container;
pub mod egress;
mod error;
mod events;
mod image;
mod labels;
mod layer;
pub mod names;
mod network;
mod output;
mod session;
mod shell;
mod shim;
mod spec;
mod subnet;
mod transfer;
mod volume;
mod watch;

#[cfg(test)]
mod docker_tests;
#[cfg(test)]
mod odoo_tests;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use check::Refusal;
pub use container::{Container, ContainerStatus, Exit};
pub use error::DockerError;
pub use events::{ContainerEvent, ContainerEventKind};
pub use image::{BuiltImage, Image};
pub use labels::Labels;
pub use layer::{LayerError, LayerRequest, RequirementsFile};
pub use network::Network;
pub use output::{Output, OutputFrame};
pub use shell::{Printed, Resizer, Shell, ShellInput, ShellOutput, ShellSpec};
pub use shim::Shim;
pub use spec::{ContainerSpec, Limits, LogRotation, Mount, Tmpfs};
pub use subnet::{Subnet, SubnetPool};
pub use volume::Volume;
pub use watch::Seen;

use crate::id::{HostId, InstallationId};
use labels::Maker;
use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::sync::{Mutex, watch::Sender};

/// How long the daemon may take to answer; creating a container on a busy machine takes seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// What a worker needs to know to use a daemon.
#[derive(Debug, Clone)]
pub struct DockerConfig {
    /// `/var/run/docker.sock` where none is given.
    pub socket: PathBuf,
    pub installation: InstallationId,
    /// The only directories below which a container's mounts may lie: environments, scratch, the tenants' socket.
    /// Never the data directory itself, which holds secrets and clusters too.
    pub mount_roots: Vec<PathBuf>,
    pub subnets: SubnetPool,
}

fn client(config: &DockerConfig) -> Result<bollard::Docker, DockerError> {
    let socket = config.socket.to_string_lossy();
    let version = bollard::API_DEFAULT_VERSION;
    Ok(bollard::Docker::connect_with_unix(&socket, ANSWER_TIMEOUT.as_secs(), version)?)
}

/// A daemon, as this installation sees it.
#[derive(Clone)]
pub struct Docker {
    client: bollard::Docker,
    inner: Arc<Inner>,
}

struct Inner {
    config: DockerConfig,
    /// Whose worker this is, once it is registered.
    host: OnceLock<HostId>,
    /// Docker neither refuses a second network of the same name nor hands out subnets of ours: one at a time.
    networks: Mutex<()>,
    /// How often the daemon went away, and whether it is away.
    losses: Sender<watch::Losses>,
}

impl Docker {
    /// Connects and agrees on an API version (Docker 20.10 speaks 1.41).
    pub async fn connect(config: DockerConfig) -> Result<Self, DockerError> {
        let client = client(&config)?.negotiate_version().await?;
        Ok(Self {
            client,
            inner: Arc::new(Inner {
                config,
                host: OnceLock::new(),
                networks: Mutex::new(()),
                losses: Sender::default(),
            }),
        })
    }

    /// Whether the daemon answers.
    pub async fn ping(&self) -> Result<(), DockerError> {
        self.client.ping().await?;
        Ok(())
    }

    /// Whether it takes a new connection: one that is about to end does not, while those that it has go on.
    pub async fn takes_calls(&self) -> Result<(), DockerError> {
        client(&self.inner.config)?.ping().await?;
        Ok(())
    }

    pub fn installation(&self) -> InstallationId {
        self.inner.config.installation
    }

    /// From now on what is made here says that it is this host's. A worker belongs to one host as long as it lives:
    /// the first counts.
    pub fn make_for(&self, host: HostId) {
        _ = self.inner.host.set(host);
    }

    fn maker(&self) -> Maker {
        Maker { installation: self.installation(), host: self.inner.host.get().copied() }
    }

    pub(crate) fn client(&self) -> &bollard::Docker {
        &self.client
    }

    fn mount_roots(&self) -> &[PathBuf] {
        &self.inner.config.mount_roots
    }

    fn subnets(&self) -> SubnetPool {
        self.inner.config.subnets
    }
}
