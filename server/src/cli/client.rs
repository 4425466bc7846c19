use super::CliError;
use crate::http::{LoginLink, ProblemBody};
use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use futures::{Stream, StreamExt, TryStreamExt};
use reqwest::{Method, Response, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, de::DeserializeOwned};
use std::{io, path::Path, time::Duration};
use tokio::io::AsyncBufReadExt;
use tokio_util::io::StreamReader;

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Streams say nothing while nothing happens, so they have no limit; other answers do.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// Speaks `/api/v1`.
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<SecretString>,
    /// For messages.
    place: String,
    advice: &'static str,
}

impl Client {
    /// As platform administrator, on the server itself.
    pub fn local(socket: &Path) -> Result<Self, CliError> {
        let place = socket.display().to_string();
        let http = reqwest::Client::builder().unix_socket(socket).connect_timeout(CONNECT_WITHIN).build();
        Ok(Self {
            http: http.map_err(|error| strange(&place, &error))?,
            base: "http://localhost".to_owned(),
            token: None,
            place,
            advice: "Is `ops up` running, with this --data-dir and by this user? From elsewhere use --url.",
        })
    }

    /// As the token's owner.
    pub fn remote(url: &str, token: SecretString) -> Result<Self, CliError> {
        let bad = || CliError::BadUrl(url.to_owned());
        let parsed = reqwest::Url::parse(url).map_err(|_| bad())?;
        let host = parsed.host_str().ok_or_else(bad)?;
        let here = host == "localhost"
            || host.ends_with(".localhost")
            || host == "[::1]"
            || host.starts_with("127.");
        match parsed.scheme() {
            "https" => {}
            "http" if here => {}
            "http" => return Err(CliError::ClearText),
            _ => return Err(bad()),
        }
        let base = parsed.origin().ascii_serialization();
        let redirects = reqwest::redirect::Policy::none();
        let http = reqwest::Client::builder().redirect(redirects).connect_timeout(CONNECT_WITHIN).build();
        Ok(Self {
            http: http.map_err(|error| strange(&base, &error))?,
            place: base.clone(),
            base,
            token: Some(token),
            advice: "Check the address.",
        })
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.read(self.send(Method::GET, path, None::<&()>, Some(ANSWER_WITHIN)).await?).await
    }

    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CliError> {
        self.read(self.send(Method::POST, path, Some(body), Some(ANSWER_WITHIN)).await?).await
    }

    pub async fn patch<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CliError> {
        self.read(self.send(Method::PATCH, path, Some(body), Some(ANSWER_WITHIN)).await?).await
    }

    /// For what is told something and answers with nothing.
    pub async fn tell(&self, path: &str, body: &impl Serialize) -> Result<(), CliError> {
        self.send(Method::POST, path, Some(body), Some(ANSWER_WITHIN)).await.map(drop)
    }

    /// For what answers with nothing.
    pub async fn act(&self, method: Method, path: &str) -> Result<(), CliError> {
        self.send(method, path, None::<&()>, Some(ANSWER_WITHIN)).await.map(drop)
    }

    /// An answer that is no JSON, or may be none: its body streams, however long that takes.
    pub async fn open(&self, path: &str) -> Result<Response, CliError> {
        let answer = self.send(Method::GET, path, None::<&()>, None);
        match tokio::time::timeout(ANSWER_WITHIN, answer).await {
            Ok(answer) => answer,
            Err(late) => Err(self.broken(&late)),
        }
    }

    /// A websocket, with nothing of it read yet.
    pub async fn upgrade(&self, path: &str) -> Result<reqwest::Upgraded, CliError> {
        let mut request = self.http.get(format!("{}/api/v1{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        let request = request
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, BASE64.encode(rand::random::<[u8; 16]>()));
        let answer = match tokio::time::timeout(ANSWER_WITHIN, request.send()).await {
            Ok(answer) => answer.map_err(|error| self.broken(&error))?,
            Err(late) => return Err(self.broken(&late)),
        };
        match answer.status() {
            StatusCode::SWITCHING_PROTOCOLS => answer.upgrade().await.map_err(|error| self.broken(&error)),
            status => Err(self.refusal(status, answer).await),
        }
    }

    /// What is said when a stream breaks off.
    pub fn broken(&self, error: &(dyn std::error::Error + 'static)) -> CliError {
        CliError::Unreachable { place: self.place.clone(), cause: innermost(error), advice: self.advice }
    }

    /// An answer of JSON lines, each as it arrives.
    pub async fn lines<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<impl Stream<Item = Result<T, CliError>> + Unpin + use<'_, T>, CliError> {
        let response = self.send(Method::GET, path, None::<&()>, None).await?;
        let reader = StreamReader::new(response.bytes_stream().map_err(io::Error::other));
        let lines = tokio_stream(reader.lines());
        Ok(Box::pin(lines.map(move |line| {
            let line = line.map_err(|error| self.broken(&error))?;
            serde_json::from_str(&line).map_err(|error| strange(&self.place, &error))
        })))
    }

    pub async fn login_link(&self) -> Result<LoginLink, CliError> {
        self.post("/login-links", &()).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        within: Option<Duration>,
    ) -> Result<Response, CliError> {
        let mut request = self.http.request(method, format!("{}/api/v1{path}", self.base));
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        if let Some(within) = within {
            request = request.timeout(within);
        }
        let response = request.send().await.map_err(|error| self.broken(&error))?;
        match response.status() {
            status if status.is_success() => Ok(response),
            status => Err(self.refusal(status, response).await),
        }
    }

    async fn refusal(&self, status: StatusCode, response: Response) -> CliError {
        match response.json::<ProblemBody>().await {
            Ok(problem) => CliError::Refused(Box::new(problem)),
            Err(_) => CliError::Strange { place: self.place.clone(), cause: status.to_string() },
        }
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, CliError> {
        response.json().await.map_err(|error| strange(&self.place, &error))
    }
}

fn strange(place: &str, error: &(dyn std::error::Error + 'static)) -> CliError {
    CliError::Strange { place: place.to_owned(), cause: innermost(error) }
}

/// The outer errors only say that a request failed.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn tokio_stream<R: tokio::io::AsyncBufRead + Unpin>(
    lines: tokio::io::Lines<R>,
) -> impl Stream<Item = io::Result<String>> {
    futures::stream::try_unfold(lines, async |mut lines| {
        Ok(lines.next_line().await?.map(|line| (line, lines)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_never_travels_in_clear_text_to_another_machine() {
        let to = |url: &str| Client::remote(url, SecretString::from("ops_x"));
        for good in
            ["https://ops.example", "http://localhost:3000", "http://127.0.0.1:3000", "https://ops.example/"]
        {
            assert!(to(good).is_ok(), "{good}");
        }
        assert!(matches!(to("http://ops.example"), Err(CliError::ClearText)));
        assert!(matches!(to("http://localhost.evil.example"), Err(CliError::ClearText)));
        assert!(matches!(to("ftp://ops.example"), Err(CliError::BadUrl(_))));
        assert!(matches!(to("ops.example"), Err(CliError::BadUrl(_))));
    }
}
