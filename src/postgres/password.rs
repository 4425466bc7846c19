//! Passwords travel to PostgreSQL as SCRAM verifiers, made here: a statement with a clear one would stand in server
//! logs and in pg_stat_statements.

use super::PostgresError;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, Mac};
use rand::RngCore;
use sha2::{Digest, Sha256};

/// PostgreSQL's own default; the passwords are 256 random bits, so more rounds would only slow logins down.
const ITERATIONS: u32 = 4096;

/// What `ALTER ROLE ... PASSWORD` stores as it is: RFC 5803. For ASCII passwords, which need no SASLprep.
pub fn scram_verifier(password: &str) -> Result<String, PostgresError> {
    let mut salt = [0_u8; 16];
    rand::rng().fill_bytes(&mut salt);
    let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), &salt, ITERATIONS);
    let client_key = keyed(&salted, b"Client Key")?;
    let stored_key = Sha256::digest(client_key);
    let server_key = keyed(&salted, b"Server Key")?;
    let (salt, stored, server) = (BASE64.encode(salt), BASE64.encode(stored_key), BASE64.encode(server_key));
    Ok(format!("SCRAM-SHA-256${ITERATIONS}:{salt}${stored}:{server}"))
}

fn keyed(key: &[u8], message: &[u8]) -> Result<[u8; 32], PostgresError> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key).map_err(|error| PostgresError::Crypto(error.to_string()))?;
    mac.update(message);
    Ok(mac.finalize().into_bytes().into())
}
