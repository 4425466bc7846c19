use super::{ContainerSpec, Docker, DockerError, Labels, Mount, Refusal, check::check, labels};
use crate::id::HostId;
use bollard::errors::Error as Bollard;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, KillContainerOptions, ListContainersOptions,
    RemoveContainerOptions, StartContainerOptions, StopContainerOptions, WaitContainerOptions,
};
use futures::StreamExt;
use std::{collections::HashMap, net::IpAddr, path::PathBuf, time::Duration};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerStatus {
    Created,
    /// Also paused and restarting: there is a process, or will be one soon.
    Running,
    /// Also dead and being removed.
    Exited,
}

/// A container of this installation as the daemon sees it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    pub name: String,
    /// Id of the image it was made from.
    pub image: String,
    pub status: ContainerStatus,
    pub exit_code: Option<i64>,
    /// The kernel killed in it for its memory limit.
    pub oom_killed: bool,
    pub restarts: i64,
    /// Its address on each network, by the network's name.
    pub addresses: HashMap<String, IpAddr>,
    pub labels: Labels,
    /// Whose worker made it; None: it is of the time before containers said so.
    pub host: Option<HostId>,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    pub code: i64,
    pub oom_killed: bool,
}

impl Docker {
    /// Makes the container and gives its id. The same name and specification once more give the same container;
    /// the same name with another specification is [`DockerError::NameTaken`].
    pub async fn create_container(&self, spec: &ContainerSpec) -> Result<String, DockerError> {
        let roots = canonical_roots(self.mount_roots()).await;
        let mut exact = spec.clone();
        for mount in &mut exact.mounts {
            mount.source = canonical_source(mount, self.mount_roots()).await?;
        }
        let body = exact.body(self.maker());
        check(&body, &roots)?;
        let digest = exact.digest();
        let options = CreateContainerOptions { name: Some(spec.name.clone()), ..Default::default() };
        match self.client.create_container(Some(options), body).await.map_err(DockerError::from) {
            Ok(created) => Ok(created.id),
            Err(DockerError::Conflict(message)) => {
                let Some(found) = self.inspect(&spec.name).await? else {
                    return Err(DockerError::Conflict(message));
                };
                let found_labels = found.config.and_then(|config| config.labels).unwrap_or_default();
                if !self.is_ours(Some(&found_labels)) || found_labels.get(labels::SPEC) != Some(&digest) {
                    return Err(DockerError::NameTaken(spec.name.clone()));
                }
                Ok(found.id.unwrap_or_default())
            }
            Err(error) => Err(error),
        }
    }

    /// Starts it; one that runs already is left running.
    pub async fn start_container(&self, id: &str) -> Result<(), DockerError> {
        self.client.start_container(id, None::<StartContainerOptions>).await?;
        Ok(())
    }

    /// Waits for the end of a container that was started.
    pub async fn wait_container(&self, id: &str) -> Result<Exit, DockerError> {
        let options = WaitContainerOptions { condition: "not-running".to_owned() };
        let code = match self.client.wait_container(id, Some(options)).next().await {
            Some(Ok(response)) => response.status_code,
            // Exit codes other than 0 arrive as an error of their own kind.
            Some(Err(Bollard::DockerContainerWaitError { code, .. })) => code,
            Some(Err(error)) => return Err(error.into()),
            None => return Err(DockerError::Unavailable("the wait ended without an answer".to_owned())),
        };
        let oom_killed = self.container(id).await?.is_some_and(|container| container.oom_killed);
        Ok(Exit { code, oom_killed })
    }

