//! The worker's private listener, `<data>/worker.sock`: what only a worker can do or see, for the console. Whoever can
//! open the socket is the console (mode 0600); on a joined machine its proxy does, for a caller whose certificate is
//! the console's machine's. Whether a person may have what is asked for, the console has asked before.

use axum::{
    Router,
    body::Body,
    extract::{
        Path, Query, State,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{SinkExt, StreamExt};
use odooops::{
    config::Config,
    docker::{Docker, Shell},
    environment,
    id::EnvironmentId,
    run::job::admin_password,
};
use secrecy::ExposeSecret;
use serde::Deserialize;
use sqlx::PgPool;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;

/// What a terminal sends at once.
const MAX_INPUT: usize = 1 << 20;
const MAX_ARGUMENTS: usize = 32;

#[derive(Clone)]
pub struct Private {
    pub pool: PgPool,
    pub docker: Docker,
    pub config: Arc<Config>,
}

pub fn router(private: Private) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/environments/{environment}/admin-password", get(password))
        .route("/environments/{environment}/shell", get(shell))
        .route("/images", get(image))
        .with_state(private)
}

async fn health(State(private): State<Private>) -> Response {
    match private.docker.ping().await {
        Ok(()) => "ok\n".into_response(),
        Err(error) => failed(StatusCode::SERVICE_UNAVAILABLE, &error),
    }
}

async fn password(State(private): State<Private>, Path(environment): Path<EnvironmentId>) -> Response {
    match admin_password(&private.config, environment).await {
        Ok(Some(password)) => {
            ([(header::CACHE_CONTROL, "no-store")], password.expose_secret().to_owned()).into_response()
        }
        Ok(None) => (StatusCode::NOT_FOUND, "not on this machine\n").into_response(),
        Err(error) => failed(StatusCode::INTERNAL_SERVER_ERROR, &error),
    }
}

#[derive(Deserialize)]
struct Wanted {
    name: String,
}

/// An image that environments run, for a machine that lacks it.
async fn image(State(private): State<Private>, Query(wanted): Query<Wanted>) -> Response {
    let config = &private.config;
    if ![&config.odoo_image, &config.odoo_build_image].contains(&&wanted.name) {
        return (StatusCode::NOT_FOUND, "not an image that environments run\n").into_response();
    }
    match private.docker.image_exists(&wanted.name).await {
        Ok(true) => Body::from_stream(private.docker.save_image(&wanted.name)).into_response(),
        Ok(false) => (StatusCode::NOT_FOUND, "there is no such image\n").into_response(),
        Err(error) => failed(StatusCode::SERVICE_UNAVAILABLE, &error),
    }
}

#[derive(Deserialize)]
struct Asked {
    /// The program and its arguments, a JSON array.
    arguments: String,
}

/// A terminal: binary messages carry its bytes both ways, a text message `{"columns":80,"rows":24}` is its size. Ends
/// with the program, whose exit code is the text message `{"exit_code":0}`.
async fn shell(
    State(private): State<Private>,
    Path(environment): Path<EnvironmentId>,
    Query(asked): Query<Asked>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let arguments: Vec<String> = match serde_json::from_str(&asked.arguments) {
        Ok(arguments) => arguments,
        Err(error) => return failed(StatusCode::UNPROCESSABLE_ENTITY, &error),
    };
    if arguments.is_empty() || arguments.len() > MAX_ARGUMENTS || arguments.iter().any(|it| it.contains('\0'))
    {
        return (StatusCode::UNPROCESSABLE_ENTITY, "no program\n").into_response();
    }
    let container = async {
        let mut conn = private.pool.acquire().await?;
        environment::query::container(&mut conn, environment).await
    };
    let container = match container.await {
        Ok(container) => container,
        Err(error) => {
            let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return failed(status, &error);
        }
    };
    match private.docker.open_shell(environment, &container, arguments).await {
        Ok(shell) => upgrade.max_message_size(MAX_INPUT).on_upgrade(|socket| converse(socket, shell)),
        Err(error) => failed(StatusCode::CONFLICT, &error),
    }
}

#[derive(Deserialize)]
struct Size {
    columns: u16,
    rows: u16,
}

async fn converse(socket: WebSocket, mut shell: Shell) {
    let (mut sender, mut receiver) = socket.split();
    loop {
        tokio::select! {
            printed = shell.output.next() => match printed {
                Some(Ok(bytes)) => if sender.send(Message::Binary(bytes)).await.is_err() { return },
                Some(Err(error)) => {
                    tracing::debug!(%error, "a terminal ended");
                    break;
                }
                None => break,
            },
            told = receiver.next() => match told {
                Some(Ok(Message::Binary(bytes))) => if shell.input.write_all(&bytes).await.is_err() { break },
                Some(Ok(Message::Text(text))) => if let Ok(size) = serde_json::from_str::<Size>(&text) {
                    _ = shell.resize(size.columns, size.rows).await;
                },
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                // The terminal's other end is gone: its program reads the end of its input.
                Some(Ok(Message::Close(_)) | Err(_)) | None => {
                    _ = shell.input.shutdown().await;
                    return;
                }
            },
        }
    }
    let code = shell.exit_code().await.ok().flatten();
    let end = serde_json::json!({ "exit_code": code }).to_string();
    _ = sender.send(Message::Text(end.into())).await;
    _ = sender.close().await;
}

fn failed(status: StatusCode, error: &dyn std::fmt::Display) -> Response {
    tracing::warn!(%error, "the private listener refuses");
    (status, format!("{error}\n")).into_response()
}
