use super::{Docker, DockerError, Labels, labels};
use crate::id::RunId;
use bollard::query_parameters::{ListImagesOptions, RemoveImageOptions};
use std::collections::HashMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `sha256:...` of the configuration: the same id is the same image.
    pub id: String,
    /// `name@sha256:...` where it came from a registry.
    pub digests: Vec<String>,
    pub labels: HashMap<String, String>,
}

/// An image that this installation built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    pub id: String,
    /// Its names; none for what a build left.
    pub layers: Vec<String>,
    /// Of what is left of a build.
    pub run: Option<RunId>,
    /// Seconds since 1970.
    pub created: i64,
}

impl Docker {
    /// The local image of that name or id. Nothing is pulled.
    pub async fn image(&self, name: &str) -> Result<Option<Image>, DockerError> {
        match self.client.inspect_image(name).await.map_err(DockerError::from) {
            Ok(found) => Ok(Some(Image {
                id: found.id.unwrap_or_default(),
                digests: found.repo_digests.unwrap_or_default(),
                labels: found.config.and_then(|config| config.labels).unwrap_or_default(),
            })),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub async fn image_exists(&self, name: &str) -> Result<bool, DockerError> {
        Ok(self.image(name).await?.is_some())
    }

    /// Removes an image that this installation built.
    pub async fn remove_image(&self, name: &str) -> Result<(), DockerError> {
        let Some(image) = self.image(name).await? else { return Ok(()) };
        if !self.is_ours(Some(&image.labels)) {
            return Err(DockerError::Foreign(format!("image {name}")));
        }
        match self
            .client
            .remove_image(name, None::<RemoveImageOptions>, None)
            .await
            .map_err(DockerError::from)
        {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// The requirements layers that this installation built, and what its builds left without a name.
    pub async fn built_images(&self) -> Result<Vec<BuiltImage>, DockerError> {
        let options = ListImagesOptions { filters: Some(self.ours()), ..Default::default() };
        let found = self.client.list_images(Some(options)).await?;
        Ok(found
            .into_iter()
            .map(|image| BuiltImage {
                run: Labels::from_map(&image.labels).run,
                layers: image.repo_tags.into_iter().filter(|tag| super::names::is_layer(tag)).collect(),
                id: image.id,
                created: image.created,
            })
            .collect())
    }

    /// Images without a name that a build of this run left behind.
    pub(super) async fn untagged_images(&self, run: RunId) -> Result<Vec<String>, DockerError> {
        let mut filters = self.ours();
        filters.entry("label".to_owned()).or_default().push(format!("{}={run}", labels::RUN));
        filters.insert("dangling".to_owned(), vec!["true".to_owned()]);
        let options = ListImagesOptions { filters: Some(filters), ..Default::default() };
        Ok(self.client.list_images(Some(options)).await?.into_iter().map(|image| image.id).collect())
    }

    /// Removes them, with the steps that they consist of.
    pub(super) async fn remove_untagged_images(&self, run: RunId) -> Result<(), DockerError> {
        for id in self.untagged_images(run).await? {
            match self
                .client
                .remove_image(&id, None::<RemoveImageOptions>, None)
                .await
                .map_err(DockerError::from)
            {
                // In use by a container that is just going.
                Err(DockerError::NotFound(_) | DockerError::Conflict(_)) | Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
