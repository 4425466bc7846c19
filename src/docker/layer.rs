//! The image of an environment that has a requirements.txt: the Odoo image with a virtual environment on top.
//!
//! A layer is named after everything that decides its content, so the same requirements on the same image are built
//! once. The build runs code of strangers (every sdist may), so it runs as nobody, bounded in memory, CPU, time and
//! output, on a network of its own from which only the package index can be reached ([`super::egress`]). The
//! Dockerfile consists of argument vectors and names of ours: nothing of a requirements file or its path is in it.

use super::{
    Docker, DockerError, Labels, Limits,
    egress::{AllowList, Bounds, EgressProxy, IndexError},
    labels::{self, Maker},
    names,
};
use crate::{id::RunId, log::split::Splitter};
use bollard::{errors::Error as Bollard, query_parameters::BuildImageOptions};
use futures::StreamExt;
use sha2::{Digest, Sha256};
use std::{collections::HashMap, path::PathBuf, time::Duration};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Changes when the recipe changes, so that layers of the old one are not taken for the new.
const RECIPE: &str = "1";
const MAX_FILES: usize = 64;
const MAX_FILE_BYTES: usize = 1024 * 1024;
/// pip prints kilobytes; a build that prints more than this is broken or hostile.
const MAX_OUTPUT: usize = 64 * 1024 * 1024;
const MAX_ERRORS: usize = 8;
/// Where the host keeps its certificate authorities; companies add theirs there.
pub const HOST_CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A requirements.txt of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequirementsFile {
    /// Its path in the repository, for messages.
    pub name: String,
    pub content: Vec<u8>,
}

#[derive(Debug, Clone)]
pub struct LayerRequest {
    pub run: RunId,
    /// The image that environments run.
    pub base: String,
    /// The same with compilers.
    pub build_image: String,
    pub requirements: Vec<RequirementsFile>,
    /// Python's own index where none is given; only https.
    pub index_url: Option<String>,
    /// Further hosts that the index keeps its files on.
    pub index_hosts: Vec<String>,
    /// Certificate authorities that pip trusts in the build: [`HOST_CA_BUNDLE`] where none is given and it exists.
    pub ca_bundle: Option<PathBuf>,
    /// Docker's build call takes at most 2 GiB of memory.
    pub limits: Limits,
    pub timeout: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// What pip said, for the user.
    #[error("The Python requirements cannot be installed: {0}")]
    Requirements(String),
    #[error("There are more than {MAX_FILES} requirements files, or one above 1 MiB")]
    TooLarge,
    #[error("The image {0} is not there")]
    NoImage(String),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error("{0} cannot be read: {1}")]
    CaBundle(PathBuf, std::io::Error),
    #[error("The Python requirements took longer than {} s to install", .0.as_secs())]
    TimedOut(Duration),
    #[error("The Python requirements printed more than 64 MiB")]
    Output,
    #[error("canceled")]
    Canceled,
    #[error(transparent)]
    Docker(#[from] DockerError),
}

impl Docker {
    /// The tag of the layer, built when it is not there. Output goes to `lines` one by one; a receiver that is slow
    /// slows the build, one that was dropped cancels it, as `cancel` does.
    pub async fn requirements_layer(
        &self,
        request: &LayerRequest,
        lines: mpsc::Sender<String>,
        cancel: &CancellationToken,
    ) -> Result<String, LayerError> {
        let files = &request.requirements;
        if files.len() > MAX_FILES || files.iter().any(|file| file.content.len() > MAX_FILE_BYTES) {
            return Err(LayerError::TooLarge);
        }
        let allow = AllowList::of_index(request.index_url.as_deref(), &request.index_hosts)?;
        let base = self.image_id(&request.base).await?;
        let build_image = self.image_id(&request.build_image).await?;
        let tag = names::layer(&digest(&base, &build_image, request));
        if self.image_exists(&tag).await? {
            return Ok(tag);
        }
        let context = context(&base, &build_image, self.maker(), request, ca_bundle(request).await?)
            .map_err(|error| DockerError::Other(error.to_string()))?;
        let network_name = names::build_network(request.run);
        let network = self.ensure_network(&network_name, Labels::run(request.run)).await?;
        let built = async {
            let proxy = EgressProxy::start(network.gateway.into(), network.subnet, allow, Bounds::default())
                .await
                .map_err(DockerError::from)?;
            let options = options(&tag, &network_name, &proxy.url(), request.limits);
            tokio::select! {
                built = self.build(options, context, request, &proxy, lines) => built,
                () = cancel.cancelled() => Err(LayerError::Canceled),
                () = tokio::time::sleep(request.timeout) => Err(LayerError::TimedOut(request.timeout)),
            }
        }
        .await;
        self.remove_build(request.run, &network_name).await?;
        built.map(|()| tag)
    }

