//! Names of what is made. They are for people and for idempotence; ownership is in the labels.

use crate::id::{EnvironmentId, RunId};

/// The last twelve digits: the first ones of a UUIDv7 are the time, equal for all that is made in the same minute.
fn short(id: uuid::Uuid) -> String {
    let digits = id.simple().to_string();
    digits[20..].to_owned()
}

/// The network of an environment.
pub fn environment_network(environment: EnvironmentId) -> String {
    format!("odooops-{environment}")
}

/// The network of one image build.
pub fn build_network(run: RunId) -> String {
    format!("odooops-build-{run}")
}

/// A container of an environment: `odooops-<env>-server`, `odooops-<env>-install-3`. The purpose carries the attempt
/// (or the lease) where a second attempt must not meet the container of the first.
pub fn container(environment: EnvironmentId, purpose: &str) -> String {
    format!("odooops-{}-{purpose}", short(environment.0))
}

/// The container that makes a template database. Installations that share a Docker use the same image, so its name
/// cannot tell them apart: the run does.
pub fn template(run: RunId, lease: i64) -> String {
    format!("odooops-template-{}-{lease}", short(run.0))
}

/// The image of a requirements layer; the tag is the digest of everything that made it.
pub fn layer(digest: &str) -> String {
    format!("odooops/layer:{digest}")
}

/// Where in its run's log stands what a container of this name prints. None: it is Docker's own, of an image that is
/// built, and its lines are read from the build.
pub fn stream(container: &str) -> Option<&'static str> {
    let rest = container.strip_prefix("odooops-")?;
    if rest.starts_with("template-") {
        return Some("template");
    }
    let (_, purpose) = rest.split_once('-')?;
    if purpose.starts_with("install-") {
        return Some("install");
    }
    purpose.starts_with("server-").then_some("odoo")
}

pub fn is_layer(image: &str) -> bool {
    image.starts_with("odooops/layer:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_of_the_same_moment_differ() {
        let (a, b) = (EnvironmentId::new(), EnvironmentId::new());
        assert_ne!(container(a, "server"), container(b, "server"));
        let (a_run, b_run) = (RunId::new(), RunId::new());
        assert_ne!(template(a_run, 1), template(b_run, 1));
        assert_ne!(template(a_run, 1), template(a_run, 2));
        assert_eq!(container(a, "server").len(), "odooops-0123456789ab-server".len());
    }

    #[test]
    fn names_say_where_lines_go() {
        let (environment, run) = (EnvironmentId::new(), RunId::new());
        assert_eq!(stream(&container(environment, "install-17")), Some("install"));
        assert_eq!(stream(&container(environment, "server-17")), Some("odoo"));
        assert_eq!(stream(&container(environment, "server-again")), Some("odoo"));
        assert_eq!(stream(&template(run, 17)), Some("template"));
        for other in ["brave_lovelace", "odooops-template", "odooops-0123456789ab", &build_network(run)] {
            assert_eq!(stream(other), None, "{other}");
        }
    }
}
