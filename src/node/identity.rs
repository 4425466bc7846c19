//! What a machine got when it joined: `<data>/node`, readable by its owner only.

use super::NodeError;
use crate::{
    config::Config,
    id::{HostId, InstallationId},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, Read, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// A machine's certificate and key, and the authority that it believes.
#[derive(Debug)]
pub struct Keys {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub authority: CertificateDer<'static>,
}

impl Keys {
    /// All of them PEM.
    pub fn parse(certificate: &str, key: &str, authority: &str) -> Result<Self, NodeError> {
        let bad = |what: &str| NodeError::Refused(format!("the {what} is not PEM"));
        let certificate =
            CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|_| bad("certificate"))?;
        let authority = CertificateDer::from_pem_slice(authority.as_bytes()).map_err(|_| bad("authority"))?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| bad("key"))?;
        // The authority too: who joins knows it by its fingerprint only, and has to see it.
        Ok(Self { chain: vec![certificate, authority.clone()], key, authority })
    }

    pub fn copy(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key(), authority: self.authority.clone() }
    }
}

/// Who this machine is, once it has joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub installation: InstallationId,
    pub host: HostId,
    pub name: String,
    /// `host:port` of the console's machine's node listener.
    pub control: String,
    /// Its login in the ops database, whose password is among the secrets.
    pub db_role: String,
    pub database: String,
    /// Where its proxy listens.
    pub listen: SocketAddr,
}

impl Identity {
    /// None on the console's machine.
    pub fn of(config: &Config) -> Result<Option<Self>, NodeError> {
        let path = file(config, "host.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| NodeError::Identity { path, reason: error.to_string() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(NodeError::io(path)(error)),
        }
    }

    pub fn keys(config: &Config) -> Result<Keys, NodeError> {
        let read = |name| read_private(&file(config, name));
        Keys::parse(&read("host.crt")?, &read("host.key")?, &read("ca.crt")?)
    }

    /// Files for programs that read them themselves, as git does: certificate, key, authority.
    pub fn files(config: &Config) -> [PathBuf; 3] {
        ["host.crt", "host.key", "ca.crt"].map(|name| file(config, name))
    }

    /// Replaces what was there; `host.json`, which says that the rest is complete, comes last.
    pub fn store(
        &self,
        config: &Config,
        certificate: &str,
        key: &str,
        authority: &str,
    ) -> Result<(), NodeError> {
        let folder = make_folder(config)?;
        let text =
            serde_json::to_string_pretty(self).map_err(|error| NodeError::Refused(error.to_string()))?;
        for (name, text) in [
            ("host.crt", certificate),
            ("host.key", key),
            ("ca.crt", authority),
            ("host.json", text.as_str()),
        ] {
            write_private(&folder.join(name), text)?;
        }
        Ok(())
    }
}

/// The name of this machine's host and worker: the one that it joined with; the console's machine keeps the host name
/// that it had at first, because what runs here is written down under it and a machine may be renamed.
pub fn machine_name(config: &Config) -> Result<String, NodeError> {
    if let Some(identity) = Identity::of(config)? {
        return Ok(identity.name);
    }
    let path = file(config, "name");
    match fs::read_to_string(&path) {
        Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
        Ok(_) => {
            let empty = "it is empty; write into it how `ops worker list` calls this machine";
            return Err(NodeError::io(path)(io::Error::other(empty)));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(NodeError::io(path)(error)),
    }
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| "worker".to_owned());
    make_folder(config)?;
    write_private(&path, &format!("{name}\n"))?;
    Ok(name)
}

fn make_folder(config: &Config) -> Result<PathBuf, NodeError> {
    let folder = folder(config);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(NodeError::io(&folder))?;
    Ok(folder)
}

fn folder(config: &Config) -> PathBuf {
    config.data_dir.join("node")
}

fn file(config: &Config, name: &str) -> PathBuf {
    folder(config).join(name)
}

/// Written aside and moved: a kill leaves the old text or the new one.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), NodeError> {
    let aside = path.with_extension("new");
    let write = || {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    write().map_err(NodeError::io(path))
}

/// Refused when others may read it.
pub(super) fn read_private(path: &Path) -> Result<String, NodeError> {
    let no_follow = nix::fcntl::OFlag::O_NOFOLLOW.bits();
    let read = || {
        let mut file = fs::OpenOptions::new().read(true).custom_flags(no_follow).open(path)?;
        if file.metadata()?.mode() & 0o077 != 0 {
            return Err(io::Error::other(
                "others may read it: run chmod 600, and replace it if they could have",
            ));
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(text)
    };
    read().map_err(NodeError::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;
    use std::collections::BTreeMap;

    #[test]
    fn a_machine_that_is_renamed_stays_the_host_that_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let keys = BTreeMap::from([("data_dir", folder.path().display().to_string())]);
        let config = Config::load(&Flags { file: None, keys }, |_| None).unwrap();
        let first = machine_name(&config).unwrap();
        assert_eq!(first, nix::unistd::gethostname().unwrap().into_string().unwrap());
        let path = folder.path().join("node/name");
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{first}\n"));

        fs::write(&path, "what-it-was-called-before\n").unwrap();
        assert_eq!(machine_name(&config).unwrap(), "what-it-was-called-before");

        fs::write(&path, "\n").unwrap();
        let error = machine_name(&config).unwrap_err().to_string();
        assert!(error.contains("node/name") && error.contains("ops worker list"), "{error}");
    }
}
