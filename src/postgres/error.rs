use crate::config::SecretError;
use std::{io, path::PathBuf, process::ExitStatus};

/// What can go wrong with clusters and databases, each with what an administrator can do.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error(
        "no PostgreSQL server programs (15 or newer) were found: install them (Debian: `apt-get install postgresql`), \
         or name their folder with --postgres-bin"
    )]
    NoPrograms,
    #[error("{data} was made by PostgreSQL {major}, whose server programs are missing: install that version")]
    WrongMajor { data: PathBuf, major: u32 },
    #[error("{bin}: PostgreSQL {major} is too old, 15 is needed")]
    TooOld { bin: PathBuf, major: u32 },
    #[error("PostgreSQL refuses to run as root, and there is no user `postgres` to run it as: create one")]
    NoAccount,
    #[error(
        "{path}: user `{user}` may not enter this directory; choose another --data-dir, or `chmod o+x {path}`"
    )]
    Unreachable { path: PathBuf, user: String },
    #[error("{program} failed ({status}): {output}")]
    Program { program: String, status: ExitStatus, output: String },
    #[error("the {name} cluster ended while it started ({status}); its log tells why")]
    Ended { name: String, status: ExitStatus },
    #[error("the {name} cluster was not ready within {seconds} s; its log tells why")]
    NotReady { name: String, seconds: u64 },
    #[error("{data}: processes {pids:?} of an earlier PostgreSQL do not end")]
    Occupied { data: PathBuf, pids: Vec<i32> },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("PostgreSQL: {0}")]
    Sql(#[from] sqlx::Error),
    #[error("migration: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("there is no finished template `{0}`")]
    NoTemplate(String),
    #[error("`{0}` is no name of a template: write a-z, 0-9 and _, at most 40 of them")]
    TemplateName(String),
    #[error("{0}")]
    Identity(String),
    #[error("a cryptographic library refused: {0}")]
    Crypto(String),
}

impl PostgresError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
