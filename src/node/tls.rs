//! TLS between machines: version 1.3, both sides with certificates of the installation's authority.

use super::{Keys, NodeError, NodeName};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName},
    server::WebPkiClientVerifier,
    version::TLS13,
};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr, sync::Arc};
use webpki::EndEntityCert;

/// SHA-256: of a certificate's public key, by which a machine is known, or of the authority's certificate, by which
/// who joins knows the console's machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate.as_ref()).into())
    }

    pub fn of_key(spki: &[u8]) -> Self {
        Self(Sha256::digest(spki).into())
    }

    /// Of the key in a certificate that was verified already.
    pub fn of_peer(certificate: &CertificateDer<'_>) -> Result<Self, NodeError> {
        Ok(Self::of_key(parsed(certificate)?.subject_public_key_info().as_ref()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let advice = "write 64 hexadecimal digits";
        let text = text.strip_prefix("sha256:").unwrap_or(text);
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(advice);
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| advice)?;
        }
        Ok(Self(bytes))
    }
}

fn parsed<'a>(certificate: &'a CertificateDer<'_>) -> Result<EndEntityCert<'a>, NodeError> {
    EndEntityCert::try_from(certificate).map_err(|error| NodeError::Refused(format!("certificate: {error}")))
}

/// Whether a certificate that was verified is the one of this name.
pub(super) fn is_of(certificate: &CertificateDer<'_>, name: NodeName) -> bool {
    let name: ServerName<'_> = name.server_name();
    parsed(certificate).is_ok_and(|it| it.verify_is_valid_for_subject_name(&name).is_ok())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(authority: &CertificateDer<'static>) -> Result<Arc<RootCertStore>, NodeError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    Ok(Arc::new(roots))
}

/// `strangers`: who has no certificate yet is let in, to join. A certificate of another authority never is.
pub fn server(keys: Keys, strangers: bool) -> Result<Arc<ServerConfig>, NodeError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(&keys.authority)?, provider());
    let verifier = if strangers { verifier.allow_unauthenticated() } else { verifier };
    let verifier = verifier.build().map_err(|error| NodeError::Refused(error.to_string()))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(keys.chain, keys.key)?;
    Ok(Arc::new(config))
}

/// Shows our certificate, believes the authority only.
pub fn client(keys: Keys) -> Result<ClientConfig, NodeError> {
    Ok(ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots(&keys.authority)?)
        .with_client_auth_cert(keys.chain, keys.key)?)
}

/// Believes nobody: where no other machine has joined, none is called.
pub fn nobody() -> Result<ClientConfig, NodeError> {
    Ok(ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

/// For who joins: believes the authority with this fingerprint, once it has seen it.
pub(super) fn joining(authority: Fingerprint) -> Result<ClientConfig, NodeError> {
    Ok(ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned::ByFingerprint { authority, provider: provider() }))
        .with_no_client_auth())
}

mod pinned {
    use super::{Fingerprint, roots};
    use rustls::{
        CertificateError, DigitallySignedStruct, Error, SignatureScheme,
        client::{
            WebPkiServerVerifier,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::{CryptoProvider, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
    };
    use std::sync::Arc;

    /// The authority is among the certificates that the server shows; all else is verified by the usual rules.
    #[derive(Debug)]
    pub struct ByFingerprint {
        pub authority: Fingerprint,
        pub provider: Arc<CryptoProvider>,
    }

    impl ServerCertVerifier for ByFingerprint {
        fn verify_server_cert(
            &self,
            end_entity: &CertificateDer<'_>,
            intermediates: &[CertificateDer<'_>],
            server_name: &ServerName<'_>,
            ocsp_response: &[u8],
            now: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            let known = intermediates.iter().find(|it| Fingerprint::of_certificate(it) == self.authority);
            let known = known.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
            let roots =
                roots(&known.clone().into_owned()).map_err(|error| Error::General(error.to_string()))?;
            WebPkiServerVerifier::builder_with_provider(roots, self.provider.clone())
                .build()
                .map_err(|error| Error::General(error.to_string()))?
                .verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(
                message,
                certificate,
                signature,
                &self.provider.signature_verification_algorithms,
            )
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.provider.signature_verification_algorithms.supported_schemes()
        }
    }
}
