use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// A secret that was just made. It is shown or set as a cookie once and kept nowhere.
pub struct Secret {
    text: SecretString,
}

impl Secret {
    /// How API tokens begin, so that people and secret scanners know them.
    pub const TOKEN_PREFIX: &'static str = "ops_";

    /// For cookies and sign-in links.
    pub fn new() -> Self {
        Self::with_prefix("")
    }

    pub fn token() -> Self {
        Self::with_prefix(Self::TOKEN_PREFIX)
    }

    fn with_prefix(prefix: &str) -> Self {
        let bits: [u8; 32] = rand::random();
        Self { text: format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bits)).into() }
    }

    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.expose())
    }
}

impl Default for Secret {
    fn default() -> Self {
        Self::new()
    }
}

/// SHA-256 of a secret. Enough without salt or stretching: what it hides has 256 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn secrets_are_long_url_safe_and_never_equal() {
        let secrets: HashSet<_> = (0..100).map(|_| Secret::new().expose().to_owned()).collect();
        assert_eq!(secrets.len(), 100);
        for secret in secrets {
            assert_eq!(secret.len(), 43);
            assert!(secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{secret}");
        }
        assert!(Secret::token().expose().starts_with("ops_"));
    }

    #[test]
    fn the_fingerprint_is_sha_256() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hex: String = Fingerprint::of("abc").as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, expected);
    }
}
