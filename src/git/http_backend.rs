//! `git http-backend`, git's own server side of smart HTTP, as a process with open pipes. The HTTP around it is the
//! server's.

use super::{
    command::{Git, Group, read_start},
    error::{GitError, Result},
    repository::Repository,
};
use crate::id::{ProjectId, UserId};
use std::{net::IpAddr, path::PathBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};

/// The largest pack that a push may send.
const MAX_PUSH: &str = "2147483648";

/// One request, authorised.
#[derive(Debug, Clone)]
pub struct BackendRequest {
    pub project: ProjectId,
    pub user: UserId,
    /// From where they ask.
    pub address: Option<IpAddr>,
    /// `info/refs`, `git-upload-pack` or `git-receive-pack`.
    pub service_path: &'static str,
    pub method: &'static str,
    pub query: String,
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    pub content_length: Option<u64>,
    /// The `Git-Protocol` header.
    pub protocol: Option<String>,
    /// Where the hooks find the server.
    pub hook_socket: PathBuf,
}

/// The running process. Dropped, it is killed with all that it started.
pub struct Backend {
    pub stdin: Option<ChildStdin>,
    pub stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    child: Child,
    group: Group,
}

impl Git {
    /// Starts the backend for one request on a project's repository.
    pub fn http_backend(&self, repository: &Repository, request: &BackendRequest) -> Result<Backend> {
        let mut command = self
            .command_with_hooks("http-backend")
            .config("http.receivepack", "true")
            .config("http.uploadpack", "true")
            .config("http.getanyfile", "false")
            .config("receive.maxInputSize", MAX_PUSH)
            .config("receive.autogc", "false")
            // Which branches may be deleted or rewritten is for the hook to say.
            .config("receive.denyDeleteCurrent", "ignore")
            .config("receive.denyDeletes", "false")
            .config("receive.denyNonFastForwards", "false")
            .config("receive.advertisePushOptions", "false")
            .config("uploadpack.allowFilter", "true")
            .config("uploadpack.allowReachableSHA1InWant", "true")
            .config("uploadpack.keepAlive", "5")
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("PATH_TRANSLATED", repository.path().join(request.service_path))
            .env("PATH_INFO", format!("/{}.git/{}", request.project, request.service_path))
            .env("GIT_PROJECT_ROOT", &self.settings().root)
            .env("REQUEST_METHOD", request.method)
            .env("QUERY_STRING", &request.query)
            .env("REMOTE_USER", request.user.to_string())
            .env("OPS_HOOK_SOCKET", &request.hook_socket)
            .env("OPS_PROJECT_ID", request.project.to_string())
            .env("OPS_USER_ID", request.user.to_string());
        let optional = [
            ("CONTENT_TYPE", &request.content_type),
            ("HTTP_CONTENT_ENCODING", &request.content_encoding),
            ("GIT_PROTOCOL", &request.protocol),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                command = command.env(key, value);
            }
        }
        if let Some(address) = request.address {
            command = command.env("OPS_CLIENT_ADDRESS", address.to_string());
        }
        if let Some(length) = request.content_length {
            command = command.env("CONTENT_LENGTH", length.to_string());
        }
        let (mut child, group) = command.spawn()?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        Ok(Backend { stdin, stdout, stderr, child, group })
    }
}

impl Backend {
    /// The start of what the process complains about; read beside the rest, or a full pipe stops it.
    pub fn complaints(&mut self) -> impl Future<Output = String> + Send + 'static {
        let pipe = self.stderr.take();
        read_start(pipe)
    }

    /// Waits for the end, once its output was read.
    pub async fn ended(mut self) -> Result<Option<i32>> {
        let what = "http-backend";
        let status = self.child.wait().await.map_err(|source| GitError::Spawn { what, source })?;
        self.group.ended();
        Ok(status.code())
    }
}
