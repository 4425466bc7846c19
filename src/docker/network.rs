//! One `--internal` bridge network per environment, and one per image build: no way out, no way across. The host
//! reaches a container by its address there; nothing is published.

use super::{Docker, DockerError, Labels, Subnet, labels::host_of};
use crate::id::HostId;
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, NetworkInspect};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptions};
use std::{collections::HashMap, net::Ipv4Addr};

/// Tries on other subnets when another installation, or another program, was faster.
const ATTEMPTS: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    pub id: String,
    pub name: String,
    /// The host's address on it: what listens there is reached from this network only.
    pub gateway: Ipv4Addr,
    pub subnet: Subnet,
    pub labels: Labels,
    /// Whose worker made it; None: it is of the time before networks said so.
    pub host: Option<HostId>,
}

impl Docker {
    /// The network of that name, made when it is not there.
    pub async fn ensure_network(&self, name: &str, labels: Labels) -> Result<Network, DockerError> {
        let _one_at_a_time = self.inner.networks.lock().await;
        if let Some(network) = self.network(name).await? {
            return Ok(network);
        }
        let taken = self.taken_subnets().await?;
        let start = self.installation().0.as_u128() as u32;
        let mut last = DockerError::NoSubnet(self.subnets());
        for subnet in self.subnets().free(&taken, start).take(ATTEMPTS) {
            match self.client.create_network(self.network_request(name, labels, subnet)).await {
                Ok(_) => {
                    return self.network(name).await?.ok_or_else(|| DockerError::NotFound(name.to_owned()));
                }
                Err(error) => last = error.into(),
            }
            match &last {
                // "Pool overlaps with other one on this address space", "networks have overlapping IPv4".
                DockerError::Other(message) if message.to_lowercase().contains("overlap") => {}
                // Somebody else made the same network meanwhile.
                DockerError::Conflict(_) => return self.network(name).await?.ok_or(last),
                _ => return Err(last),
            }
        }
        Err(last)
    }

    /// The network of that name, when it is there and ours.
    pub async fn network(&self, name: &str) -> Result<Option<Network>, DockerError> {
        match self
            .client
            .inspect_network(name, None::<InspectNetworkOptions>)
            .await
            .map_err(DockerError::from)
        {
            Ok(found) => self.network_of(name, found).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the network; containers that are still on it must be removed first.
    pub async fn remove_network(&self, name: &str) -> Result<(), DockerError> {
        let Some(network) = self.network(name).await? else { return Ok(()) };
        match self.client.remove_network(&network.id).await.map_err(DockerError::from) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Every network of this installation.
    pub async fn networks(&self) -> Result<Vec<Network>, DockerError> {
        let options = ListNetworksOptions { filters: Some(self.ours()) };
        let mut networks = Vec::new();
        for found in self.client.list_networks(Some(options)).await? {
            let name = found.name.unwrap_or_default();
            // Listed, then removed by somebody: not an error.
            networks.extend(self.network(&name).await?);
        }
        Ok(networks)
    }

    fn network_of(&self, name: &str, found: NetworkInspect) -> Result<Network, DockerError> {
        // Docker also finds networks by a prefix of their id.
        if found.name.as_deref() != Some(name) || !self.is_ours(found.labels.as_ref()) {
            return Err(DockerError::Foreign(format!("network {name}")));
        }
        let (subnet, gateway) = found
            .ipam
            .into_iter()
            .flat_map(|ipam| ipam.config.unwrap_or_default())
            .find_map(|config| Some((config.subnet?.parse().ok()?, config.gateway?.parse().ok()?)))
            .ok_or_else(|| DockerError::Other(format!("network {name} has no IPv4 gateway")))?;
        let map = found.labels.unwrap_or_default();
        Ok(Network {
            id: found.id.unwrap_or_default(),
            name: name.to_owned(),
            gateway,
            subnet,
            labels: Labels::from_map(&map),
            host: host_of(&map),
        })
    }

    async fn taken_subnets(&self) -> Result<Vec<Subnet>, DockerError> {
        let networks = self.client.list_networks(None::<ListNetworksOptions>).await?;
        Ok(networks
            .into_iter()
            .flat_map(|network| network.ipam.unwrap_or_default().config.unwrap_or_default())
            // IPv6 ranges do not parse and do not matter.
            .filter_map(|config| config.subnet?.parse().ok())
            .collect())
    }

    fn network_request(&self, name: &str, labels: Labels, subnet: Subnet) -> NetworkCreateRequest {
        NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            internal: Some(true),
            attachable: Some(false),
            enable_ipv6: Some(false),
            ipam: Some(Ipam {
                driver: Some("default".to_owned()),
                config: Some(vec![IpamConfig {
                    subnet: Some(subnet.to_string()),
                    gateway: Some(subnet.gateway().to_string()),
                    ..Default::default()
                }]),
                options: None,
            }),
            options: Some(HashMap::from([(
                "com.docker.network.bridge.enable_ip_masquerade".to_owned(),
                "false".to_owned(),
            )])),
            labels: Some(labels.to_map(self.maker())),
            ..Default::default()
        }
    }
}
