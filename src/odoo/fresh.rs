//! Secrets of a copy. Every database made from a template has the template's secret, uuid and administrator's
//! password; each of them must be its own before any server starts on it.

use super::password;
use rand::{Rng, distr::Alphanumeric};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

fn random(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect()
}

/// Gives the database secrets of its own and its address; returns the administrator's new password.
#[expect(
    clippy::disallowed_methods,
    reason = "Odoo's tables are not ours: there is no schema to check against"
)]
pub async fn freshen(conn: &mut PgConnection, base_url: &str) -> sqlx::Result<SecretString> {
    let admin = SecretString::from(random(20));
    let mut txn = conn.begin().await?;
    let parameters = [
        ("database.secret", random(64)),
        ("database.uuid", Uuid::now_v7().to_string()),
        ("web.base.url", base_url.to_owned()),
        // Odoo would follow the address of the administrator's next sign-in.
        ("web.base.url.freeze", "True".to_owned()),
        // Reports fetch their pages from inside the container.
        ("report.url", "http://127.0.0.1:8069".to_owned()),
    ];
    for (key, value) in parameters {
        sqlx::query(
            "insert into public.ir_config_parameter (key, value, create_uid, create_date, write_uid, write_date)
             values ($1, $2, 1, now() at time zone 'UTC', 1, now() at time zone 'UTC')
             on conflict (key) do update set value = excluded.value, write_date = excluded.write_date",
        )
        .bind(key)
        .bind(value)
        .execute(&mut *txn)
        .await?;
    }
    if replace_known_passwords(&mut txn, &admin, &[]).await? == 0 {
        return Err(sqlx::Error::RowNotFound);
    }
    txn.commit().await?;
    Ok(admin)
}

/// Gives `password` to `admin` and to every other user whom one of Odoo's own modules brought with a password: demo
/// data makes `demo` and `portal`, whose passwords are their names. To be called again after modules were installed
/// with demo data. Users of the project's `own` modules keep what those gave them. Returns how many were changed.
#[expect(
    clippy::disallowed_methods,
    reason = "Odoo's tables are not ours: there is no schema to check against"
)]
pub async fn replace_known_passwords(
    conn: &mut PgConnection,
    password: &SecretString,
    own: &[String],
) -> sqlx::Result<u64> {
    let changed = sqlx::query(
        "update public.res_users set password = $1
         where id in (select res_id from public.ir_model_data where model = 'res.users' and not module = any ($2))
           and (coalesce(password, '') <> ''
                or id in (select res_id from public.ir_model_data where module = 'base' and name = 'user_admin'))",
    )
    .bind(password::hash(password.expose_secret()))
    .bind(own)
    .execute(conn)
    .await?;
    Ok(changed.rows_affected())
}
