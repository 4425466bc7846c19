//! A real daemon for tests: an installation of its own per test, and an image of four megabytes.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot set itself up must stop")]

use super::{ContainerSpec, Docker, DockerConfig, DockerError, Labels, SubnetPool, labels};
use crate::id::{EnvironmentId, InstallationId, RunId};
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::TryStreamExt;
use std::path::PathBuf;

pub const BUSYBOX: &str = "odooops/test-busybox:1";
const BUSYBOX_PROGRAM: &str = "/bin/busybox";

/// An installation that lives as long as its test.
pub struct TestDocker {
    pub docker: Docker,
    pub run: RunId,
    pub environment: EnvironmentId,
    /// The one directory that may be mounted.
    pub root: tempfile::TempDir,
}

pub async fn start() -> TestDocker {
    start_with(SubnetPool::default()).await
}

pub async fn start_with(subnets: SubnetPool) -> TestDocker {
    let root = tempfile::tempdir().unwrap();
    let config = DockerConfig {
        socket: PathBuf::from("/var/run/docker.sock"),
        installation: InstallationId::new(),
        mount_roots: vec![root.path().to_owned()],
        subnets,
    };
    let docker = Docker::connect(config).await.expect("tests need a Docker daemon");
    ensure_busybox(&docker).await;
    TestDocker { docker, run: RunId::new(), environment: EnvironmentId::new(), root }
}

impl TestDocker {
    pub fn labels(&self) -> Labels {
        Labels::environment(self.run, self.environment)
    }

    /// A container that runs a script of busybox' shell. Tests only: the product knows no shell.
    pub fn script(&self, purpose: &str, script: &str) -> ContainerSpec {
        let name = super::names::container(self.environment, purpose);
        let mut spec = ContainerSpec::new(name, BUSYBOX, self.labels());
        spec.entrypoint = vec!["/bin/busybox".into(), "sh".into(), "-c".into(), script.into()];
        spec.limits.memory_bytes = 64 * 1024 * 1024;
        spec
    }

    pub async fn run_script(&self, purpose: &str, script: &str) -> String {
        let id = self.docker.create_container(&self.script(purpose, script)).await.unwrap();
        self.docker.start_container(&id).await.unwrap();
        id
    }

    /// Removes what carries this test's installation, and fails when that does not work.
    pub async fn clean(self) {
        remove_all(&self.docker).await.unwrap();
    }
}

/// A test that panicked leaves nothing either.
impl Drop for TestDocker {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let config = self.docker.inner.config.clone();
        // A runtime of its own: this one is ending, and cannot be waited for inside itself.
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(async { remove_all(&Docker::connect(config).await.ok()?).await.ok() })
        });
        _ = removed.join();
    }
}

pub async fn remove_all(docker: &Docker) -> Result<(), DockerError> {
    for container in docker.containers().await? {
        docker.remove_container(&container.id).await?;
    }
    for network in docker.networks().await? {
        docker.remove_network(&network.name).await?;
    }
    for image in docker.built_images().await? {
        docker.remove_image(&image.id).await?;
    }
    for volume in docker.volumes().await? {
        docker.remove_volume(&volume.name).await?;
    }
    Ok(())
}

/// Imports Debian's busybox-static as an image; concurrent tests may both do so.
pub async fn ensure_busybox(docker: &Docker) {
    if docker.image_exists(BUSYBOX).await.unwrap() {
        return;
    }
    let program = std::fs::read(BUSYBOX_PROGRAM).expect("tests need Debian's busybox-static");
    let mut tar = tar::Builder::new(Vec::new());
    for directory in ["bin/", "tmp/", "proc/", "sys/", "dev/", "etc/"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(if directory == "tmp/" { 0o1777 } else { 0o755 });
        header.set_size(0);
        tar.append_data(&mut header, directory, std::io::empty()).unwrap();
    }
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(program.len() as u64);
    tar.append_data(&mut header, "bin/busybox", program.as_slice()).unwrap();
    let (name, tag) = BUSYBOX.split_once(':').unwrap();
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo(name)
        .tag(tag)
        .changes(vec![format!("LABEL {}=test", labels::INSTALLATION)])
        .build();
    let body = bollard::body_full(tar.into_inner().unwrap().into());
    docker.client().create_image(Some(options), Some(body), None).try_collect::<Vec<_>>().await.unwrap();
}

impl Docker {
    /// An image without content, as if this installation had built it then.
    pub async fn import_for_tests(&self, name: &str, created: &str) {
        use sha2::{Digest, Sha256};
        let layer = tar::Builder::new(Vec::new()).into_inner().unwrap();
        // Its own name is in it, so that no two are the same image.
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "created": created,
            "config": { "Labels": { labels::INSTALLATION: self.installation().to_string(), "name": name } },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{:x}", Sha256::digest(&layer))] },
            "history": [{ "created": created, "created_by": "test" }],
        })
        .to_string();
        let manifest =
            serde_json::json!([{ "Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"] }])
                .to_string();
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in [
            ("layer.tar", layer.as_slice()),
            ("config.json", config.as_bytes()),
            ("manifest.json", manifest.as_bytes()),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, path, content).unwrap();
        }
        let body = bollard::body_full(tar.into_inner().unwrap().into());
        let options = bollard::query_parameters::ImportImageOptions::default();
        self.client().import_image(options, body, None).try_collect::<Vec<_>>().await.unwrap();
    }

    /// Writes a line to the container's own output.
    pub async fn say_for_tests(&self, container: &str) {
        use bollard::exec::{CreateExecOptions, StartExecOptions};
        let command = ["/bin/busybox", "sh", "-c", "echo more > /proc/1/fd/1"];
        let options = CreateExecOptions { cmd: Some(command.to_vec()), ..Default::default() };
        let exec = self.client().create_exec(container, options).await.unwrap();
        let options = StartExecOptions { detach: true, ..Default::default() };
        self.client().start_exec(&exec.id, Some(options)).await.unwrap();
    }
}