    /// The daemon's side of a build ends when the connection does, but not at once.
    async fn remove_build(&self, run: RunId, network: &str) -> Result<(), DockerError> {
        for container in self.containers().await? {
            if container.labels == Labels::run(run) {
                self.remove_container(&container.id).await?;
            }
        }
        self.remove_network(network).await?;
        self.remove_untagged_images(run).await
    }

    async fn image_id(&self, name: &str) -> Result<String, LayerError> {
        Ok(self.image(name).await?.ok_or_else(|| LayerError::NoImage(name.to_owned()))?.id)
    }

    async fn build(
        &self,
        options: BuildImageOptions,
        context: Vec<u8>,
        request: &LayerRequest,
        proxy: &EgressProxy,
        lines: mpsc::Sender<String>,
    ) -> Result<(), LayerError> {
        // The first answer comes when the first instruction ran.
        let client = self.client().clone().with_timeout(request.timeout + super::ANSWER_TIMEOUT);
        let mut output = client.build_image(options, None, Some(bollard::body_full(context.into())));
        let (mut splitter, mut printed, mut errors) = (Splitter::default(), 0, Vec::new());
        let mut ready = Vec::new();
        loop {
            let end = match output.next().await {
                Some(Ok(info)) => {
                    let text = info.stream.unwrap_or_default();
                    printed += text.len();
                    splitter.push(text.as_bytes(), |line| ready.push(line.text.to_owned()));
                    None
                }
                Some(Err(error)) => Some(Err(error)),
                None => Some(Ok(())),
            };
            if end.is_some() {
                splitter.finish(|line| ready.push(line.text.to_owned()));
            }
            for line in ready.drain(..) {
                let line = readable(&line, &request.requirements);
                if is_of_builder(&line) {
                    continue;
                }
                note_error(&mut errors, &line);
                lines.send(line).await.map_err(|_| LayerError::Canceled)?;
            }
            if printed > MAX_OUTPUT {
                return Err(LayerError::Output);
            }
            return match end {
                None => continue,
                Some(Ok(())) => Ok(()),
                Some(Err(Bollard::DockerStreamError { error })) => {
                    Err(LayerError::Requirements(explain(&errors, &error, &proxy.refused())))
                }
                Some(Err(error)) => Err(DockerError::from(error).into()),
            };
        }
    }
}

fn digest(base: &str, build_image: &str, request: &LayerRequest) -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        // With its length, so that two files cannot be mistaken for one.
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    for text in [RECIPE, base, build_image, request.index_url.as_deref().unwrap_or_default()] {
        part(text.as_bytes());
    }
    for file in &request.requirements {
        part(&file.content);
    }
    format!("{:x}", hash.finalize())
}

fn dockerfile(base: &str, build_image: &str, maker: Maker, request: &LayerRequest) -> String {
    let installation = maker.installation;
    let host = maker.host.map(|host| format!(" \"{}\"=\"{host}\"", labels::HOST)).unwrap_or_default();
    let mut install = vec!["/opt/venv/bin/pip".to_owned(), "install".to_owned(), "--no-cache-dir".to_owned()];
    for index in 0..request.requirements.len() {
        install.extend(["-r".to_owned(), requirements_path(index)]);
    }
    let run = |argv: &[&str]| format!("RUN {}\n", serde_json::json!(argv));
    let install: Vec<&str> = install.iter().map(String::as_str).collect();
    [
        format!("FROM {build_image} AS build\n"),
        // Containers of the build carry these; the layer itself belongs to no run.
        format!(
            "LABEL \"{}\"=\"{installation}\" \"{}\"=\"{}\"{host}\n",
            labels::INSTALLATION,
            labels::RUN,
            request.run
        ),
        "USER 0:0\n".to_owned(),
        "COPY build /odooops\n".to_owned(),
        run(&["python3", "-m", "venv", "--system-site-packages", "/opt/venv"]),
        run(&["chown", "-R", "65534:65534", "/opt/venv"]),
        "USER 65534:65534\n".to_owned(),
        "ENV HOME=/tmp PIP_CONFIG_FILE=/odooops/pip.conf\n".to_owned(),
        run(&install),
        format!("FROM {base}\n"),
        format!("LABEL \"{}\"=\"{installation}\"\n", labels::INSTALLATION),
        "COPY --from=build /opt/venv /opt/venv\n".to_owned(),
    ]
    .concat()
}

