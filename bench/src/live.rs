//! The console's live socket, as a second browser would hold it.

use crate::installation::Installation;
use anyhow::{Context, Result, bail};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::{net::TcpStream, sync::watch, task::JoinHandle, time::timeout};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A project's board as it arrives, each with the moment of its arrival.
pub struct BoardWatcher {
    newest: watch::Receiver<Option<(Instant, Value)>>,
    reading: JoinHandle<()>,
}

impl BoardWatcher {
    pub async fn open(installation: &Installation, token: &str, project_id: &str) -> Result<Self> {
        let mut request = format!("ws://{}/live", installation.base_domain).into_client_request()?;
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
        let stream = TcpStream::connect(installation.address).await?;
        stream.set_nodelay(true)?;
        let (mut socket, _) = client_async(request, stream).await.context("the live socket")?;
        let subscribe = json!({"subscribe": {"topic": {"board": project_id}}});
        socket.send(Message::text(subscribe.to_string())).await?;
        let (sender, mut newest) = watch::channel(None);
        let reading = tokio::spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                let arrived = Instant::now();
                let Some(text) = message.to_text().ok().filter(|_| message.is_text()) else { continue };
                let Ok(mut told) = serde_json::from_str::<Value>(text) else { continue };
                if told.get("denied").is_some() {
                    return;
                }
                if let Some(board) = told.get_mut("news").and_then(|news| news.get_mut("content")) {
                    sender.send_replace(Some((arrived, board.take())));
                }
            }
        });
        timeout(PATIENCE, newest.wait_for(Option::is_some)).await.context("no board came")??;
        Ok(Self { newest, reading })
    }

    /// The board as it was told last.
    pub fn now(&self) -> Result<Value> {
        self.newest.borrow().as_ref().map(|(_, board)| board.clone()).context("no board")
    }

    /// When the board first looked like this.
    pub async fn until(&mut self, looks: impl Fn(&Value) -> bool) -> Result<Instant> {
        let right =
            |newest: &Option<(Instant, Value)>| newest.as_ref().is_some_and(|(_, board)| looks(board));
        match timeout(PATIENCE, self.newest.wait_for(right)).await {
            Ok(Ok(newest)) => newest.as_ref().map(|(arrived, _)| *arrived).context("no board"),
            Ok(Err(_)) => bail!("the live socket ended"),
            Err(_) => bail!("the board did not change within {PATIENCE:?}"),
        }
    }
}

impl Drop for BoardWatcher {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// The card of a branch.
pub fn card<'a>(board: &'a Value, branch: &str) -> Option<&'a Value> {
    board["branches"].as_array()?.iter().find(|card| card["name"] == branch)
}
