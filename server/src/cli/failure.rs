use crate::http::ProblemBody;

/// Why a command failed, as a sentence for the terminal.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("{}", shown(.0))]
    Refused(Box<ProblemBody>),
    #[error("{place} does not answer ({cause}). {advice}")]
    Unreachable { place: String, cause: String, advice: &'static str },
    #[error("{place} answered something else than OdooOps does: {cause}")]
    Strange { place: String, cause: String },
    #[error("{0} is not an address that starts with https:// or http://")]
    BadUrl(String),
    #[error("set OPS_TOKEN to a token (`ops token create` on the server makes one)")]
    NoToken,
    #[error("the token would travel unencrypted: use https, or http only to this machine")]
    ClearText,
    #[error("{0}")]
    Usage(&'static str),
    #[error("{path}: {cause}")]
    File { path: String, cause: std::io::Error },
    #[error("the terminal: {0}")]
    Terminal(std::io::Error),
    #[error("{0}")]
    Join(String),
    #[error("writing the output: {0}")]
    Output(#[from] std::io::Error),
}

fn shown(problem: &ProblemBody) -> String {
    let mut text = problem.message.clone();
    for (name, value) in &problem.params {
        if !text.contains(value.as_str()) {
            text.push_str(&format!("\n  {name}: {value}"));
        }
    }
    if let Some(incident) = problem.incident {
        text.push_str(&format!("\n  incident: {incident}"));
    }
    super::output::clean(&text)
}
