//! What the outside world knows, kept outside every database: each line is on disk before anything else happens.

use crate::daemon::Daemon;
use futures::StreamExt;
use serde_json::{Value, json};
use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};
use tokio::task::JoinHandle;

#[derive(Clone)]
pub struct Ledger {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

/// A container's life as the daemon told it, in nanoseconds of its clock.
#[derive(Debug, Clone)]
pub struct Life {
    pub id: String,
    pub name: String,
    pub run: String,
    pub starts: Vec<i64>,
    pub ends: Vec<(i64, i64)>,
}

impl Ledger {
    pub fn open(scratch: &Path) -> Self {
        let path = scratch.join("ledger.jsonl");
        let file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        Self { path, file: Arc::new(Mutex::new(file)) }
    }

    pub fn note(&self, what: &str, mut entry: Value) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        entry["what"] = what.into();
        entry["at"] = json!(now.as_secs_f64());
        let mut file = self.file.lock().unwrap();
        writeln!(file, "{entry}").unwrap();
        file.sync_data().unwrap();
    }

    fn entries(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Runs that the platform has acknowledged.
    pub fn runs(&self) -> Vec<String> {
        let of = |entry: &Value| (entry["what"] == "run").then(|| entry["run"].as_str().unwrap().to_owned());
        self.entries().iter().filter_map(of).collect()
    }

    pub fn lives(&self) -> Vec<Life> {
        let mut lives: Vec<Life> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for entry in self.entries().iter().filter(|entry| entry["what"] == "container") {
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            let (id, time) = (text("id"), entry["time"].as_i64().unwrap());
            // After a lost connection the last events come again.
            if !seen.insert((id.clone(), time, text("action"))) {
                continue;
            }
            let position = lives.iter().position(|life| life.id == id).unwrap_or_else(|| {
                let (name, run) = (text("name"), text("run"));
                lives.push(Life { id, name, run, starts: Vec::new(), ends: Vec::new() });
                lives.len() - 1
            });
            match entry["action"].as_str().unwrap() {
                "start" => lives[position].starts.push(time),
                "die" => lives[position].ends.push((time, text("exit").parse().unwrap_or(-1))),
                _ => {}
            }
        }
        lives
    }

    /// Writes down what the daemon tells of containers, from now until the task is aborted.
    pub fn follow(&self, daemon: &Daemon) -> JoinHandle<()> {
        let (ledger, client) = (self.clone(), daemon.client());
        tokio::spawn(async move {
            let mut since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            loop {
                let mut url = reqwest::Url::parse("http://docker/events").unwrap();
                let filters =
                    json!({ "type": ["container"], "event": ["create", "start", "die", "destroy"] });
                url.query_pairs_mut()
                    .append_pair("since", &since.to_string())
                    .append_pair("filters", &filters.to_string());
                let Ok(answer) = client.get(url).send().await else {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                };
                let (mut parts, mut text) = (answer.bytes_stream(), Vec::new());
                while let Some(Ok(part)) = parts.next().await {
                    text.extend_from_slice(&part);
                    while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                        let line: Vec<u8> = text.drain(..=end).collect();
                        let event: Value = serde_json::from_slice(&line).unwrap();
                        since = event["time"].as_u64().unwrap_or(since);
                        let attributes = &event["Actor"]["Attributes"];
                        ledger.note(
                            "container",
                            json!({
                                "action": event["Action"], "id": event["Actor"]["ID"], "time": event["timeNano"],
                                "name": attributes["name"], "run": attributes["odooops.run"],
                                "exit": attributes["exitCode"],
                            }),
                        );
                    }
                }
            }
        })
    }
}
