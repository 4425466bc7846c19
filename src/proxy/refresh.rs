//! Keeps the routes as the ops database has them: a change is announced and read at once, a slow poll finds what was
//! never announced. A database that is down changes nothing: the last routes known stay in force.

use super::{Node, Route, Routes, copy};
use crate::{
    environment::EnvironmentState,
    id::{EnvironmentId, HostId, RunId},
    postgres::Heard,
    project::Slug,
};
use sqlx::PgPool;
use std::{convert::Infallible, io, net::IpAddr, path::PathBuf, time::Duration};
use tokio_util::sync::CancellationToken;

const CHANNEL: &str = "ops_routes";
/// A database that takes longer is as good as down.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(500);
/// Odoo's HTTP port, for a row that names none.
const ODOO_PORT: u16 = 8069;

pub struct Refresh {
    pub database: PgPool,
    pub routes: Routes,
    pub file: PathBuf,
    pub poll: Duration,
    /// On a joined machine, itself: others' environments are not served here.
    pub joined: Option<HostId>,
}

impl Refresh {
    /// The routes of the last life, until the database says otherwise.
    pub async fn load_copy(&self) {
        match self.on_disk(|path| copy::read(&path)).await {
            Ok(routes) => {
                self.routes.replace(routes);
            }
            Err(error) => {
                tracing::warn!(file = %self.file.display(), %error, "the copy of the routes is unreadable")
            }
        }
    }

    pub async fn follow(self, stop: CancellationToken) {
        let heard = Heard::alone(&self.database, &[CHANNEL], stop.clone());
        stop.run_until_cancelled(self.keep_current(heard)).await;
    }

    async fn keep_current(&self, mut heard: Heard) -> Infallible {
        let mut down = false;
        loop {
            // One read serves all that were announced before it begins.
            heard.skip();
            match self.load().await {
                Ok(()) => {
                    if std::mem::take(&mut down) {
                        tracing::info!("the ops database answers again");
                    }
                    // What was announced before anybody listened counts as missed, and wakes as well.
                    tokio::time::timeout(self.poll, heard.next()).await.ok();
                }
                Err(cause) => {
                    // Once per outage, not once per attempt.
                    if !std::mem::replace(&mut down, true) {
                        tracing::warn!(%cause, "the ops database does not answer; the last known routes stay");
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    async fn load(&self) -> Result<(), sqlx::Error> {
        let routes = in_time(read(&self.database, self.joined)).await?;
        if !self.routes.differ(&routes) {
            return Ok(());
        }
        // First on disk: who was answered once is answered by the next proxy too, however this one ends.
        let copied = routes.clone();
        if let Err(error) = self.on_disk(move |path| copy::write(&path, &copied)).await {
            tracing::warn!(file = %self.file.display(), %error, "the copy of the routes is not written");
        }
        self.routes.replace(routes);
        Ok(())
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let path = self.file.clone();
        tokio::task::spawn_blocking(move || work(path)).await.map_err(io::Error::other)?
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Every environment that has a page: what runs, and what a link may still lead to.
async fn read(database: &PgPool, joined: Option<HostId>) -> Result<Vec<Route>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select e.id as "id: EnvironmentId", e.hostname, p.slug, e.run_id as "run_id: RunId",
                  e.state as "state: EnvironmentState", e.container_id, e.address, e.port,
                  h.id as "host?: HostId", h.node_address as "node_address?", h.revoked_at is not null as "revoked!"
             from ops.environments e
             join ops.projects p on p.id = e.project_id
             left join ops.hosts h on h.id = e.host_id and h.db_role is not null
            where ($1::uuid is null or e.host_id = $1) and e.state <> 'destroyed' and (e.state <> 'failed' or e.created_at > now() - interval '1 day')
            order by e.id"#,
        joined.map(|host| host.0)
    )
    .fetch_all(database)
    .await?;
    Ok(rows.into_iter().filter_map(|row| row.into_route(joined)).collect())
}

struct Row {
    id: EnvironmentId,
    hostname: String,
    slug: String,
    run_id: Option<RunId>,
    state: EnvironmentState,
    container_id: Option<String>,
    address: Option<String>,
    port: Option<i32>,
    /// Only of machines that joined.
    host: Option<HostId>,
    node_address: Option<String>,
    revoked: bool,
}

impl Row {
    fn into_route(self, joined: Option<HostId>) -> Option<Route> {
        let row = self;
        // The table's own constraint allows nothing else.
        let project = Slug::parse(&row.slug).ok()?;
        let port = row.port.map_or(Ok(ODOO_PORT), u16::try_from);
        let address = match (row.address.as_deref().map(str::parse::<IpAddr>), port) {
            (Some(Ok(address)), Ok(port)) => Some((address, port).into()),
            (None, _) => None,
            _ => {
                tracing::error!(environment = %row.id, "the environment's address does not read");
                None
            }
        };
        let node = match (row.host.filter(|host| Some(*host) != joined), row.node_address) {
            (Some(host), Some(address)) => Some(Node { host, address }),
            _ => None,
        };
        Some(Route {
            environment_id: row.id,
            hostname: row.hostname,
            project,
            run_id: row.run_id,
            state: row.state,
            container_id: row.container_id,
            // A machine that was revoked is not called any more.
            address: address.filter(|_| !row.revoked),
            node,
            // Environments run without workers so far: one port for all.
            websocket_port: None,
        })
    }
}