fn requirements_path(index: usize) -> String {
    format!("/odooops/requirements/{index}.txt")
}

/// In a file and not in build arguments: those are shown in the image's history, and the URL may hold a token.
fn pip_conf(index_url: Option<&str>, has_ca: bool) -> String {
    let mut text =
        "[global]\ndisable-pip-version-check = true\nno-input = true\nprogress-bar = off\nretries = 2\n\
                    timeout = 30\n"
            .to_owned();
    if let Some(url) = index_url {
        // Parsed as a URL before, so it has no line breaks; `%` begins an interpolation.
        text.push_str(&format!("index-url = {}\n", url.replace('%', "%%")));
    }
    if has_ca {
        text.push_str("cert = /odooops/ca.crt\n");
    }
    text
}

async fn ca_bundle(request: &LayerRequest) -> Result<Option<Vec<u8>>, LayerError> {
    match &request.ca_bundle {
        Some(path) => {
            tokio::fs::read(path).await.map(Some).map_err(|error| LayerError::CaBundle(path.clone(), error))
        }
        None => Ok(tokio::fs::read(HOST_CA_BUNDLE).await.ok()),
    }
}

fn context(
    base: &str,
    build_image: &str,
    maker: Maker,
    request: &LayerRequest,
    ca: Option<Vec<u8>>,
) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, content)
    };
    add("Dockerfile", dockerfile(base, build_image, maker, request).as_bytes())?;
    add("build/pip.conf", pip_conf(request.index_url.as_deref(), ca.is_some()).as_bytes())?;
    if let Some(ca) = ca {
        add("build/ca.crt", &ca)?;
    }
    for (index, file) in request.requirements.iter().enumerate() {
        add(&format!("build/requirements/{index}.txt"), &file.content)?;
    }
    tar.into_inner()
}

fn options(tag: &str, network: &str, proxy: &str, limits: Limits) -> BuildImageOptions {
    let memory = i32::try_from(limits.memory_bytes).unwrap_or(i32::MAX);
    let proxies = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];
    BuildImageOptions {
        t: Some(tag.to_owned()),
        rm: true,
        forcerm: true,
        memory: Some(memory),
        memswap: Some(memory),
        cpuperiod: Some(100_000),
        cpuquota: Some((limits.cpus * 100_000.0) as i32),
        // Docker knows these names: they reach the commands and are neither kept in the image nor in its history.
        buildargs: Some(
            proxies.iter().map(|name| (String::from(*name), proxy.to_owned())).collect::<HashMap<_, _>>(),
        ),
        networkmode: Some(network.to_owned()),
        ..Default::default()
    }
}

/// Keeps pip's own sentences (`ERROR: ...`) and, where pip fails itself, what the last traceback ends in
/// (`package.module.Error: reason`).
fn note_error(errors: &mut Vec<String>, line: &str) {
    if let Some(sentence) = line.strip_prefix("ERROR: ") {
        // The first announces a traceback; the second only sends to a manual, the sentence before has said it.
        let empty = sentence == "Exception:" || sentence.starts_with("ResolutionImpossible");
        if !empty && errors.len() < MAX_ERRORS {
            errors.push(sentence.trim().to_owned());
        }
    } else if let Some((class, reason)) = line.split_once(": ")
        && let Some((module, name)) = class.rsplit_once('.')
        && module.starts_with("pip.")
        && name.chars().all(|c| c.is_ascii_alphanumeric())
    {
        errors.clear();
        errors.push(format!("{name}: {reason}"));
    }
}

/// Docker's own lines between pip's.
fn is_of_builder(line: &str) -> bool {
    let built = |id: &str| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    ["Step ", " ---> ", "Removing intermediate container ", "Successfully tagged "]
        .iter()
        .any(|prefix| line.starts_with(prefix))
        || line.strip_prefix("Successfully built ").is_some_and(built)
}

