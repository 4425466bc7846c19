//! Git over HTTP at `/git/<project>.git`: the smart protocol only, spoken by git's own `http-backend`. This file is
//! the HTTP around it: who is there, what they may do, and bodies of any size streamed both ways.
//!
//! Mount it outside of compression and body limits: packs are compressed already and may be large.

use super::{ClientAddress, hooks::words};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{Stream, StreamExt};
use odooops::{
    Error,
    access::{self, Action, Actor},
    git::{Backend, BackendRequest, Repositories},
    id::{ProjectId, UserId},
    project::{self, Slug},
    session::{self, Fingerprint},
};
use serde::Deserialize;
use sqlx::PgPool;
use std::{
    io,
    net::IpAddr,
    path::PathBuf,
    pin::pin,
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{ChildStdin, ChildStdout},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// Fetches and pushes at the same time; more wait for a while.
const CONCURRENT: usize = 16;
const WAIT_FOR_SLOT: Duration = Duration::from_secs(30);
/// Without a byte in either direction for this long, the other side is gone.
const IDLE: Duration = Duration::from_secs(180);
const LONGEST: Duration = Duration::from_secs(2 * 3600);
/// The CGI header of http-backend is a few lines.
const MAX_HEAD: usize = 16 << 10;
const CHUNK: usize = 64 << 10;

#[derive(Clone)]
pub struct GitHttp {
    pool: PgPool,
    repositories: Repositories,
    /// `<data>/ops.sock`, where the hooks find us.
    hook_socket: PathBuf,
    slots: Arc<Semaphore>,
}

impl GitHttp {
    pub fn new(pool: PgPool, repositories: Repositories, hook_socket: PathBuf) -> Self {
        Self { pool, repositories, hook_socket, slots: Arc::new(Semaphore::new(CONCURRENT)) }
    }
}

pub fn router(state: GitHttp) -> Router {
    Router::new()
        .route("/git/{repository}/info/refs", get(info_refs))
        .route("/git/{repository}/git-upload-pack", post(upload_pack))
        .route("/git/{repository}/git-receive-pack", post(receive_pack))
        .with_state(state)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    UploadPack,
    ReceivePack,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }
}

#[derive(Deserialize)]
struct Asked {
    service: Option<String>,
}

async fn info_refs(
    State(state): State<GitHttp>,
    Path(repository): Path<String>,
    Query(asked): Query<Asked>,
    request: Request<Body>,
) -> Response {
    let service = match asked.service.as_deref() {
        Some("git-upload-pack") => Service::UploadPack,
        Some("git-receive-pack") => Service::ReceivePack,
        // The dumb protocol would read files of the repository as they are.
        _ => {
            return text(
                StatusCode::FORBIDDEN,
                "This server speaks the smart protocol only: use git 1.6.6 or newer.",
            );
        }
    };
    serve(&state, &repository, service, "GET", request).await
}

async fn upload_pack(
    State(state): State<GitHttp>,
    Path(repository): Path<String>,
    request: Request<Body>,
) -> Response {
    serve(&state, &repository, Service::UploadPack, "POST", request).await
}

async fn receive_pack(
    State(state): State<GitHttp>,
    Path(repository): Path<String>,
    request: Request<Body>,
) -> Response {
    serve(&state, &repository, Service::ReceivePack, "POST", request).await
}

async fn serve(
    state: &GitHttp,
    repository: &str,
    service: Service,
    method: &'static str,
    request: Request<Body>,
) -> Response {
    let address = ClientAddress::of(request.extensions());
    let (project, actor) = match admit(state, repository, service, request.headers(), address).await {
        Ok(admitted) => admitted,
        Err(error) => return refusal(&error),
    };
    let Ok(Ok(slot)) = timeout(WAIT_FOR_SLOT, state.slots.clone().acquire_owned()).await else {
        return text(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many fetches and pushes at once. Please try again.",
        );
    };
    let cgi = match backend_request(
        &state.hook_socket,
        project,
        (actor.user_id, actor.address),
        service,
        method,
        &request,
    ) {
        Ok(cgi) => cgi,
        Err(response) => return *response,
    };
    let repository = match odooops::git::ready(&state.pool, &state.repositories, &actor, project).await {
        Ok(repository) => repository,
        Err(error) => return refusal(&error),
    };
    match state.repositories.git().http_backend(&repository, &cgi) {
        Ok(backend) => converse(backend, request.into_body(), slot).await,
        Err(error) => refusal(&error.into()),
    }
}

