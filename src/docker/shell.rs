//! A terminal inside an environment's running container.

use super::{Docker, DockerError};
use crate::id::EnvironmentId;
use bollard::{
    exec::{CreateExecOptions, StartExecOptions, StartExecResults},
    query_parameters::ResizeExecOptions,
};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use std::pin::Pin;
use tokio::io::AsyncWrite;

/// A program with a terminal, under way.
pub struct Shell {
    id: String,
    docker: Docker,
    /// What it prints; ends with the program.
    pub output: Pin<Box<dyn Stream<Item = Result<Bytes, DockerError>> + Send>>,
    /// What it reads.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl Docker {
    /// Starts a program, by its arguments, as the container's own user.
    pub async fn open_shell(
        &self,
        environment: EnvironmentId,
        container: &str,
        arguments: Vec<String>,
    ) -> Result<Shell, DockerError> {
        let found = self.container(container).await?;
        // Ours, and this environment's: an id from elsewhere opens nothing.
        if found.is_none_or(|found| found.labels.environment != Some(environment)) {
            return Err(DockerError::Foreign(format!("container {container}")));
        }
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(true),
            env: Some(vec!["TERM=xterm-256color".to_owned()]),
            cmd: Some(arguments),
            privileged: Some(false),
            ..Default::default()
        };
        let id = self.client.create_exec(container, options).await?.id;
        let start = StartExecOptions { detach: false, tty: true, output_capacity: None };
        match self.client.start_exec(&id, Some(start)).await? {
            StartExecResults::Attached { output, input } => {
                let output = output.map(|chunk| Ok(chunk?.into_bytes())).boxed();
                Ok(Shell { id, docker: self.clone(), output, input })
            }
            StartExecResults::Detached => Err(DockerError::Foreign(format!("terminal of {container}"))),
        }
    }
}

impl Shell {
    pub async fn resize(&mut self, columns: u16, rows: u16) -> Result<(), DockerError> {
        let size = ResizeExecOptions { w: i32::from(columns), h: i32::from(rows) };
        Ok(self.docker.client.resize_exec(&self.id, size).await?)
    }

    /// None while it runs.
    pub async fn exit_code(&mut self) -> Result<Option<i64>, DockerError> {
        Ok(self.docker.client.inspect_exec(&self.id).await?.exit_code)
    }
}