    /// Asks it to end and kills it when it has not after `grace`. One that ended, or is gone, is a success.
    pub async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), DockerError> {
        let Some(container) = self.container(id).await? else { return Ok(()) };
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptions { t: Some(seconds), signal: None };
        // The answer comes when it has stopped, so the client must not give up before.
        let client = self.client.clone().with_timeout(grace + super::ANSWER_TIMEOUT);
        gone_is_fine(client.stop_container(&container.id, Some(options)).await)
    }

    pub async fn kill_container(&self, id: &str) -> Result<(), DockerError> {
        let Some(container) = self.container(id).await? else { return Ok(()) };
        let options = KillContainerOptions { signal: "SIGKILL".to_owned() };
        match self.client.kill_container(&container.id, Some(options)).await.map_err(DockerError::from) {
            // "is not running".
            Err(DockerError::Conflict(_) | DockerError::NotFound(_)) => Ok(()),
            other => other,
        }
    }

    /// Kills it if need be and removes it with its anonymous volumes.
    pub async fn remove_container(&self, id: &str) -> Result<(), DockerError> {
        let Some(container) = self.container(id).await? else { return Ok(()) };
        let options = RemoveContainerOptions { v: true, force: true, link: false };
        match self.client.remove_container(&container.id, Some(options)).await.map_err(DockerError::from) {
            // "removal of container ... is already in progress".
            Err(DockerError::Conflict(_) | DockerError::NotFound(_)) => Ok(()),
            other => other,
        }
    }

    /// The container by id or name, when there is one; one of somebody else is an error.
    pub async fn container(&self, id: &str) -> Result<Option<Container>, DockerError> {
        let Some(found) = self.inspect(id).await? else { return Ok(None) };
        let found_labels = found.config.as_ref().and_then(|config| config.labels.as_ref());
        if !self.is_ours(found_labels) {
            return Err(DockerError::Foreign(format!("container {id}")));
        }
        Ok(Some(container_of(found)))
    }

    /// Every container of this installation, running or not.
    pub async fn containers(&self) -> Result<Vec<Container>, DockerError> {
        let options = ListContainersOptions { all: true, filters: Some(self.ours()), ..Default::default() };
        let mut containers = Vec::new();
        for summary in self.client.list_containers(Some(options)).await? {
            // Listed, then removed by somebody: not an error.
            containers.extend(self.container(summary.id.as_deref().unwrap_or_default()).await?);
        }
        Ok(containers)
    }

    pub(super) async fn inspect(&self, id: &str) -> Result<Option<ContainerInspectResponse>, DockerError> {
        match self
            .client
            .inspect_container(id, None::<InspectContainerOptions>)
            .await
            .map_err(DockerError::from)
        {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn gone_is_fine(result: Result<(), Bollard>) -> Result<(), DockerError> {
    match result.map_err(DockerError::from) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

fn container_of(found: ContainerInspectResponse) -> Container {
    let state = found.state.unwrap_or_default();
    let status = match state.status {
        Some(
            ContainerStateStatusEnum::RUNNING
            | ContainerStateStatusEnum::PAUSED
            | ContainerStateStatusEnum::RESTARTING,
        ) => ContainerStatus::Running,
        Some(ContainerStateStatusEnum::CREATED) => ContainerStatus::Created,
        _ => ContainerStatus::Exited,
    };
    let networks = found.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    let map = found.config.and_then(|config| config.labels).unwrap_or_default();
    Container {
        id: found.id.unwrap_or_default(),
        name: found.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        image: found.image.unwrap_or_default(),
        status,
        exit_code: (status == ContainerStatus::Exited).then_some(state.exit_code).flatten(),
        oom_killed: state.oom_killed.unwrap_or_default(),
        restarts: found.restart_count.unwrap_or_default(),
        addresses: networks
            .into_iter()
            // Empty while it does not run.
            .filter_map(|(name, endpoint)| Some((name, endpoint.ip_address?.parse().ok()?)))
            .collect(),
        labels: Labels::from_map(&map),
        host: labels::host_of(&map),
    }
}

async fn canonical_roots(roots: &[PathBuf]) -> Vec<PathBuf> {
    let mut canonical = Vec::with_capacity(roots.len());
    for root in roots {
        // A root that is not there has nothing below it that could be mounted.
        canonical.extend(tokio::fs::canonicalize(root).await);
    }
    canonical
}

/// The daemon follows symbolic links when it mounts. The way down from a root must have none, or a link that a
/// tenant managed to leave there would lead to another tenant's files.
async fn canonical_source(mount: &Mount, roots: &[PathBuf]) -> Result<PathBuf, DockerError> {
    let refusal =
        |reason: &str| DockerError::Refused(Refusal(format!("{}: {reason}", mount.source.display())));
    for root in roots {
        let Ok(below) = mount.source.strip_prefix(root) else { continue };
        let root = tokio::fs::canonicalize(root).await.map_err(|error| refusal(&error.to_string()))?;
        let exact = if below.as_os_str().is_empty() { root } else { root.join(below) };
        let real = tokio::fs::canonicalize(&exact).await.map_err(|error| refusal(&error.to_string()))?;
        return if real == exact { Ok(real) } else { Err(refusal("a symbolic link is in the way")) };
    }
    Err(refusal("not a directory of ours"))
}
