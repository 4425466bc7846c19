//! Files of environments, on the private listener: folders as JSON, files as they are.

use super::private::{Private, failed};
use axum::{
    Json,
    body::Body,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use odooops::{
    environment::{
        FilePath,
        files::{self, FilesError, Found},
    },
    id::EnvironmentId,
};
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

#[derive(Deserialize)]
pub struct Wanted {
    #[serde(default)]
    path: String,
}

pub async fn read(
    State(private): State<Private>,
    Path(environment): Path<EnvironmentId>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let path = match FilePath::parse(&wanted.path) {
        Ok(path) => path,
        Err(error) => return failed(StatusCode::UNPROCESSABLE_ENTITY, &error),
    };
    let config = private.config.clone();
    match tokio::task::spawn_blocking(move || files::look(&config, environment, &path)).await {
        Ok(Ok(Found::Folder(list))) => Json(list).into_response(),
        Ok(Ok(Found::File { file, size })) => {
            // What is appended meanwhile is not sent; what is cut off ends the answer early, which the reader sees.
            let bytes = ReaderStream::new(tokio::fs::File::from_std(file).take(size));
            let headers = [
                (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
                (header::CONTENT_LENGTH, size.to_string()),
            ];
            (headers, Body::from_stream(bytes)).into_response()
        }
        Ok(Err(error)) => {
            let status = match error {
                FilesError::NotFound => StatusCode::NOT_FOUND,
                FilesError::Refused => StatusCode::FORBIDDEN,
                FilesError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            failed(status, &error)
        }
        Err(error) => failed(StatusCode::INTERNAL_SERVER_ERROR, &error),
    }
}
