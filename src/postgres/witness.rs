//! Was the cluster there all the time? A session that is held open tells: it ends with its server, also when that is
//! back before anybody asks.

use super::{PostgresError, Tenants};
use sqlx::{ConnectOptions, Connection, PgConnection};

/// A session of the administrator that does nothing.
#[derive(Debug)]
pub struct Witness(PgConnection);

impl Tenants {
    /// From now on.
    pub async fn witness(&self) -> Result<Witness, PostgresError> {
        Ok(Witness(self.admin_options("postgres").application_name("ops witness").connect().await?))
    }
}

impl Witness {
    /// Whether the cluster was interrupted since.
    pub async fn was_interrupted(mut self) -> bool {
        self.0.ping().await.is_err()
    }
}
