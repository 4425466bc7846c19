//! Odoo's password hashes: passlib's `pbkdf2_sha512`, `$pbkdf2-sha512$rounds$salt$checksum`.

use base64::{Engine, alphabet, engine::GeneralPurpose, engine::general_purpose::NO_PAD};
use rand::RngCore;
use sha2::Sha512;

/// Odoo's own number since 17 is 600,000, for passwords that people think of. Ours are random: rounds would protect
/// nothing and cost every build half a second. Odoo hashes again with its own number at the first sign-in.
const ROUNDS: u32 = 25_000;

/// passlib's base64: `.` in place of `+`, no padding.
fn passlib_base64(bytes: &[u8]) -> String {
    GeneralPurpose::new(&alphabet::STANDARD, NO_PAD).encode(bytes).replace('+', ".")
}

pub fn hash(password: &str) -> String {
    let mut salt = [0_u8; 16];
    rand::rng().fill_bytes(&mut salt);
    hash_with(password, &salt, ROUNDS)
}

fn hash_with(password: &str, salt: &[u8], rounds: u32) -> String {
    let checksum = pbkdf2::pbkdf2_hmac_array::<Sha512, 64>(password.as_bytes(), salt, rounds);
    format!("$pbkdf2-sha512${rounds}${}${}", passlib_base64(salt), passlib_base64(&checksum))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with passlib: `pbkdf2_sha512.using(salt=b"0123456789abcdef", rounds=1000).hash("secret")`.
    #[test]
    fn is_what_passlib_makes() {
        assert_eq!(hash_with("secret", b"0123456789abcdef", 1000), PASSLIB);
    }

    const PASSLIB: &str = "$pbkdf2-sha512$1000$MDEyMzQ1Njc4OWFiY2RlZg$vgFvU7zWIDgDAUi7d8ayt.cfRiPWVVWfv8iQRsGZaZviWzsSNgWYXEE5PmvI/VELMsOmEbqLz0PKuePNjOk41A";

    #[test]
    fn salts_differ() {
        assert_ne!(hash_with("a", b"0123456789abcdef", 1), hash_with("a", b"0123456789abcdeg", 1));
    }
}
