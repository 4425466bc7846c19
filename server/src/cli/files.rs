//! Files of an environment: folders as tables, single files as they are.

use super::{
    CliError, Client,
    output::{Output, clean, moment},
};
use crate::http::FilesQuery;
use futures::StreamExt;
use odooops::{
    environment::{FileKind, FileList},
    id::EnvironmentId,
};
use reqwest::{Response, header};
use std::{
    io::{self, Write},
    path::Path,
};

pub async fn run(
    client: &Client,
    output: &Output,
    environment: EnvironmentId,
    path: &str,
    target: Option<&Path>,
) -> Result<(), CliError> {
    let query = FilesQuery { path: path.to_owned() };
    let query = serde_urlencoded::to_string(&query).map_err(|_| CliError::Usage("this is no path"))?;
    let answer = client.open(&format!("/environments/{environment}/files?{query}")).await?;
    let is_folder = answer
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|it| it.as_bytes().starts_with(b"application/json"));
    match (is_folder, target) {
        (true, None) => {
            let list: FileList = answer.json().await.map_err(|error| client.broken(&error))?;
            show(output, &list)
        }
        (true, Some(_)) => Err(CliError::Usage("this is a folder: name one of its files")),
        (false, None) => Err(CliError::Usage("this is a file: say with --output where to write it to")),
        (false, Some(target)) if target == Path::new("-") => {
            copy(client, answer, &mut io::stdout().lock(), target).await
        }
        (false, Some(target)) => save(client, answer, target).await,
    }
}

fn show(output: &Output, list: &FileList) -> Result<(), CliError> {
    if output.json {
        return output.show(list, |_| String::new());
    }
    output.list(&list.entries, &["NAME", "SIZE", "CHANGED"], |entry| {
        let (mark, size) = match entry.kind {
            FileKind::File => ("", entry.size.to_string()),
            FileKind::Folder => ("/", String::new()),
            FileKind::Link => ("@", String::new()),
            FileKind::Other => ("?", String::new()),
        };
        vec![format!("{}{mark}", clean(&entry.name)), size, moment(entry.modified_at)]
    })?;
    if list.more {
        output.note(&format!("There are more than {}.", list.entries.len()));
    }
    Ok(())
}

/// Whole or not at all: a file of this name is replaced when the new one is there.
async fn save(client: &Client, answer: Response, target: &Path) -> Result<(), CliError> {
    let failed = |cause| CliError::File { path: target.display().to_string(), cause };
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".ops-").tempfile_in(folder).map_err(failed)?;
    copy(client, answer, &mut file, target).await?;
    file.persist(target).map_err(|error| failed(error.error))?;
    Ok(())
}

async fn copy(client: &Client, answer: Response, to: &mut impl Write, target: &Path) -> Result<(), CliError> {
    let failed = |cause| CliError::File { path: target.display().to_string(), cause };
    let mut bytes = answer.bytes_stream();
    while let Some(chunk) = bytes.next().await {
        // Shorter than announced is an error here.
        let chunk = chunk.map_err(|error| client.broken(&error))?;
        to.write_all(&chunk).map_err(failed)?;
    }
    to.flush().map_err(failed)
}
