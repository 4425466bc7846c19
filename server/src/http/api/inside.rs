//! What is inside an environment: a shell in its container, its files. Both are answered by the worker of its machine.

use super::{
    super::{
        ClientAddress, Identity, Web,
        shell::{self, Record},
    },
    Problem, ProblemBody,
    extract::{Path, Query},
};
use axum::{
    body::Body,
    extract::{
        State,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderValue, Request, StatusCode, header},
    response::{IntoResponse, Response},
};
use odooops::{
    Detail, Error,
    environment::{
        FileList, FilePath, service,
        shell::{MAX_MESSAGE, ShellQuery, ShellRequest},
    },
    id::EnvironmentId,
};
use serde::{Deserialize, Serialize};

/// A shell in the environment's container, as a websocket, as its Odoo's user. `arguments` is a JSON array of the
/// program and its arguments (`bash`, when left out); with `columns` and `rows` it has a terminal.
///
/// Binary messages are bytes: input; and output, behind a byte that is 1 for output and 2 for errors when there is no
/// terminal. Text messages to it are `{"columns":80,"rows":24}` and `{"end_of_input":true}`. The last text message from
/// it is `{"exit_code":0}`. It is ended when the connection is, and when the right to it is.
#[utoipa::path(get, path = "/environments/{environment}/shell", tag = "environments",
    params(("environment" = EnvironmentId, Path), ("arguments" = Option<String>, Query),
        ("columns" = Option<u16>, Query), ("rows" = Option<u16>, Query)),
    responses((status = 101), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 409, body = ProblemBody), (status = 422, body = ProblemBody), (status = 429, body = ProblemBody),
        (status = 503, body = ProblemBody)))]
pub async fn shell(
    State(web): State<Web>,
    identity: Identity,
    address: ClientAddress,
    Path(environment): Path<EnvironmentId>,
    Query(asked): Query<ShellQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let actor = identity.actor();
    service::may_connect(&web.pool, &actor, environment).await?;
    let request = ShellRequest::try_from(asked)?;
    let upgrade = upgrade.map_err(|_| Error::invalid("upgrade", Detail::new("request.upgrade")))?;
    let Some(place) = web.live.limits().take(identity.me.id, address.0) else {
        return Ok(too_many("request.too_many_sockets"));
    };
    let reach = web.reach().map_err(Error::internal)?;
    let session = service::begin_shell(&web.pool, &actor, environment, &request).await?;
    let record = Record::new(web.clone(), session.clone());
    let query = serde_urlencoded::to_string(request.query()).map_err(Error::internal)?;
    let path = format!("/environments/{environment}/shell?{query}");
    let worker = match reach.upgrade(session.there.as_ref(), &path).await {
        Ok(Ok(worker)) => worker,
        Ok(Err(status)) => {
            record.end("refused", None).await;
            return match status {
                StatusCode::TOO_MANY_REQUESTS => Ok(too_many("environment.shells")),
                StatusCode::NOT_FOUND | StatusCode::CONFLICT => {
                    Err(Error::conflict(Detail::new("environment.not_running")).into())
                }
                _ => Err(Error::unavailable("worker").into()),
            };
        }
        Err(error) => {
            tracing::warn!(%environment, %error, "its worker does not answer");
            record.end("refused", None).await;
            return Err(Error::unavailable("worker").into());
        }
    };
    Ok(upgrade.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE).write_buffer_size(0).on_upgrade(
        async move |socket| {
            shell::carry(record, web, identity, session, socket, worker).await;
            drop(place);
        },
    ))
}

fn too_many(code: &'static str) -> Response {
    (StatusCode::TOO_MANY_REQUESTS, Problem(Error::unavailable(code))).into_response()
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct FilesQuery {
    /// Such as `src/sale`; nothing for what there is at all.
    #[serde(default)]
    pub path: String,
}

/// A folder of the environment as JSON (`FileList`), or a file as it is (`application/octet-stream`). There are `src`,
/// the checkout, and `filestore`.
#[utoipa::path(get, path = "/environments/{environment}/files", tag = "environments",
    params(("environment" = EnvironmentId, Path), ("path" = Option<String>, Query)),
    responses((status = 200, body = FileList), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 422, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn files(
    State(web): State<Web>,
    identity: Identity,
    Path(environment): Path<EnvironmentId>,
    Query(asked): Query<FilesQuery>,
) -> Result<Response, Problem> {
    let actor = identity.actor();
    service::may_connect(&web.pool, &actor, environment).await?;
    let path = FilePath::parse(&asked.path)?;
    let reach = web.reach().map_err(Error::internal)?;
    let there = service::begin_reading(&web.pool, &actor, environment, &path).await?;
    let query =
        serde_urlencoded::to_string(FilesQuery { path: path.to_string() }).map_err(Error::internal)?;
    let request = Request::get(format!("/environments/{environment}/files?{query}"))
        .header(header::HOST, "worker")
        .body(Default::default())
        .map_err(Error::internal)?;
    let answer = reach.send(there.as_ref(), request).await.map_err(|error| {
        tracing::warn!(%environment, %error, "its worker does not answer");
        Error::unavailable("worker")
    })?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Err(Error::not_found("environment.file").into()),
        StatusCode::FORBIDDEN => return Err(Error::forbidden("environment.no_file").into()),
        status => {
            tracing::warn!(%environment, %status, "its worker gives no files");
            return Err(Error::unavailable("worker").into());
        }
    }
    let (parts, body) = answer.into_parts();
    let mut response = Response::new(Body::new(body));
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        if let Some(value) = parts.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    // A tenant's file must never be a page of the console.
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_DISPOSITION, "attachment"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}
