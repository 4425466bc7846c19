//! Secrets on disk: made at first start, one file each, readable by nobody else. There are no default secrets.

use rand::RngCore;
use secrecy::{ExposeSecret, SecretString};
use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Shorter ones can be guessed, or were written by hand.
const SHORTEST: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("{path}: others may read this secret; run `chmod 600 {path}`, and replace it if they could have")]
    Exposed { path: PathBuf },
    #[error("{path}: belongs to user {owner}, not to the one that runs this")]
    Foreign { path: PathBuf, owner: u32 },
    #[error(
        "{path}: the secret has {length} characters, {SHORTEST} are needed; remove the file to get a new one"
    )]
    Short { path: PathBuf, length: usize },
    #[error("{path}: is not text")]
    NotText { path: PathBuf },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// A secret text of 256 random bits, or one that an administrator put in place.
#[derive(Debug, Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// A new one: 64 hexadecimal digits, which need no quoting anywhere.
    pub fn generate() -> Self {
        let mut bytes = [0_u8; 32];
        rand::rng().fill_bytes(&mut bytes);
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
    }

    /// The secret in this file; made first when there is none. Two processes that do so at once get the same one.
    pub fn load_or_create(path: &Path) -> Result<Self, SecretError> {
        let failed = |source| SecretError::Io { path: path.to_owned(), source };
        match Self::load(path) {
            Err(SecretError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            known => return known,
        }
        let parent = path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
        // Written aside and linked into place: a kill in between leaves no half secret, and the first one wins.
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(parent).map_err(failed)?;
        writeln!(file, "{}", Self::generate().0.expose_secret()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        match file.persist_noclobber(path) {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error.error)),
        }
        Self::load(path)
    }

    /// The secret in this file, refused when others may read it, when it is another user's, or too short.
    pub fn load(path: &Path) -> Result<Self, SecretError> {
        let failed = |source| SecretError::Io { path: path.to_owned(), source };
        let no_follow = nix::fcntl::OFlag::O_NOFOLLOW.bits();
        let mut file =
            fs::OpenOptions::new().read(true).custom_flags(no_follow).open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.mode() & 0o077 != 0 {
            return Err(SecretError::Exposed { path: path.to_owned() });
        }
        if metadata.uid() != nix::unistd::geteuid().as_raw() {
            return Err(SecretError::Foreign { path: path.to_owned(), owner: metadata.uid() });
        }
        let mut text = String::new();
        match file.read_to_string(&mut text) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(SecretError::NotText { path: path.to_owned() });
            }
            Err(error) => return Err(failed(error)),
        }
        let text = text.trim();
        if text.len() < SHORTEST {
            return Err(SecretError::Short { path: path.to_owned(), length: text.len() });
        }
        Ok(Self(text.into()))
    }

    /// A secret that comes from elsewhere than a file.
    #[cfg(any(test, feature = "testing"))]
    pub fn from_text(text: String) -> Self {
        Self(text.into())
    }

    pub fn into_inner(self) -> SecretString {
        self.0
    }
}

impl ExposeSecret<str> for Secret {
    fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn threat_16_secrets_are_made_once_random_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets/owner.password");
        let made = Secret::load_or_create(&path).unwrap();
        assert_eq!(made.expose_secret().len(), 64);
        assert_eq!(Secret::load_or_create(&path).unwrap().expose_secret(), made.expose_secret());
        assert_ne!(Secret::generate().expose_secret(), made.expose_secret());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        assert!(!format!("{made:?}").contains(made.expose_secret()));
    }

    #[test]
    fn threat_16_readable_and_short_secrets_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        fs::write(&path, "a".repeat(64)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Secret::load_or_create(&path), Err(SecretError::Exposed { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Secret::load_or_create(&path).is_ok());
        fs::write(&path, "odoo").unwrap();
        assert!(matches!(Secret::load_or_create(&path), Err(SecretError::Short { length: 4, .. })));
        fs::write(&path, "").unwrap();
        assert!(matches!(Secret::load_or_create(&path), Err(SecretError::Short { .. })));
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        Secret::load_or_create(&real).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(Secret::load(&link).is_err());
    }

    #[test]
    fn makers_at_the_same_moment_agree() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        let made: std::collections::BTreeSet<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| Secret::load_or_create(&path).unwrap())).collect();
            threads.into_iter().map(|t| t.join().unwrap().expose_secret().to_owned()).collect()
        });
        assert_eq!(made.len(), 1);
    }
}
