//! Environments whose time is over. Production has none.

use super::{
    look::{Look, Reconciler, Round},
    trouble::Trouble,
};
use crate::id::EnvironmentId;

pub struct ExpiredEnvironments;

impl Reconciler for ExpiredEnvironments {
    const NAME: &'static str = "expired_environments";
    type Job = EnvironmentId;

    async fn look(&self, round: &Round<'_>) -> Result<Look<EnvironmentId>, Trouble> {
        let rows = sqlx::query!(
            r#"select id, hostname, expires_at < clock_timestamp() as "is_over!" from ops.environments
               where host_id = $1 and state in ('running', 'stopped') and stage <> 'production'
                 and expires_at is not null order by id"#,
            round.host.0
        );
        let rows = rows.fetch_all(&round.shop.pool).await?;
        let mut look = Look::at(rows.len());
        for row in rows.into_iter().filter(|row| row.is_over) {
            look.finds(row.hostname, "destroy", "its time is over", row.id.into());
        }
        Ok(look)
    }

    async fn act(&self, round: &Round<'_>, id: &EnvironmentId) -> Result<(), Trouble> {
        // Somebody may have given it more time meanwhile.
        sqlx::query!(
            "update ops.environments set state = 'destroying'
             where id = $1 and state in ('running', 'stopped') and stage <> 'production'
               and expires_at < clock_timestamp()",
            id.0
        )
        .execute(&round.shop.pool)
        .await?;
        Ok(())
    }
}
