//! The labels that say whose an object is. The reconciler removes what carries its installation and has no owner in
//! Postgres; what carries another installation, or none, is not ours to touch.

use super::Docker;
use crate::id::{EnvironmentId, HostId, InstallationId, RunId};
use std::collections::HashMap;

pub const INSTALLATION: &str = "odooops.installation";
/// The host whose worker made it: several may use one daemon.
pub const HOST: &str = "odooops.host";
pub const RUN: &str = "odooops.run";
pub const ENVIRONMENT: &str = "odooops.environment";
/// Digest of the body a container was created from: the same name with another body is a conflict.
pub const SPEC: &str = "odooops.spec";

/// Who makes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Maker {
    pub installation: InstallationId,
    pub host: Option<HostId>,
}

/// The host that an object's labels name.
pub(super) fn host_of(map: &HashMap<String, String>) -> Option<HostId> {
    map.get(HOST).and_then(|id| id.parse().ok())
}

/// Whose an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Labels {
    pub run: Option<RunId>,
    pub environment: Option<EnvironmentId>,
}

impl Labels {
    pub fn run(run: RunId) -> Self {
        Self { run: Some(run), environment: None }
    }

    pub fn environment(run: RunId, environment: EnvironmentId) -> Self {
        Self { run: Some(run), environment: Some(environment) }
    }

    pub(super) fn to_map(self, maker: Maker) -> HashMap<String, String> {
        let mut map = HashMap::from([(INSTALLATION.to_owned(), maker.installation.to_string())]);
        if let Some(host) = maker.host {
            map.insert(HOST.to_owned(), host.to_string());
        }
        if let Some(run) = self.run {
            map.insert(RUN.to_owned(), run.to_string());
        }
        if let Some(environment) = self.environment {
            map.insert(ENVIRONMENT.to_owned(), environment.to_string());
        }
        map
    }

    pub(super) fn from_map(map: &HashMap<String, String>) -> Self {
        Self {
            run: map.get(RUN).and_then(|id| id.parse().ok()),
            environment: map.get(ENVIRONMENT).and_then(|id| id.parse().ok()),
        }
    }
}

impl Docker {
    pub(super) fn is_ours(&self, labels: Option<&HashMap<String, String>>) -> bool {
        labels.and_then(|map| map.get(INSTALLATION)) == Some(&self.installation().to_string())
    }

    /// The filter that lists only objects of this installation.
    pub(super) fn ours(&self) -> HashMap<String, Vec<String>> {
        HashMap::from([("label".to_owned(), vec![format!("{INSTALLATION}={}", self.installation())])])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_survive_the_round_trip() {
        for host in [None, Some(HostId::new())] {
            let maker = Maker { installation: InstallationId::new(), host };
            for labels in [Labels::environment(RunId::new(), EnvironmentId::new()), Labels::run(RunId::new())]
            {
                let map = labels.to_map(maker);
                assert_eq!((Labels::from_map(&map), host_of(&map)), (labels, host));
            }
        }
    }

    #[test]
    fn a_foreign_value_in_a_label_is_no_id() {
        let map = HashMap::from([(RUN.to_owned(), "../../etc".to_owned())]);
        assert_eq!(Labels::from_map(&map), Labels::default());
    }
}
