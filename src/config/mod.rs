//! What an administrator can set: one typed struct, read from flags over environment (`OPS_*`) over file.
//! Every key is written once, in `keys.rs`, with its type, its default and its documentation; flags, environment
//! names, the file's format, `ops config show` and `ops config check` all come from there.

mod keys;
mod load;
mod paths;
mod secrets;
mod value;

pub use keys::{Config, KEYS, Key};
pub use load::{FILE_FLAG, Flags, Problem, Problems, Source};
pub use secrets::{Secret, SecretError};
pub use value::{ConnectionUrl, Scheme};
