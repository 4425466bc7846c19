//! Browsers that watch a log.

use crate::installation::Installation;
use anyhow::{Context, Result};
use futures::{SinkExt, StreamExt};
use serde_json::json;
use std::time::Instant;
use tokio::{net::TcpStream, sync::mpsc};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

/// A frame's arrival: who got it, up to which line, when.
pub struct Arrival {
    pub reader: usize,
    pub last_seq: i64,
    pub at: Instant,
}

async fn open(
    installation: &Installation,
    token: &str,
    run: &str,
    after: i64,
) -> Result<WebSocketStream<TcpStream>> {
    let mut request = format!("ws://{}/live", installation.base_domain).into_client_request()?;
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
    let stream = TcpStream::connect(installation.address).await?;
    stream.set_nodelay(true)?;
    let (mut socket, _) = client_async(request, stream).await.context("the live socket")?;
    let subscribe = json!({"subscribe": {"topic": {"log": run}, "after": after}});
    socket.send(Message::text(subscribe.to_string())).await?;
    Ok(socket)
}

/// Reads every frame as it comes.
pub async fn watch(
    installation: &Installation,
    token: &str,
    run: &str,
    after: i64,
    reader: usize,
    arrivals: mpsc::UnboundedSender<Arrival>,
) -> Result<()> {
    let mut socket = open(installation, token, run, after).await?;
    tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            let at = Instant::now();
            let Some(last_seq) = message.to_text().ok().and_then(last_seq) else { continue };
            if arrivals.send(Arrival { reader, last_seq, at }).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Subscribes and reads nothing, for as long as the answer is kept.
pub async fn stall(
    installation: &Installation,
    token: &str,
    run: &str,
    after: i64,
) -> Result<impl Sized + use<>> {
    open(installation, token, run, after).await
}

/// The sequence of the last line in a frame. Frames are large and many: they are not read whole.
fn last_seq(frame: &str) -> Option<i64> {
    let rest = frame.split_once("\"last_seq\":")?.1;
    let end = rest.find(|sign: char| !sign.is_ascii_digit())?;
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_frame_is_found() {
        let frame = r#"{"news":{"topic":{"log":"x"},"last_seq":1234,"content":[{"seq":1}]}}"#;
        assert_eq!(last_seq(frame), Some(1234));
        assert_eq!(last_seq(r#"{"hello":{"build":"x"}}"#), None);
    }
}
