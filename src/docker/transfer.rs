//! Images on their way from one machine's daemon to another's.

use super::{Docker, DockerError};
use bollard::query_parameters::ImportImageOptions;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};

impl Docker {
    /// The image with all its layers, as `docker save` writes it.
    pub fn save_image(&self, name: &str) -> impl Stream<Item = Result<Bytes, DockerError>> + Send + 'static {
        let (client, name) = (self.client.clone(), name.to_owned());
        // The client's stream borrows it.
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        tokio::spawn(async move {
            let mut chunks = std::pin::pin!(client.export_image(&name));
            while let Some(chunk) = chunks.next().await {
                if sender.send(chunk.map_err(DockerError::from)).await.is_err() {
                    return;
                }
            }
        });
        futures::stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)))
    }

    /// Takes what [`Docker::save_image`] gave, under the names that it has there.
    pub async fn load_image<E>(
        &self,
        chunks: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    ) -> Result<(), DockerError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let options = ImportImageOptions { quiet: true, ..Default::default() };
        let told = self.client.import_image_stream(options, chunks, None);
        told.try_for_each(async |_| Ok(())).await.map_err(DockerError::from)
    }
}
