//! Words for API answers, which stand outside the console's pages. They are the console's own.

use app::{say, words::sentence};
use odooops::Error;

/// One sentence for people. Programs read the code.
pub fn of(error: &Error) -> String {
    match error {
        // Who asks the API has no session that could have ended.
        Error::Unauthenticated => say!(errors.api_unauthenticated).to_owned(),
        error => sentence(error),
    }
}