/// Without the colours that the builder gives to standard error, and with the names that the user knows.
fn readable(line: &str, files: &[RequirementsFile]) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find("\u{1b}[") {
        text.push_str(&rest[..start]);
        let sequence = &rest[start + 2..];
        let end = sequence.find(|c: char| !c.is_ascii_digit() && c != ';');
        rest = match end {
            Some(end) if sequence[end..].starts_with('m') => &sequence[end + 1..],
            _ => sequence,
        };
    }
    text.push_str(rest);
    for (index, file) in files.iter().enumerate() {
        let path = requirements_path(index);
        if text.contains(&path) {
            let name: String = file.name.chars().filter(|c| !c.is_control()).collect();
            text = text.replace(&path, &name);
        }
    }
    text
}

fn explain(errors: &[String], docker: &str, refused: &[String]) -> String {
    let mut text = errors.join(" ");
    if text.is_empty() {
        text = docker.to_owned();
    }
    if !refused.is_empty() {
        text.push_str(&format!(" (only the package index can be reached; refused: {})", refused.join(", ")));
    }
    text.chars().take(2000).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::InstallationId;

    fn request(files: &[&str]) -> LayerRequest {
        LayerRequest {
            run: RunId::new(),
            base: "odoo:19.0".into(),
            build_image: "odoo:19.0-build".into(),
            requirements: files
                .iter()
                .map(|content| RequirementsFile {
                    name: "a\"; RUN rm -rf /\nRUN x/requirements.txt".into(),
                    content: content.as_bytes().to_vec(),
                })
                .collect(),
            index_url: None,
            index_hosts: vec![],
            ca_bundle: None,
            limits: Limits::default(),
            timeout: Duration::from_secs(600),
        }
    }

    #[test]
    fn threat_01_nothing_of_the_repository_is_in_the_dockerfile() {
        let maker = Maker { installation: InstallationId::new(), host: None };
        let text = dockerfile("sha256:a", "sha256:b", maker, &request(&["x\nRUN evil", "y"]));
        assert!(!text.contains("evil") && !text.contains("rm -rf"));
        for line in text.lines().filter(|line| line.starts_with("RUN ")) {
            let argv: Vec<String> = serde_json::from_str(&line[4..]).unwrap();
            assert!(!argv.is_empty());
        }
        assert!(text.contains(r#""-r","/odooops/requirements/0.txt","-r","/odooops/requirements/1.txt"]"#));
    }

    #[test]
    fn the_digest_follows_content_and_image_only() {
        let of = |files: &[&str]| digest("a", "b", &request(files));
        assert_eq!(of(&["x", "y"]), of(&["x", "y"]));
        assert_ne!(of(&["x", "y"]), of(&["xy"]));
        assert_ne!(of(&["x", "y"]), of(&["y", "x"]));
        assert_ne!(of(&["x"]), digest("c", "b", &request(&["x"])));
    }

    #[test]
    fn messages_are_for_people() {
        let files = [RequirementsFile { name: "addons/requirements.txt".into(), content: vec![] }];
        let line =
            "\u{1b}[91mERROR: Invalid requirement (from line 1 of /odooops/requirements/0.txt)\u{1b}[0m";
        let line = readable(line, &files);
        assert_eq!(line, "ERROR: Invalid requirement (from line 1 of addons/requirements.txt)");
        assert_eq!(
            explain(
                &[line.replace("ERROR: ", "")],
                "returned a non-zero code: 1",
                &["github.com:443".into()]
            ),
            "Invalid requirement (from line 1 of addons/requirements.txt) (only the package index can be reached; \
             refused: github.com:443)"
        );
        assert_eq!(explain(&[], "returned a non-zero code: 1", &[]), "returned a non-zero code: 1");
        let mut errors = Vec::new();
        for line in [
            "ERROR: Exception:",
            "pip._vendor.packaging._tokenizer.ParserSyntaxError: Expected",
            "pip._vendor.packaging.markers.InvalidMarker: Expected a marker",
            "Collecting a.b: c",
        ] {
            note_error(&mut errors, line);
        }
        assert_eq!(errors, ["InvalidMarker: Expected a marker"]);
        assert!(
            is_of_builder("Successfully built 0123456789ab") && !is_of_builder("Successfully built lxml")
        );
        assert_eq!(readable("\u{1b}[2Jx\u{1b}[", &[]), "2Jx");
    }
}
