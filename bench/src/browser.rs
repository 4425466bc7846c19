//! Somebody who is signed in and opens pages: each with the files that it names, each file once, as browsers do.

use crate::{http::Connection, installation::Installation};
use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    header::{ACCEPT_ENCODING, CONTENT_TYPE, COOKIE, ORIGIN, SET_COOKIE},
};
use std::collections::BTreeSet;

pub struct Browser {
    connection: Connection,
    cookie: String,
    kept: BTreeSet<String>,
}

impl Browser {
    /// By a link that works once, as `ops up` prints it.
    pub async fn sign_in(installation: &Installation) -> Result<Self> {
        let link = installation.ops(&["login-link"])?;
        let link = link["url"].as_str().context("no login link")?;
        let (origin, token) = link.split_once("/sign-in?").context("a login link without /sign-in")?;
        let mut connection = Connection::open(installation.address, &installation.base_domain).await?;
        let form = Request::builder()
            .method(Method::POST)
            .uri("/sign-in")
            .header(ORIGIN, origin)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(token.to_owned()))?;
        let answer = connection.send(form).await?;
        ensure!(answer.status() == StatusCode::SEE_OTHER, "signing in: {}", answer.status());
        let cookie = answer.headers().get(SET_COOKIE).context("no session")?.to_str()?;
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        answer.into_body().collect().await?;
        Ok(Self { connection, cookie, kept: BTreeSet::new() })
    }

    pub async fn open(&mut self, path: &str) -> Result<()> {
        let page = self.get(path).await?;
        for file in files_of(&String::from_utf8_lossy(&page)) {
            if self.kept.insert(file.clone()) {
                self.get(&file).await?;
            }
        }
        Ok(())
    }

    async fn get(&mut self, path: &str) -> Result<Bytes> {
        let mut request = Request::get(path).header(COOKIE, &self.cookie);
        if path.starts_with("/pkg/") {
            request = request.header(ACCEPT_ENCODING, "br");
        }
        let answer = self.connection.send(request.body(Full::default())?).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(status == StatusCode::OK, "GET {path}: {status}");
        Ok(body)
    }
}

/// Scripts, styles and WebAssembly that a page names, in links and in its own script.
fn files_of(page: &str) -> BTreeSet<String> {
    let belongs = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    let rests = page.split("/pkg/").skip(1);
    let names = rests.map(|rest| rest.split(|c| !belongs(c)).next().unwrap_or_default());
    names.filter(|name| name.contains('.')).map(|name| format!("/pkg/{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_its_files() {
        let page = r#"<link href="/pkg/ops.a-_1.css"><link rel=modulepreload href="/pkg/ops.b.js">
                      <script>import('/pkg/ops.b.js').then(m => m.default({module_or_path: '/pkg/ops.c.wasm'}))
                      const base = "/pkg/";</script>"#;
        let files: Vec<String> = files_of(page).into_iter().collect();
        assert_eq!(files, ["/pkg/ops.a-_1.css", "/pkg/ops.b.js", "/pkg/ops.c.wasm"]);
    }
}