/// Who is there, and whether they may.
async fn admit(
    state: &GitHttp,
    repository: &str,
    service: Service,
    headers: &HeaderMap,
    address: ClientAddress,
) -> Result<(ProjectId, Actor), Error> {
    let token = token(headers).ok_or(Error::Unauthenticated)?;
    let mut txn = state.pool.begin().await?;
    let (me, _) = session::service::holder_of_token(&mut txn, Fingerprint::of(&token))
        .await?
        .ok_or(Error::Unauthenticated)?;
    // The use of the token is noted even when nothing comes of it.
    txn.commit().await?;
    let actor = Actor { user_id: me.id, platform_admin: me.platform_admin, address: address.0 };
    let slug = repository.strip_suffix(".git").and_then(|slug| Slug::parse(slug).ok());
    let slug = slug.ok_or(Error::not_found("project"))?;
    let mut txn = access::begin_as(&state.pool, actor).await?;
    let project = project::service::resolve(&mut txn, &actor, &slug).await?;
    let action = match service {
        Service::UploadPack => Action::Fetch(project),
        Service::ReceivePack => Action::Push(project),
    };
    access::authorise(&mut txn, &actor, action).await?;
    txn.commit().await?;
    Ok((project, actor))
}

/// The password of Basic, whatever the user name, or a Bearer token.
fn token(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let token = if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
        pair.split_once(':')?.1.to_owned()
    } else if scheme.eq_ignore_ascii_case("bearer") {
        rest.trim().to_owned()
    } else {
        return None;
    };
    (!token.is_empty() && token.len() <= 200).then_some(token)
}

/// For another machine's worker, which was let in already: reads of one repository.
pub async fn read(
    repositories: &Repositories,
    project: ProjectId,
    is_post: bool,
    request: Request<Body>,
) -> Response {
    static SLOTS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(CONCURRENT)));
    let Ok(Ok(slot)) = timeout(WAIT_FOR_SLOT, SLOTS.clone().acquire_owned()).await else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "Too many fetches at once. Please try again.");
    };
    let nobody = UserId(uuid::Uuid::nil());
    let method = if is_post { "POST" } else { "GET" };
    // Reading runs no hook.
    let no_hooks = std::path::Path::new("/nonexistent");
    let cgi = match backend_request(no_hooks, project, (nobody, None), Service::UploadPack, method, &request)
    {
        Ok(cgi) => cgi,
        Err(response) => return *response,
    };
    let repository = repositories.of(project);
    if !repository.exists() {
        return refusal(&Error::unavailable("git.repository_gone"));
    }
    match repositories.git().http_backend(&repository, &cgi) {
        Ok(backend) => converse(backend, request.into_body(), slot).await,
        Err(error) => refusal(&error.into()),
    }
}

