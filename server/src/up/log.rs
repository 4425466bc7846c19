//! What the processes print: each line goes to the terminal with its origin before it, and to a file per origin,
//! which is set aside when it is full. One file is kept besides the current one.

use crate::Failure;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    task::JoinHandle,
};

const FILE_LIMIT: u64 = 16 << 20;
/// Lines that may wait for a slow disk or terminal; then the process that prints waits.
const WAITING_LINES: usize = 1024;

#[derive(Clone)]
pub struct Log {
    dir: Arc<PathBuf>,
    own: Sender<String>,
    writers: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Log {
    pub fn open(dir: PathBuf) -> Result<Self, Failure> {
        fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let (own, lines) = channel(WAITING_LINES);
        let log = Self { dir: Arc::new(dir), own, writers: Arc::default() };
        log.write("up", lines);
        Ok(log)
    }

    /// A line of the supervisor's own.
    pub fn say(&self, line: &str) {
        if self.own.try_send(line.to_owned()).is_err() {
            eprintln!("up: {line}");
        }
    }

    /// Where the lines of one process go.
    pub fn lines_of(&self, name: &str) -> Sender<String> {
        let (sender, lines) = channel(WAITING_LINES);
        self.write(name, lines);
        sender
    }

    fn write(&self, name: &str, mut lines: Receiver<String>) {
        let (name, path) = (name.to_owned(), self.dir.join(format!("{name}.log")));
        let writer = tokio::task::spawn_blocking(move || {
            let mut file = Rotated::open(path);
            while let Some(line) = lines.blocking_recv() {
                // A closed terminal or a full disk must not stop what is being logged.
                _ = writeln!(io::stderr(), "{name:>9} | {line}");
                file.write(&line);
            }
        });
        if let Ok(mut writers) = self.writers.lock() {
            writers.retain(|writer| !writer.is_finished());
            writers.push(writer);
        }
    }

    /// Waits until everything said is written. Whatever sends lines must have ended.
    pub async fn close(self) {
        let writers =
            self.writers.lock().map(|mut writers| std::mem::take(&mut *writers)).unwrap_or_default();
        drop(self);
        for writer in writers {
            _ = tokio::time::timeout(std::time::Duration::from_secs(2), writer).await;
        }
    }
}

/// A file that starts anew when it is full.
struct Rotated {
    path: PathBuf,
    file: Option<File>,
    size: u64,
}

impl Rotated {
    fn open(path: PathBuf) -> Self {
        let file = append(&path);
        let size = file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.len());
        Self { path, file, size }
    }

    fn write(&mut self, line: &str) {
        if self.size >= FILE_LIMIT {
            _ = fs::rename(&self.path, self.path.with_extension("log.1"));
            *self = Self::open(std::mem::take(&mut self.path));
        }
        if let Some(file) = &mut self.file {
            _ = writeln!(file, "{line}");
            self.size += line.len() as u64 + 1;
        }
    }
}

fn append(path: &Path) -> Option<File> {
    OpenOptions::new().create(true).append(true).open(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("serve.log");
        let mut file = Rotated::open(path.clone());
        let line = "x".repeat(1 << 20);
        for _ in 0..17 {
            file.write(&line);
        }
        assert_eq!(fs::metadata(path.with_extension("log.1")).unwrap().len(), 16 * ((1 << 20) + 1));
        assert_eq!(fs::metadata(&path).unwrap().len(), (1 << 20) + 1);
    }

    #[tokio::test]
    async fn every_line_is_in_the_file_after_close() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path().to_owned()).unwrap();
        let lines = log.lines_of("work");
        for number in 0..5000 {
            lines.send(number.to_string()).await.unwrap();
        }
        drop(lines);
        log.say("done");
        log.close().await;
        let written = fs::read_to_string(dir.path().join("work.log")).unwrap();
        assert_eq!(written.lines().count(), 5000);
        assert_eq!(fs::read_to_string(dir.path().join("up.log")).unwrap(), "done\n");
    }
}
