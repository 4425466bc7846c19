//! Finding PostgreSQL's server programs, and the account that may run them: they refuse root.

use super::PostgresError;
use nix::unistd::{Gid, Uid, User, geteuid};
use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};
use tokio::process::Command;

/// The oldest major version that the schema runs on.
const OLDEST: u32 = 15;

/// One installed version of the server programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    pub bin: PathBuf,
    pub major: u32,
}

impl Programs {
    /// The programs to use: the configured ones; else those of the given major version, which an existing cluster
    /// needs; else the newest.
    pub async fn find(configured: Option<&Path>, major: Option<u32>) -> Result<Self, PostgresError> {
        if let Some(bin) = configured {
            let found = Self::in_folder(bin).await.ok_or(PostgresError::NoPrograms)?;
            return if found.major < OLDEST {
                Err(PostgresError::TooOld { bin: found.bin, major: found.major })
            } else {
                Ok(found)
            };
        }
        let mut found = Vec::new();
        for folder in folders() {
            found.extend(Self::in_folder(&folder).await);
        }
        found
            .retain(|programs| programs.major >= OLDEST && major.is_none_or(|major| programs.major == major));
        found.into_iter().max_by_key(|programs| programs.major).ok_or(PostgresError::NoPrograms)
    }

    async fn in_folder(bin: &Path) -> Option<Self> {
        if !bin.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(bin.join("postgres")).arg("--version").output().await.ok()?;
        let major = major_of(&String::from_utf8(output.stdout).ok()?)?;
        Some(Self { bin: bin.to_owned(), major })
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// Whether a module for `shared_preload_libraries` is installed with these programs.
    pub async fn has_library(&self, name: &str) -> bool {
        let output = Command::new(self.program("pg_config")).arg("--pkglibdir").output().await;
        let told = output.ok().and_then(|output| String::from_utf8(output.stdout).ok());
        let told = told.map(|text| PathBuf::from(text.trim()));
        let beside = self.bin.parent().map(|parent| parent.join("lib"));
        told.into_iter().chain(beside).any(|folder| folder.join(name).with_extension("so").is_file())
    }
}

/// Where distributions put them, then PATH (whose entry may be a link into such a folder).
fn folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for (parent, prefix, suffix) in [("/usr/lib/postgresql", "", "bin"), ("/usr", "pgsql-", "bin")] {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let versions = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
        folders.extend(versions.map(|entry| entry.path().join(suffix)));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let linked = std::env::split_paths(&path).filter_map(|folder| folder.join("initdb").canonicalize().ok());
    folders.extend(linked.filter_map(|program| program.parent().map(Path::to_owned)));
    folders
}

/// `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)` is 15.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Who runs a cluster.
#[derive(Debug, Clone)]
pub struct Account {
    pub name: String,
    pub uid: Uid,
    pub gid: Gid,
    /// Whether that is someone else than this process, so that programs must change to it.
    pub is_other: bool,
}

impl Account {
    /// `postgres` when this process is root, else this process's own user.
    pub fn find() -> Result<Self, PostgresError> {
        let is_root = geteuid().is_root();
        let user = if is_root { User::from_name("postgres") } else { User::from_uid(geteuid()) };
        match user.ok().flatten() {
            Some(user) => Ok(Self { name: user.name, uid: user.uid, gid: user.gid, is_other: is_root }),
            None if is_root => Err(PostgresError::NoAccount),
            // A uid without a name, as in some containers.
            None => Ok(Self {
                name: geteuid().to_string(),
                uid: geteuid(),
                gid: nix::unistd::getegid(),
                is_other: false,
            }),
        }
    }

    /// A command that runs as this account, without any of our supplementary groups and without our environment:
    /// that may hold secrets.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        command.stdin(std::process::Stdio::null()).current_dir("/").process_group(0);
        if self.is_other {
            // The standard library drops supplementary groups when it changes the uid as root.
            command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
        }
        command
    }

    pub fn own(&self, path: &Path) -> Result<(), PostgresError> {
        if self.is_other {
            std::os::unix::fs::chown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
                .map_err(PostgresError::io(path))?;
        }
        Ok(())
    }

    /// Whether this account can walk down to the path: PostgreSQL's own message would not name the culprit.
    pub fn reaches(&self, path: &Path) -> Result<(), PostgresError> {
        for folder in path.ancestors() {
            let metadata = folder.metadata().map_err(PostgresError::io(folder))?;
            let mode = metadata.mode();
            let enters = mode & 0o001 != 0
                || metadata.uid() == self.uid.as_raw() && mode & 0o100 != 0
                || metadata.gid() == self.gid.as_raw() && mode & 0o010 != 0;
            if !enters {
                return Err(PostgresError::Unreachable { path: folder.to_owned(), user: self.name.clone() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_distributions_print_them() {
        assert_eq!(major_of("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 17beta1"), Some(17));
        assert_eq!(major_of("postgres"), None);
    }

    #[tokio::test]
    async fn the_wanted_version_is_found_or_refused() {
        let newest = Programs::find(None, None).await.unwrap();
        assert!(newest.major >= OLDEST);
        assert_eq!(Programs::find(None, Some(newest.major)).await.unwrap(), newest);
        assert!(matches!(Programs::find(None, Some(9)).await, Err(PostgresError::NoPrograms)));
        assert!(Programs::find(Some(Path::new("/nowhere")), None).await.is_err());
    }

    #[test]
    fn a_closed_folder_on_the_way_is_named() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        let closed = dir.path().join("a");
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
        let stranger = Account {
            name: "x".to_owned(),
            uid: Uid::from_raw(65_533),
            gid: Gid::from_raw(65_533),
            is_other: true,
        };
        match stranger.reaches(&below) {
            Err(PostgresError::Unreachable { path, .. }) => assert_eq!(path, closed),
            other => panic!("{other:?}"),
        }
    }
}
