use super::{Refusal, egress::EgressError};
use bollard::errors::Error as Bollard;

#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// The daemon cannot be reached or does not answer in time: try again later.
    #[error("docker does not answer: {0}")]
    Unavailable(String),
    #[error("docker has no such object: {0}")]
    NotFound(String),
    #[error("docker refuses: {0}")]
    Conflict(String),
    /// Another container has this name and was not made from the same specification.
    #[error("a different container is named {0}")]
    NameTaken(String),
    /// Something that this installation did not make.
    #[error("{0} does not belong to this installation")]
    Foreign(String),
    /// A container body that goes beyond what a container of ours may have.
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("no free subnet in {0}")]
    NoSubnet(super::SubnetPool),
    #[error(transparent)]
    Egress(#[from] EgressError),
    #[error("docker: {0}")]
    Other(String),
}

impl DockerError {
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }
}

impl From<Bollard> for DockerError {
    fn from(error: Bollard) -> Self {
        match error {
            Bollard::DockerResponseServerError { status_code, message } => match status_code {
                404 => Self::NotFound(message),
                409 => Self::Conflict(message),
                _ => Self::Other(format!("{message} ({status_code})")),
            },
            Bollard::SocketNotFoundError(path) => Self::Unavailable(format!("no socket at {path}")),
            Bollard::RequestTimeoutError => Self::Unavailable("timeout".to_owned()),
            Bollard::HyperLegacyError { .. }
            | Bollard::HyperResponseError { .. }
            | Bollard::IOError { .. } => Self::Unavailable(chain(&error)),
            other => Self::Other(chain(&other)),
        }
    }
}

/// hyper hides the reason in the sources of its error.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let reason = error.to_string();
        if !text.contains(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        source = error.source();
    }
    text
}

impl From<DockerError> for crate::Error {
    fn from(error: DockerError) -> Self {
        match error {
            DockerError::Unavailable(cause) => {
                tracing::warn!(%cause, "docker does not answer");
                Self::unavailable("docker")
            }
            other => Self::internal(other),
        }
    }
}
