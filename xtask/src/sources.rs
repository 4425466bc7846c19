//! What the console is made from: what a fingerprint must cover so that nothing stale is ever taken for current.

use anyhow::{Context, Result, bail};
use std::path::{Component, Path, PathBuf};

/// Files and folders of the clone. (`xtask` is not among it, nor are tests that are not compiled in.)
pub const ALL: [&str; 14] = [
    "Cargo.toml",
    "Cargo.lock",
    "Leptos.toml",
    ".cargo",
    ".sqlx",
    "build.rs",
    "src",
    "app",
    "server",
    "demo",
    "locales",
    "migrations",
    "public",
    "style",
];

/// cargo writes beside each program what it was compiled from, down to the files that a macro or a build script
/// read. One that no fingerprint covers would be edited without effect, so the build that meets it fails.
pub fn check_covers(dep_info: &Path, root: &Path) -> Result<()> {
    let text = std::fs::read_to_string(dep_info)
        .with_context(|| format!("cargo left no {}: what was compiled is unknown", dep_info.display()))?;
    // What build scripts wrote is made, not edited; it lies beside the program.
    let made = dep_info.parent().context("the program has a directory")?;
    let missed = uncovered(&text, root, made);
    if !missed.is_empty() {
        bail!(
            "add to `ALL` in xtask/src/sources.rs what {} is compiled from: {missed:?}",
            dep_info.display()
        );
    }
    Ok(())
}

/// `target: file file ...`, a blank in a name escaped by a backslash.
fn uncovered(dep_info: &str, root: &Path, made: &Path) -> Vec<PathBuf> {
    let files = dep_info.lines().filter_map(|line| line.split_once(": ")).flat_map(|(_, files)| {
        let escaped = files.replace("\\ ", "\0");
        escaped.split_whitespace().map(|file| PathBuf::from(file.replace('\0', " "))).collect::<Vec<_>>()
    });
    let edited = files.map(|file| resolved(&file)).filter(|file| !file.starts_with(made));
    let ours = edited.filter_map(|file| file.strip_prefix(root).ok().map(Path::to_path_buf));
    let mut missed: Vec<PathBuf> =
        ours.filter(|file| !ALL.iter().any(|source| file.starts_with(source))).collect();
    missed.dedup();
    missed
}

/// Without `..`: a build script says `app/../locales`.
fn resolved(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                resolved.pop();
            }
            part => resolved.push(part),
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    #[test]
    fn what_is_compiled_in_and_not_covered_is_named() {
        let root = Path::new("/home/me/my clone");
        let made = root.join("target/debug");
        let dep_info = "/home/me/my\\ clone/target/debug/ops: /home/me/my\\ clone/src/lib.rs \
                        /home/me/my\\ clone/app/../locales /home/me/my\\ clone/app/../words/en.json \
                        /home/me/my\\ clone/target/debug/build/app/out/i18n.rs /usr/include/x.rs\n";
        assert_eq!(uncovered(dep_info, root, &made), [Path::new("words/en.json")]);
    }

    #[test]
    fn a_program_of_which_nothing_is_known_is_refused() {
        assert!(check_covers(Path::new("/nonexistent/ops.d"), Path::new("/")).is_err());
    }

    #[test]
    fn every_source_exists() -> Result<()> {
        let root = Machine::look()?.root;
        for source in ALL {
            assert!(root.join(source).exists(), "{source} is covered and does not exist");
        }
        Ok(())
    }
}
