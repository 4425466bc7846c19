//! What containers printed, as their daemon wrote it down, whatever becomes of the containers: each log file gets a
//! second name here within the moment, by which it stays when the daemon removes its own.

use crate::daemon::Daemon;
use odooops::id::RunId;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{task::JoinHandle, time::sleep};

/// Far shorter than anything lives.
const LOOK: Duration = Duration::from_millis(10);

#[derive(Clone, Default)]
pub struct Outputs {
    folders: Arc<Mutex<Vec<PathBuf>>>,
}

/// One container's, line by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    pub id: String,
    pub name: String,
    pub lines: Vec<String>,
}

/// What is in a daemon's log file, a line of JSON for each line, or for each 16 KiB of a long one.
#[derive(Deserialize)]
struct Entry {
    log: String,
    stream: String,
}

impl Outputs {
    /// From now until the task is aborted.
    pub fn keep(&self, daemon: &Daemon) -> JoinHandle<()> {
        let (containers, folder) = (daemon.containers(), daemon.outputs());
        fs::create_dir(&folder).unwrap();
        self.folders.lock().unwrap().push(folder.clone());
        tokio::spawn(async move {
            let mut seen = BTreeSet::new();
            loop {
                for entry in fs::read_dir(&containers).into_iter().flatten().flatten() {
                    let id = entry.file_name().into_string().unwrap();
                    if !seen.contains(&id) && keep(&entry.path(), &id, &folder).is_some() {
                        seen.insert(id);
                    }
                }
                sleep(LOOK).await;
            }
        })
    }

    /// Of a run's containers, in the order of their leases.
    pub fn of(&self, run: RunId) -> Vec<Output> {
        let mut outputs = Vec::new();
        let folders = self.folders.lock().unwrap().clone();
        for entry in folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).flatten() {
            let named = entry.file_name().into_string().unwrap();
            let Some((name, id)) =
                named.strip_prefix(&format!("{run} ")).and_then(|rest| rest.split_once(' '))
            else {
                continue;
            };
            let text = fs::read_to_string(entry.path()).unwrap();
            outputs.push(Output { id: id.to_owned(), name: name.to_owned(), lines: lines(&text) });
        }
        outputs.sort_by_key(Output::lease);
        outputs
    }
}

/// None: not yet.
fn keep(container: &Path, id: &str, folder: &Path) -> Option<()> {
    let log = container.join(format!("{id}-json.log"));
    if !log.exists() {
        return None;
    }
    let told: Value = serde_json::from_slice(&fs::read(container.join("config.v2.json")).ok()?).ok()?;
    let name = told["Name"].as_str()?.trim_start_matches('/');
    if let Some(run) = told["Config"]["Labels"]["odooops.run"].as_str() {
        match fs::hard_link(&log, folder.join(format!("{run} {name} {id}"))) {
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            other => other.unwrap(),
        }
    }
    Some(())
}

/// Each in the order in which it was complete.
fn lines(text: &str) -> Vec<String> {
    let (mut lines, mut out, mut err) = (Vec::new(), String::new(), String::new());
    // The last one may just be being written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    for entry in whole.lines() {
        let entry: Entry = serde_json::from_str(entry).unwrap_or_else(|error| panic!("{error}: {entry:?}"));
        let begun = if entry.stream == "stderr" { &mut err } else { &mut out };
        begun.push_str(&entry.log);
        if begun.ends_with('\n') {
            begun.pop();
            lines.push(std::mem::take(begun));
        }
    }
    lines.extend([out, err].into_iter().filter(|rest| !rest.is_empty()));
    lines
}

impl Output {
    /// Where in the run's log it has to be.
    pub fn stream(&self) -> &'static str {
        match &self.name {
            name if name.contains("-install-") => "install",
            name if name.contains("-template-") => "template",
            _ => "odoo",
        }
    }

    fn lease(&self) -> u64 {
        self.name.rsplit('-').next().and_then(|lease| lease.parse().ok()).unwrap_or(u64::MAX)
    }

    /// Whether it ends by itself, and what is before the end is what the small image counted and summed: the daemon
    /// wrote down all that was printed.
    pub fn is_whole(&self) -> bool {
        let Some((end, before)) = self.lines.split_last() else { return false };
        let Some((_, told)) = end.split_once(" odoo.stand_in: ") else { return false };
        let mut hash = Sha256::new();
        for line in before {
            hash.update(line);
            hash.update("\n");
        }
        let host = self.id.get(..12).unwrap_or_default();
        told == format!("{host} said {} lines, sha256 {:x}", before.len(), hash.finalize())
    }

    /// The number of the last numbered line among so many.
    pub fn last_number(&self, stored: usize) -> u64 {
        let lines = self.lines.iter().take(stored).rev();
        lines.filter_map(|line| number(line)).next().unwrap_or_default()
    }
}

fn number(line: &str) -> Option<u64> {
    let (before, _) = line.split_once(" of many, ")?;
    before.rsplit_once(" line ")?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemons_file_is_read_line_by_line() {
        let entry = |log: &str, stream: &str| {
            serde_json::json!({ "log": log, "stream": stream, "time": "2026-11-21T01:37:29Z" }).to_string()
        };
        let text = [
            entry("a\n", "stdout"),
            entry("half ", "stdout"),
            entry("wrong\n", "stderr"),
            entry("whole\n", "stdout"),
            entry("cut o", "stdout"),
            "{\"log\":\"being wri".to_owned(),
        ]
        .join("\n");
        assert_eq!(lines(&text), ["a", "wrong", "half whole", "cut o"]);
        assert_eq!(lines(""), Vec::<String>::new());
    }

    #[test]
    fn a_whole_output_is_known_by_its_sum() {
        let lines: Vec<String> = (1..4).map(|n| format!("now 1 INFO aa line {n} of many, check 7")).collect();
        let sum = Sha256::digest(lines.iter().map(|line| format!("{line}\n")).collect::<String>());
        let end = format!("now 1 INFO odoo.stand_in: 0123456789ab said 3 lines, sha256 {sum:x}");
        let output = |lines: Vec<String>| Output {
            id: "0123456789abcdef".to_owned(),
            name: "odooops-x-install-7".to_owned(),
            lines,
        };
        let whole = output([lines.clone(), vec![end.clone()]].concat());
        assert!(whole.is_whole());
        assert_eq!((whole.stream(), whole.last_number(2), whole.last_number(9)), ("install", 2, 3));
        assert!(!output(lines.clone()).is_whole());
        assert!(!output([lines[1..].to_vec(), vec![end]].concat()).is_whole());
    }
}