fn backend_request(
    hook_socket: &std::path::Path,
    project: ProjectId,
    (user, address): (UserId, Option<IpAddr>),
    service: Service,
    method: &'static str,
    request: &Request<Body>,
) -> Result<BackendRequest, Box<Response>> {
    let header = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let refuse = |why: &str| Err(Box::new(text(StatusCode::UNSUPPORTED_MEDIA_TYPE, why)));
    let is_post = method == "POST";
    let content_type = format!("application/x-{}-request", service.name());
    if is_post && header(header::CONTENT_TYPE) != Some(content_type.as_str()) {
        return refuse("This address takes git's own requests only.");
    }
    let content_encoding = match header(header::CONTENT_ENCODING) {
        None | Some("identity") => None,
        Some(gzip @ ("gzip" | "x-gzip")) => Some(gzip.to_owned()),
        Some(_) => return refuse("Of all encodings, gzip is understood."),
    };
    let protocol = header(HeaderName::from_static("git-protocol")).filter(|value| {
        value.len() <= 100 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"=:.-".contains(&b))
    });
    Ok(BackendRequest {
        project,
        user,
        address,
        service_path: match (is_post, service) {
            (false, _) => "info/refs",
            (true, service) => service.name(),
        },
        method,
        query: if is_post { String::new() } else { format!("service={}", service.name()) },
        content_type: is_post.then_some(content_type),
        content_encoding,
        content_length: header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        protocol: protocol.map(str::to_owned),
        hook_socket: hook_socket.to_owned(),
    })
}

/// Feeds the request to the process and its answer to the client, each as fast as the other side takes it. When
/// the client goes, everything here is dropped and the process is killed.
async fn converse(mut backend: Backend, body: Body, slot: OwnedSemaphorePermit) -> Response {
    let (Some(stdin), Some(mut stdout)) = (backend.stdin.take(), backend.stdout.take()) else {
        return refusal(&Error::internal("git http-backend has no pipes"));
    };
    let complaints = AbortOnDropHandle::new(tokio::spawn(backend.complaints()));
    // When the request breaks off, the process must be killed: http-backend waits in a busy loop for the rest of a
    // body that was announced and does not come.
    let broken = CancellationToken::new();
    let feed = AbortOnDropHandle::new(tokio::spawn({
        let broken = broken.clone();
        async move {
            if !feed(body.into_data_stream(), stdin).await {
                broken.cancel();
            }
        }
    }));
    let started = async {
        tokio::select! {
            head = read_head(&mut stdout) => head,
            () = broken.cancelled() => Err(io::Error::other("the request broke off")),
        }
    };
    let (head, start) = match timeout(LONGEST, started).await {
        Ok(Ok(found)) => found,
        outcome => {
            let cause = match outcome {
                Ok(Err(error)) => error.to_string(),
                _ => "no answer in time".to_owned(),
            };
            // A process that said nothing has ended: what it complained about is complete.
            let complaints = timeout(Duration::from_secs(1), complaints).await;
            return refusal(&Error::internal(format!("git http-backend: {cause}: {complaints:?}")));
        }
    };
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(2);
    tokio::spawn(async move {
        let _held = (slot, feed);
        let whole = async {
            if !start.is_empty() && sender.send(Ok(start)).await.is_err() {
                return;
            }
            let forwarded = tokio::select! {
                forwarded = forward(&mut stdout, &sender) => forwarded,
                () = broken.cancelled() => Err(io::ErrorKind::UnexpectedEof.into()),
            };
            if let Err(error) = forwarded {
                // The client sees a broken body rather than a short one.
                let _ = sender.send(Err(error)).await;
                return;
            }
            match backend.ended().await {
                Ok(Some(0)) => {}
                code => {
                    let complaints = complaints.await.unwrap_or_default();
                    tracing::warn!(?code, %complaints, "git http-backend failed");
                }
            }
        };
        if timeout(LONGEST, whole).await.is_err() {
            tracing::warn!("a fetch or push took too long and was stopped");
        }
    });
    let chunks =
        futures::stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let mut response = Response::new(Body::from_stream(chunks));
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}

/// Whether the request was passed on to its end, or as far as the process wanted it.
async fn feed(chunks: impl Stream<Item = Result<Bytes, axum::Error>>, mut stdin: ChildStdin) -> bool {
    let mut chunks = pin!(chunks);
    loop {
        match timeout(IDLE, chunks.next()).await {
            Ok(Some(Ok(chunk))) => {
                // A process that has read enough closes its end: its answer says why.
                if stdin.write_all(&chunk).await.is_err() {
                    return true;
                }
            }
            Ok(None) => return true,
            Ok(Some(Err(_))) | Err(_) => return false,
        }
    }
}

