//! Which environment is reached where. The table is replaced as a whole and read without waiting.

use super::{nodes::Nodes, upstream::Upstream};
use crate::{
    environment::EnvironmentState,
    id::{EnvironmentId, HostId, RunId},
    project::Slug,
};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};
use tokio::sync::watch;

/// One environment, as the proxy needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub environment_id: EnvironmentId,
    /// The label before the base domain.
    pub hostname: String,
    /// The project's slug and the run that built it, for a link to its log.
    pub project: Slug,
    pub run_id: Option<RunId>,
    pub state: EnvironmentState,
    pub container_id: Option<String>,
    pub address: Option<SocketAddr>,
    /// Set when Odoo runs with workers: the port of its event process.
    #[serde(default)]
    pub websocket_port: Option<u16>,
    /// The machine that it is on, where that is not this one.
    #[serde(default)]
    pub node: Option<Node>,
}

/// Another machine of the installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub host: HostId,
    /// `host:port` of its proxy.
    pub address: String,
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub route: Arc<Route>,
    /// None while there is nothing to dial.
    pub upstream: Option<Arc<Upstream>>,
}

type Table = HashMap<String, Entry>;

#[derive(Debug, Clone)]
pub struct Routes {
    table: watch::Sender<Arc<Table>>,
    connect_timeout: Duration,
    requests_per_environment: usize,
    nodes: Nodes,
}

impl Routes {
    pub fn new(connect_timeout: Duration, requests_per_environment: usize) -> Self {
        Self {
            table: watch::Sender::new(Arc::default()),
            connect_timeout,
            requests_per_environment,
            nodes: Nodes::default(),
        }
    }

    /// How environments on other machines are called.
    #[must_use]
    pub fn with_nodes(mut self, nodes: Nodes) -> Self {
        self.nodes = nodes;
        self
    }

    pub fn find(&self, hostname: &str) -> Option<Entry> {
        self.table.borrow().get(hostname).cloned()
    }

    /// Answers after the next change.
    pub fn changes(&self) -> watch::Receiver<Arc<Table>> {
        self.table.subscribe()
    }

    /// Whether these are other than those of now.
    pub fn differ(&self, routes: &[Route]) -> bool {
        let now = self.table.borrow();
        now.len() != routes.len()
            || routes.iter().any(|route| now.get(&route.hostname).is_none_or(|it| *it.route != *route))
    }

    /// Puts these in the place of all before. Containers that stay keep their open connections. False when
    /// nothing is different.
    pub fn replace(&self, routes: Vec<Route>) -> bool {
        if !self.differ(&routes) {
            return false;
        }
        let before = self.table.borrow().clone();
        let after: Table = routes
            .into_iter()
            .map(|route| {
                let known = before.get(&route.hostname);
                let upstream = match (known, route.address) {
                    (_, None) => None,
                    (Some(known), Some(_)) if same_server(&known.route, &route) => known.upstream.clone(),
                    (_, Some(address)) => self.upstream(&route, address),
                };
                (route.hostname.clone(), Entry { route: Arc::new(route), upstream })
            })
            .collect();
        self.table.send_replace(Arc::new(after));
        true
    }

    fn upstream(&self, route: &Route, address: SocketAddr) -> Option<Arc<Upstream>> {
        let (timeout, slots) = (self.connect_timeout, self.requests_per_environment);
        let Some(node) = &route.node else { return Some(Arc::new(Upstream::new(address, timeout, slots))) };
        match self.nodes.tls().map(|tls| Upstream::on_node(node, tls, timeout, slots)) {
            Ok(upstream) => Some(Arc::new(upstream)),
            Err(error) => {
                tracing::error!(environment = %route.environment_id, %error, "its machine cannot be called");
                None
            }
        }
    }
}

fn same_server(one: &Route, other: &Route) -> bool {
    one.environment_id == other.environment_id
        && one.container_id == other.container_id
        && one.address == other.address
        && one.node == other.node
}

#[cfg(test)]
mod tests {
    use super::{Route, Routes};
    use crate::{environment::EnvironmentState, id::EnvironmentId, project::Slug};
    use std::{sync::Arc, time::Duration};

    #[tokio::test]
    async fn a_new_container_at_an_old_address_gets_connections_of_its_own() {
        let routes = Routes::new(Duration::from_secs(1), 1);
        let route = Route {
            environment_id: EnvironmentId::new(),
            hostname: "a".to_owned(),
            project: Slug::parse("p").unwrap(),
            run_id: None,
            state: EnvironmentState::Running,
            container_id: Some("one".to_owned()),
            address: Some(([127, 0, 0, 1], 8069).into()),
            websocket_port: None,
            node: None,
        };
        let upstream = || routes.find("a").unwrap().upstream.unwrap();
        assert!(routes.replace(vec![route.clone()]));
        let first = upstream();
        assert!(!routes.replace(vec![route.clone()]));
        assert!(routes.replace(vec![Route { state: EnvironmentState::Stopped, ..route.clone() }]));
        assert!(Arc::ptr_eq(&first, &upstream()), "the same container keeps its connections");

        assert!(routes.replace(vec![Route { container_id: Some("two".to_owned()), ..route.clone() }]));
        assert!(!Arc::ptr_eq(&first, &upstream()));
        assert!(routes.replace(vec![Route { address: None, ..route }]));
        assert!(routes.find("a").unwrap().upstream.is_none());
        assert!(routes.replace(vec![]));
        assert!(routes.find("a").is_none());
    }
}
