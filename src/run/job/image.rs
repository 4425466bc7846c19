//! The image that the environment runs: the platform's, or one with the commit's Python requirements.

use super::{JobError, progress::Progress, sources::Sources};
use crate::{
    docker::{LayerError, LayerRequest, Limits, RequirementsFile, names},
    node::{Identity, control},
    odoo::launch,
    run::LogLevel,
};
use http::StatusCode;
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Compiling a large package takes minutes.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Lines that are stored at once.
const BATCH: usize = 256;

pub struct Image {
    pub name: String,
    /// Programs run from the layer's virtual environment.
    pub has_requirements: bool,
}

impl Image {
    /// The image of that name, as it was prepared once.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), has_requirements: names::is_layer(name) }
    }

    /// How Odoo is called in this image.
    pub fn odoo(&self) -> Vec<String> {
        launch::command(if self.has_requirements { "/opt/venv/bin/python3" } else { "/usr/bin/python3" })
    }
}

pub async fn prepare(progress: Progress<'_>, sources: &Sources) -> Result<(Image, String), JobError> {
    let config = &progress.shop.config;
    let base = config.odoo_image.clone();
    bring(progress, &base).await?;
    if progress.shop.docker.image(&base).await?.is_none() {
        return Err(JobError::fail(format!(
            "The image {base} is not on this machine. Ask an administrator for it."
        )));
    }
    let mut requirements = Vec::new();
    for path in &sources.addons.requirements {
        let content = tokio::fs::read(sources.root.join(path)).await.map_err(JobError::retry)?;
        requirements.push(RequirementsFile { name: path.display().to_string(), content });
    }
    if requirements.is_empty() {
        return Ok((Image::named(&base), base));
    }
    let request = LayerRequest {
        run: progress.claim.id,
        base,
        build_image: config.odoo_build_image.clone(),
        requirements,
        index_url: config.pip_index_url.clone(),
        index_hosts: config.pip_index_hosts.clone(),
        ca_bundle: config.pip_ca_bundle.clone(),
        limits: Limits::default(),
        timeout: PATIENCE,
    };
    // Bounded: while PostgreSQL is slow, pip waits.
    let (lines, mut received) = mpsc::channel::<String>(BATCH);
    let cancel = CancellationToken::new();
    let build = progress.shop.docker.requirements_layer(&request, lines, &cancel);
    let write = async {
        let mut batch = Vec::new();
        while received.recv_many(&mut batch, BATCH).await > 0 {
            let lines: Vec<_> = batch.drain(..).map(|line| (level_of(&line), line)).collect();
            progress.logs("pip", &lines).await?;
        }
        Ok::<_, JobError>(())
    };
    let write = async {
        // A build whose lines nobody takes would wait for ever.
        write.await.inspect_err(|_| cancel.cancel())
    };
    let (name, written) = tokio::join!(build, write);
    written?;
    let name = name.map_err(|error| match error {
        LayerError::Docker(cause) => JobError::retry(cause),
        other => JobError::fail(other.to_string()),
    })?;
    let note = format!("{} requirements files", sources.addons.requirements.len());
    Ok((Image::named(&name), note))
}

/// A joined machine that lacks the image gets it from the console's.
async fn bring(progress: Progress<'_>, name: &str) -> Result<(), JobError> {
    let shop = progress.shop;
    let Some(identity) = Identity::of(&shop.config).map_err(JobError::retry)? else { return Ok(()) };
    if shop.docker.image(name).await?.is_some() {
        return Ok(());
    }
    progress.log("system", LogLevel::Info, &format!("Fetching the image {name}; this happens once.")).await?;
    // A name of an image: the configuration let nothing else pass.
    let path = format!("/images?name={}", name.replace('+', "%2B"));
    let response = control::get(&shop.config, &identity, &path).await.map_err(JobError::retry)?;
    match response.status() {
        StatusCode::OK => Ok(shop.docker.load_image(response.into_body().into_data_stream()).await?),
        // It has none of this name either: the step says so.
        StatusCode::NOT_FOUND => Ok(()),
        status => Err(JobError::retry(format!("the image {name}: {status}"))),
    }
}

/// pip begins such lines so.
fn level_of(line: &str) -> LogLevel {
    if line.starts_with("ERROR:") {
        LogLevel::Error
    } else if line.starts_with("WARNING:") {
        LogLevel::Warn
    } else {
        LogLevel::Info
    }
}