async fn forward(stdout: &mut ChildStdout, sender: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        tokio::select! {
            read = stdout.read_buf(&mut chunk) => if read? == 0 { return Ok(()) },
            () = sender.closed() => return Err(gone()),
        }
        match timeout(IDLE, sender.send(Ok(chunk.into()))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Err(gone()),
        }
    }
}

#[derive(Debug)]
struct Head {
    status: StatusCode,
    headers: HeaderMap,
}

/// Reads the CGI header, and what of the body came with it.
async fn read_head(stdout: &mut ChildStdout) -> io::Result<(Head, Bytes)> {
    let mut bytes = Vec::new();
    loop {
        if let Some((end, body)) = end_of_head(&bytes) {
            let head = parse_head(&bytes[..end])?;
            return Ok((head, Bytes::copy_from_slice(&bytes[body..])));
        }
        if bytes.len() > MAX_HEAD {
            return Err(io::Error::other("the header does not end"));
        }
        if stdout.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Where the header ends and where the body starts.
fn end_of_head(bytes: &[u8]) -> Option<(usize, usize)> {
    let find = |pattern: &[u8]| bytes.windows(pattern.len()).position(|window| window == pattern);
    find(b"\r\n\r\n").map(|at| (at, at + 4)).or_else(|| find(b"\n\n").map(|at| (at, at + 2)))
}

fn parse_head(bytes: &[u8]) -> io::Result<Head> {
    let damaged = || io::Error::other("the header is damaged");
    let mut head = Head { status: StatusCode::OK, headers: HeaderMap::new() };
    for line in std::str::from_utf8(bytes).map_err(|_| damaged())?.lines() {
        let (name, value) = line.split_once(':').ok_or_else(damaged)?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().and_then(|code| code.parse().ok()).ok_or_else(damaged)?;
            head.status = StatusCode::from_u16(code).map_err(|_| damaged())?;
            continue;
        }
        let name: HeaderName = name.parse().map_err(|_| damaged())?;
        head.headers.append(name, HeaderValue::from_str(value).map_err(|_| damaged())?);
    }
    Ok(head)
}

/// Git prints plain text behind `remote:`.
fn refusal(error: &Error) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = text(status, &words(error));
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Basic realm=\"OdooOps\", charset=\"UTF-8\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

fn text(status: StatusCode, words: &str) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, format!("{words}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_the_password_of_anybody() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            token(&headers)
        };
        let basic = |pair: &str| with(&format!("Basic {}", STANDARD.encode(pair)));
        assert_eq!(basic("x:ops_secret").as_deref(), Some("ops_secret"));
        assert_eq!(basic(":a:b").as_deref(), Some("a:b"));
        assert_eq!(with("bearer ops_secret").as_deref(), Some("ops_secret"));
        for none in ["Basic", "Basic !!!", "Digest x", "Bearer "] {
            assert_eq!(with(none), None, "{none}");
        }
        assert_eq!(basic("no-colon"), None);
        assert_eq!(basic("x:"), None);
        assert_eq!(basic(&format!("x:{}", "a".repeat(201))), None);
        assert_eq!(token(&HeaderMap::new()), None);
    }

    #[test]
    fn cgi_headers_become_http() {
        let bytes =
            b"Status: 403 Forbidden\r\nContent-Type: text/plain\r\nCache-Control: no-cache\r\n\r\nbody";
        let (end, body) = end_of_head(bytes).unwrap();
        let head = parse_head(&bytes[..end]).unwrap();
        assert_eq!(head.status, StatusCode::FORBIDDEN);
        assert_eq!(head.headers.len(), 2);
        assert_eq!(&bytes[body..], b"body");
        assert_eq!(parse_head(b"Content-Type: x").unwrap().status, StatusCode::OK);
        assert!(end_of_head(b"Status: 200\r\n").is_none());
        for bad in [&b"no colon"[..], b"Status: abc", b"Status: 7", b"bad name: x", b"\xff: x"] {
            assert!(parse_head(bad).is_err(), "{bad:?}");
        }
    }
}
