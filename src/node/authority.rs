//! The installation's own certificate authority, on the console's machine: it vouches for that machine and for those
//! that joined, and for nothing else. Its key never leaves the machine.

use super::{Keys, NodeError, NodeName};
use crate::{
    config::Config,
    id::{HostId, InstallationId},
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm,
};
use std::{fs, io, os::unix::fs::DirBuilderExt, path::Path};

/// An uncompressed point on the curve P-256, as a joining machine sends it. That it has the key to it is proven by
/// every connection that it makes.
#[derive(Debug, Clone)]
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() == 65 && bytes[0] == 4).then_some(Self(bytes))
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// Signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, PEM.
    pub certificate: String,
    own: (String, String),
}

impl Authority {
    /// The authority of this installation; made first when there is none. Its folder is moved into place whole, so
    /// that a kill leaves all of it or nothing, and of two makers the first wins.
    pub fn load_or_create(config: &Config, installation: InstallationId) -> Result<Self, NodeError> {
        let folder = config.secrets_dir().join("node");
        if !folder.is_dir() {
            create(&folder, installation)?;
        }
        let read = |name: &str| {
            let path = folder.join(name);
            super::identity::read_private(&path)
        };
        let issuer = Issuer::new(authority_params(installation), KeyPair::from_pem(&read("ca.key")?)?);
        Ok(Self { issuer, certificate: read("ca.crt")?, own: (read("own.crt")?, read("own.key")?) })
    }

    /// The console's machine's own, from the folder of secrets; None while there is no authority.
    pub fn own_keys(secrets: &Path) -> Result<Option<Keys>, NodeError> {
        let folder = secrets.join("node");
        if !folder.is_dir() {
            return Ok(None);
        }
        let read = |name: &str| super::identity::read_private(&folder.join(name));
        Ok(Some(Keys::parse(&read("own.crt")?, &read("own.key")?, &read("ca.crt")?)?))
    }

    /// The console's machine's own.
    pub fn own(&self) -> Result<Keys, NodeError> {
        Keys::parse(&self.own.0, &self.own.1, &self.certificate)
    }

    /// A certificate for a joined machine, PEM.
    pub fn vouch(&self, host: HostId, key: &PublicKey) -> Result<String, NodeError> {
        Ok(member_params(&NodeName::of_host(host))?.signed_by(key, &self.issuer)?.pem())
    }
}

fn create(folder: &Path, installation: InstallationId) -> Result<(), NodeError> {
    let parent = folder.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(NodeError::io(parent))?;
    let made = tempfile::Builder::new().prefix(".node-").tempdir_in(parent).map_err(NodeError::io(parent))?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let params = authority_params(installation);
    let certificate = params.self_signed(&key)?.pem();
    let key_text = key.serialize_pem();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let own_certificate = member_params(&NodeName::CONTROL)?.signed_by(&own, &issuer)?.pem();
    for (name, text) in [
        ("ca.key", key_text),
        ("ca.crt", certificate),
        ("own.key", own.serialize_pem()),
        ("own.crt", own_certificate),
    ] {
        super::identity::write_private(&made.path().join(name), &text)?;
    }
    let made = made.keep();
    match fs::rename(&made, folder) {
        Ok(()) => Ok(()),
        Err(error) => {
            _ = fs::remove_dir_all(&made);
            // Another process was faster: its authority counts.
            if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) {
                return Ok(());
            }
            Err(NodeError::io(folder)(error))
        }
    }
}

/// No end date that anybody would have to remember: a machine is cut off by revoking it, which every connection asks
/// about.
fn authority_params(installation: InstallationId) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&format!("OdooOps installation {installation}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn member_params(names: &[NodeName]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names.iter().map(NodeName::to_string).collect::<Vec<_>>())?;
    params.distinguished_name = named(&names.first().map(NodeName::to_string).unwrap_or_default());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
