use super::{Docker, DockerError, Labels, labels::host_of};
use crate::id::HostId;
use bollard::query_parameters::{ListVolumesOptions, RemoveVolumeOptions};

/// A volume of this installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    pub name: String,
    pub labels: Labels,
    /// Whose worker made it; None: it does not say.
    pub host: Option<HostId>,
}

impl Docker {
    /// Every volume of this installation.
    pub async fn volumes(&self) -> Result<Vec<Volume>, DockerError> {
        let options = ListVolumesOptions { filters: Some(self.ours()) };
        let found = self.client.list_volumes(Some(options)).await?.volumes.unwrap_or_default();
        let ours = found.into_iter().filter(|volume| self.is_ours(Some(&volume.labels)));
        Ok(ours
            .map(|volume| Volume {
                labels: Labels::from_map(&volume.labels),
                host: host_of(&volume.labels),
                name: volume.name,
            })
            .collect())
    }

    /// Removes a volume of this installation, with what is in it; one that a container uses is refused.
    pub async fn remove_volume(&self, name: &str) -> Result<(), DockerError> {
        match self.client.inspect_volume(name).await.map_err(DockerError::from) {
            Ok(found) if self.is_ours(Some(&found.labels)) => {}
            Ok(_) => return Err(DockerError::Foreign(format!("volume {name}"))),
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        }
        match self.client.remove_volume(name, None::<RemoveVolumeOptions>).await.map_err(DockerError::from) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
impl Docker {
    pub async fn create_volume_for_tests(&self, name: &str, labels: Labels) {
        let options = bollard::models::VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(labels.to_map(self.maker())),
            ..Default::default()
        };
        self.client.create_volume(options).await.unwrap();
    }
}
