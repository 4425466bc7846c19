//! Content stamps: what was made from these files with these settings need not be made again.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// A hash over names and contents, independent of time stamps and of the order the file system lists in.
pub struct Fingerprint(Sha256);

impl Fingerprint {
    pub fn new() -> Self {
        Self(Sha256::new())
    }

    /// Lengths go in too, so that no two different sequences of parts meet in one stream of bytes.
    pub fn add(&mut self, part: &[u8]) -> &mut Self {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    /// Files and whole directories, named relative to `root`; what does not exist counts as such.
    pub fn add_paths(&mut self, root: &Path, paths: &[&str]) -> Result<&mut Self> {
        for path in paths {
            for file in files_below(&root.join(path))? {
                let name = file.strip_prefix(root).unwrap_or(&file);
                self.add(name.as_os_str().as_encoded_bytes());
                self.add(&std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
            }
            self.add(path.as_bytes());
        }
        Ok(self)
    }

    pub fn finish(&self) -> String {
        self.0.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn files_below(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(path)?.map(|entry| entry.map(|e| e.path())).collect::<std::io::Result<_>>()?;
    entries.sort();
    let mut files = Vec::new();
    for entry in entries {
        if !entry.ends_with("target") && !entry.ends_with("node_modules") {
            files.extend(files_below(&entry)?);
        }
    }
    Ok(files)
}

/// The fingerprint something was last made with.
pub struct Stamp(PathBuf);

impl Stamp {
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub fn is(&self, fingerprint: &str) -> bool {
        std::fs::read_to_string(&self.0).is_ok_and(|text| text == fingerprint)
    }

    /// Does the work, unless it was done with this fingerprint and what it made is still there.
    pub fn once(
        &self,
        fingerprint: &str,
        is_there: impl FnOnce() -> bool,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        if self.is(fingerprint) && is_there() {
            return Ok(());
        }
        self.clear();
        work()?;
        self.set(fingerprint)
    }

    fn set(&self, fingerprint: &str) -> Result<()> {
        std::fs::write(&self.0, fingerprint).with_context(|| format!("cannot write {}", self.0.display()))
    }

    /// Before the work starts: an interrupted one must not look finished.
    fn clear(&self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn fingerprint(root: &Path) -> Result<String> {
        Ok(Fingerprint::new().add(b"debug").add_paths(root, &["src", "Cargo.lock"])?.finish())
    }

    #[test]
    fn a_fingerprint_follows_contents_and_names_and_nothing_else() -> Result<()> {
        let clone = tempfile::tempdir()?;
        let root = clone.path();
        std::fs::create_dir_all(root.join("src/deep"))?;
        std::fs::write(root.join("src/deep/a.rs"), "one")?;
        let first = fingerprint(root)?;
        std::fs::File::open(root.join("src/deep/a.rs"))?.set_modified(std::time::SystemTime::UNIX_EPOCH)?;
        assert_eq!(fingerprint(root)?, first, "a time stamp is not content");
        std::fs::write(root.join("README.md"), "not among the paths")?;
        assert_eq!(fingerprint(root)?, first);
        std::fs::write(root.join("src/deep/a.rs"), "two")?;
        let second = fingerprint(root)?;
        assert_ne!(second, first);
        std::fs::rename(root.join("src/deep/a.rs"), root.join("src/deep/b.rs"))?;
        assert_ne!(fingerprint(root)?, second);
        std::fs::write(root.join("Cargo.lock"), "")?;
        assert_ne!(fingerprint(root)?, second, "an empty file is more than no file");
        Ok(())
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let left = Fingerprint::new().add(b"ab").add(b"c").finish();
        let right = Fingerprint::new().add(b"a").add(b"bc").finish();
        assert_ne!(left, right);
    }

    #[test]
    fn the_second_time_nothing_is_done() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let stamp = Stamp::at(directory.path().join("stamp"));
        let (runs, there) = (Cell::new(0), Cell::new(true));
        let run = |fingerprint: &str, succeeds: bool| {
            stamp.once(
                fingerprint,
                || there.get(),
                || {
                    runs.set(runs.get() + 1);
                    if succeeds { Ok(()) } else { anyhow::bail!("interrupted") }
                },
            )
        };
        run("a", true)?;
        run("a", true)?;
        assert_eq!(runs.get(), 1, "nothing changed");
        run("b", true)?;
        assert_eq!(runs.get(), 2, "other sources");
        there.set(false);
        run("b", true)?;
        assert_eq!(runs.get(), 3, "what it made is gone");
        there.set(true);
        assert!(run("c", false).is_err());
        assert!(!stamp.is("b"), "what an interrupted run left is nobody's");
        run("c", true)?;
        assert_eq!(runs.get(), 5, "an interrupted run does not count");
        Ok(())
    }
}
