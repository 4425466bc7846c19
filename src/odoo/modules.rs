//! What Odoo says of its modules. Names carry their schema: our sessions search `pg_catalog` only.

use sqlx::{PgConnection, Row};

/// Name and state of every module that is not simply uninstalled.
#[expect(
    clippy::disallowed_methods,
    reason = "Odoo's tables are not ours: there is no schema to check against"
)]
pub async fn states(conn: &mut PgConnection) -> sqlx::Result<Vec<(String, String)>> {
    let rows = sqlx::query(
        "select name, state from public.ir_module_module where state <> 'uninstalled' order by name",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
