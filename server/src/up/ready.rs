//! The last thing `ops up` says: where the console is, how to sign in, and how to call `ops` from another terminal.

use super::log::Log;
use crate::Failure;
use axum::body::Body;
use hyper::{Method, Request, StatusCode, body::Bytes};
use hyper_util::rt::TokioIo;
use odooops::config::Config;
use serde::Deserialize;
use std::{path::Path, time::Duration};
use tokio::{
    net::{TcpStream, UnixStream},
    time::{Instant, sleep, timeout},
};

const POLL: Duration = Duration::from_millis(100);
/// After this it says what it still waits for, and waits on.
const SOON: Duration = Duration::from_secs(20);

#[derive(Deserialize)]
struct LoginLink {
    url: String,
}

/// Waits until the proxy and the console answer, then prints the address and a link that signs in once.
pub async fn announce(config: &Config, log: &Log) -> Result<(), Failure> {
    until("the console", log, async || {
        let answer = over_socket(&config.ops_socket(), Method::GET, "/readyz").await;
        answer.ok().filter(|(status, _)| *status == StatusCode::OK).map(|_| ())
    })
    .await;
    until("the proxy", log, async || {
        through_proxy(config).await.ok().filter(|status| *status == StatusCode::OK)
    })
    .await;
    until("the demo project", log, async || {
        let answer = over_socket(&config.ops_socket(), Method::POST, "/api/v1/demo-project").await;
        answer.ok().filter(|(status, _)| *status == StatusCode::OK).map(|_| ())
    })
    .await;
    let link = until("a sign-in link", log, async || {
        let (_, body) = over_socket(&config.ops_socket(), Method::POST, "/api/v1/login-links").await.ok()?;
        serde_json::from_slice::<LoginLink>(&body).ok()
    })
    .await;
    log.say(&format!("the console is at {}", config.public_url()));
    let command = alias(&std::env::current_exe()?, &config.data_dir);
    // The link is a key: to the terminal only, never into a log file.
    println!(
        "\n  Open {}\n  Sign in once with {}\n  In another terminal: {command}\n",
        config.public_url(),
        link.url
    );
    Ok(())
}

/// Makes this very program and its installation the command `ops` of somebody's shell: it is on nobody's PATH.
fn alias(program: &Path, data_dir: &Path) -> String {
    let words = [program.to_string_lossy(), "--data-dir".into(), data_dir.to_string_lossy()];
    format!("alias ops={}", quoted(&words.map(|word| quoted(&word)).join(" ")))
}

/// One word to a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Asks again and again. Says so when it takes long; the processes' own lines tell why.
async fn until<T>(what: &str, log: &Log, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    let mut said = false;
    loop {
        if let Ok(Some(answer)) = timeout(Duration::from_secs(5), ask()).await {
            return answer;
        }
        if !said && begun.elapsed() > SOON {
            log.say(&format!("still waiting for {what}"));
            said = true;
        }
        sleep(POLL).await;
    }
}

async fn through_proxy(config: &Config) -> Result<StatusCode, Failure> {
    let mut address = config.listen;
    if address.ip().is_unspecified() {
        let loopback = if address.is_ipv4() { "127.0.0.1" } else { "::1" };
        address.set_ip(loopback.parse()?);
    }
    let stream = TcpStream::connect(address).await?;
    let request = Request::get("/healthz").header("host", &config.base_domain).body(Body::empty())?;
    Ok(exchange(TokioIo::new(stream), request).await?.0)
}

async fn over_socket(path: &Path, method: Method, target: &str) -> Result<(StatusCode, Bytes), Failure> {
    let stream = UnixStream::connect(path).await?;
    let request =
        Request::builder().method(method).uri(target).header("host", "localhost").body(Body::empty())?;
    exchange(TokioIo::new(stream), request).await
}

async fn exchange<T>(stream: TokioIo<T>, request: Request<Body>) -> Result<(StatusCode, Bytes), Failure>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let driving = tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = axum::body::to_bytes(Body::new(answer.into_body()), 64 << 10).await?;
    drop(sender);
    driving.abort();
    Ok((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, io::Write, os::unix::fs::PermissionsExt, process};

    #[test]
    fn what_is_printed_makes_ops_a_command_of_the_shell() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["plain", "with blanks", "it's $HOME;"] {
            let program = dir.path().join(name);
            fs::write(&program, "#!/bin/sh\nprintf '<%s>' \"$@\"\n").unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            let data = dir.path().join(format!("{name} data"));
            let mut shell = process::Command::new("sh");
            shell.stdin(process::Stdio::piped()).stdout(process::Stdio::piped());
            let mut shell = shell.spawn().unwrap();
            let lines = format!("{}\nops token create\n", alias(&program, &data));
            shell.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
            let said = String::from_utf8(shell.wait_with_output().unwrap().stdout).unwrap();
            assert_eq!(said, format!("<--data-dir><{}><token><create>", data.display()));
        }
    }
}
