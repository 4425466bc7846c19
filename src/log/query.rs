use super::LogLine;
use crate::{Result, id::RunId, run::LogLevel};
use sqlx::PgConnection;

/// Lines after a sequence, in order. Only the chunks in which they are stored are read.
pub async fn page(conn: &mut PgConnection, run: RunId, after: i64, limit: i64) -> Result<Vec<LogLine>> {
    page_within(conn, run, after, limit, i64::MAX).await
}

/// The sequence of the last line; 0 when nothing was logged yet.
pub async fn last_seq(conn: &mut PgConnection, run: RunId) -> Result<i64> {
    let seq = sqlx::query_scalar!("select last_seq from ops.run_log_heads where run_id = $1", run.0)
        .fetch_optional(conn)
        .await?;
    Ok(seq.unwrap_or(0))
}

/// Lines after a sequence, in order, as many as fit in `bytes` but at least one: what a reader can hold.
pub async fn page_within(
    conn: &mut PgConnection,
    run: RunId,
    after: i64,
    limit: i64,
    bytes: i64,
) -> Result<Vec<LogLine>> {
    // Lines have up to 1 MiB: the sum is taken before any text leaves the database.
    let rows = sqlx::query!(
        r#"select seq as "seq!", stream as "stream!", log_level as "level!: LogLevel", message as "message!",
               created_at as "created_at!", metadata @> '{"continued": true}' as "continued!"
           from ops.run_log_page($1, $2, $3, $4)"#,
        run.0,
        after,
        limit,
        bytes
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| LogLine {
            seq: row.seq,
            stream: row.stream,
            level: row.level,
            message: row.message,
            created_at: row.created_at,
            continued: row.continued,
        })
        .collect())
}
