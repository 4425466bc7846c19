//! A container in our own terms, and the one function that turns it into Docker's. What a caller cannot say here
//! (privileges, devices, host namespaces, published ports, other drivers) no container of ours has.

use super::{
    Labels,
    labels::{self, Maker},
};
use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount as BodyMount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountType, RestartPolicy, RestartPolicyNameEnum,
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{collections::HashMap, fmt, path::PathBuf, time::Duration};

/// Chromium and multi-process Odoo want more than Docker's 64 MB.
pub(super) const SHM_BYTES: i64 = 128 * 1024 * 1024;

/// A directory or file of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// Below one of [`super::DockerConfig::mount_roots`], or one of them; no symbolic link may lead there.
    pub source: PathBuf,
    pub target: String,
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tmpfs {
    pub target: String,
    pub size_bytes: u64,
    /// Owner; root where none is given. The mode is 1777 for root's and 0700 for anyone else's.
    pub owner: Option<(u32, u32)>,
    /// Programs may be started from it.
    pub exec: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Limits {
    /// RAM; swap is not given in addition.
    pub memory_bytes: u64,
    pub cpus: f64,
    pub pids: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 2 * 1024 * 1024 * 1024, cpus: 2.0, pids: 512 }
    }
}

/// How much of a container's output the daemon keeps on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum LogRotation {
    /// Rotation may never outrun a collector that was down, so what a build may print (`output_limit`) fits, with
    /// what the file's format adds, long before the first rotation.
    Build { output_limit: u64 },
    /// A running server prints for months: three files of 50 MB.
    Server,
}

impl LogRotation {
    fn options(self) -> HashMap<String, String> {
        let (size, files) = match self {
            Self::Build { output_limit } => (output_limit.saturating_mul(4).max(64 * 1024 * 1024), "2"),
            Self::Server => (50 * 1000 * 1000, "3"),
        };
        HashMap::from([
            ("max-size".to_owned(), format!("{size}b")),
            ("max-file".to_owned(), files.to_owned()),
        ])
    }
}

/// What to run, and inside which bounds.
#[derive(Clone, Serialize)]
pub struct ContainerSpec {
    /// From [`super::names`]: creating the same name and specification again gives the container that is there.
    pub name: String,
    pub image: String,
    /// Replaces the image's entrypoint.
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub env: Vec<(String, String)>,
    pub working_dir: Option<String>,
    /// `uid:gid` or a user of the image; the image's own where none is given.
    pub user: Option<String>,
    /// Further numeric groups.
    pub groups: Vec<u32>,
    pub mounts: Vec<Mount>,
    pub tmpfs: Vec<Tmpfs>,
    pub limits: Limits,
    /// A network of ours by name; none at all where none is given.
    pub network: Option<String>,
    #[serde(skip)]
    pub labels: Labels,
    pub read_only: bool,
    pub stop_signal: Option<String>,
    pub stop_timeout: Duration,
    pub logs: LogRotation,
    /// The daemon starts it again when it dies and after a restart of its own, unless it was stopped.
    pub restart: bool,
}

impl ContainerSpec {
    pub fn new(name: impl Into<String>, image: impl Into<String>, labels: Labels) -> Self {
        Self {
            name: name.into(),
            image: image.into(),
            entrypoint: Vec::new(),
            command: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            user: None,
            groups: Vec::new(),
            mounts: Vec::new(),
            tmpfs: Vec::new(),
            limits: Limits::default(),
            network: None,
            labels,
            read_only: true,
            stop_signal: None,
            stop_timeout: Duration::from_secs(10),
            logs: LogRotation::Build { output_limit: 1024 * 1024 * 1024 },
            restart: false,
        }
    }

    pub(super) fn digest(&self) -> String {
        // No maps inside: the serialisation is the same each time.
        let text = serde_json::to_vec(self).unwrap_or_default();
        format!("{:x}", Sha256::digest(text))
    }

    /// The body of Docker's create call.
    pub(super) fn body(&self, maker: Maker) -> ContainerCreateBody {
        let mut labels = self.labels.to_map(maker);
        labels.insert(labels::SPEC.to_owned(), self.digest());
        ContainerCreateBody {
            image: Some(self.image.clone()),
            // An empty entrypoint would fall back to the image's; callers name the program.
            entrypoint: Some(self.entrypoint.clone()),
            cmd: Some(self.command.clone()),
            env: Some(self.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            working_dir: self.working_dir.clone(),
            user: self.user.clone(),
            labels: Some(labels),
            stop_signal: self.stop_signal.clone(),
            stop_timeout: Some(i64::try_from(self.stop_timeout.as_secs()).unwrap_or(i64::MAX)),
            // An image's own health check would run beside our gate, as often as it likes.
            healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() }),
            host_config: Some(self.host_config()),
            ..Default::default()
        }
    }

    fn host_config(&self) -> HostConfig {
        let memory = i64::try_from(self.limits.memory_bytes).unwrap_or(i64::MAX);
        HostConfig {
            memory: Some(memory),
            memory_swap: Some(memory),
            nano_cpus: Some((self.limits.cpus * 1e9) as i64),
            pids_limit: Some(i64::from(self.limits.pids)),
            init: Some(true),
            shm_size: Some(SHM_BYTES),
            network_mode: Some(self.network.clone().unwrap_or_else(|| "none".to_owned())),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            readonly_rootfs: Some(self.read_only),
            mounts: Some(self.mounts.iter().map(bind).collect()),
            tmpfs: Some(self.tmpfs.iter().map(|tmpfs| (tmpfs.target.clone(), tmpfs.options())).collect()),
            group_add: (!self.groups.is_empty())
                .then(|| self.groups.iter().map(ToString::to_string).collect()),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(self.logs.options()),
            }),
            restart_policy: self.restart.then_some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::UNLESS_STOPPED),
                maximum_retry_count: None,
            }),
            ..Default::default()
        }
    }
}

fn bind(mount: &Mount) -> BodyMount {
    BodyMount {
        typ: Some(MountType::BIND),
        source: Some(mount.source.to_string_lossy().into_owned()),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..Default::default()
        }),
        ..Default::default()
    }
}

impl Tmpfs {
    pub fn new(target: impl Into<String>, size_bytes: u64) -> Self {
        Self { target: target.into(), size_bytes, owner: None, exec: false }
    }

    fn options(&self) -> String {
        let exec = if self.exec { "exec" } else { "noexec" };
        let owner = match self.owner {
            Some((uid, gid)) => format!("mode=0700,uid={uid},gid={gid}"),
            None => "mode=1777".to_owned(),
        };
        format!("rw,nosuid,nodev,{exec},size={},{owner}", self.size_bytes)
    }
}

impl fmt::Debug for ContainerSpec {
    /// Without the environment's values: they hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ContainerSpec")
            .field("name", &self.name)
            .field("image", &self.image)
            .field("entrypoint", &self.entrypoint)
            .field("env", &names)
            .field("network", &self.network)
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}
