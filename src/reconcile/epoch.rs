//! The epoch: a number that only grows, kept in `ops.hosts` and in the data directory beside the installation's id.
//!
//! It is advanced before anything is made or removed outside PostgreSQL, in the database first and then in the file.
//! So the file is never ahead, but when the database was restored from an older copy; then what it does not know may
//! be somebody's data, and this host takes nothing away until an administrator has looked.

use super::{Standing, trouble::Trouble};
use crate::{
    environment,
    id::{HostId, InstallationId},
    queue::Claim,
    run::job::{JobError, Workshop},
};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::Path,
};
use tokio::sync::Mutex;
use uuid::Uuid;

/// The file follows the database: two that advance at once would write it in either order.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// What the data directory says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnDisk {
    pub installation: InstallationId,
    /// None: it was written by a program that knew no epochs.
    pub epoch: Option<i64>,
}

impl OnDisk {
    /// None: there is no such file.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let broken = || io::Error::new(ErrorKind::InvalidData, format!("{} is damaged", path.display()));
        let mut lines = text.lines();
        let installation = lines.next().and_then(|line| line.trim().parse().ok()).ok_or_else(broken)?;
        let epoch = lines.next().map(|line| line.trim().parse()).transpose().map_err(|_| broken())?;
        Ok(Some(Self { installation, epoch }))
    }

    /// All of it or nothing, and on the disk when this returns.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let aside = path.with_extension("new");
        let mut file = File::create(&aside)?;
        writeln!(file, "{}", self.installation)?;
        if let Some(epoch) = self.epoch {
            writeln!(file, "{epoch}")?;
        }
        file.sync_all()?;
        fs::rename(&aside, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

/// How the two copies stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stand {
    pub standing: Standing,
    pub epoch: i64,
    pub confirmed_at: Option<DateTime<Utc>>,
}

/// Why the host only reports.
pub fn reason(standing: Standing) -> &'static str {
    match standing {
        Standing::Agrees => "it acts",
        Standing::Behind => {
            "The ops database is older than this host's data directory: it was restored. Look at what would be \
             removed, then confirm."
        }
        Standing::Unknown => {
            "This host's data directory does not say its epoch, and the ops database knows one. Look at what would \
             be removed, then confirm."
        }
        Standing::Foreign => "This host's data directory belongs to another installation.",
    }
}

/// The host that this worker belongs to.
pub async fn own_host(shop: &Workshop) -> Result<HostId, Trouble> {
    let host = sqlx::query_scalar!("select host_id from ops.workers where id = $1", shop.name);
    let host = host.fetch_optional(&shop.pool).await?.flatten();
    host.map(Into::into).ok_or_else(|| Trouble("this worker is not registered".to_owned()))
}

pub async fn stand(shop: &Workshop, host: HostId) -> Result<Stand, Trouble> {
    let _one = ONE_AT_A_TIME.lock().await;
    compare(shop, host, false).await
}

/// Before something is made or removed outside PostgreSQL.
pub async fn advance(shop: &Workshop, host: HostId) -> Result<Stand, Trouble> {
    let _one = ONE_AT_A_TIME.lock().await;
    // The file has an epoch before the database begins to count: a crash between the two writes must not look like a
    // data directory that lost its file.
    if OnDisk::read(&shop.config.installation_file())?.is_none_or(|there| there.epoch.is_none()) {
        compare(shop, host, false).await?;
    }
    compare(shop, host, true).await
}

async fn compare(shop: &Workshop, host: HostId, advance: bool) -> Result<Stand, Trouble> {
    let path = shop.config.installation_file();
    let ours = shop.docker.installation();
    let there = OnDisk::read(&path)?;
    // Nobody's: what this worker makes would carry one id, and the directory another.
    let claimed =
        there.map_or(ours, |there| if there.installation == ours { ours } else { Uuid::nil().into() });
    let on_disk = there.and_then(|there| there.epoch);
    let row = sqlx::query!(
        r#"select standing as "standing!: Standing", epoch as "epoch!", confirmed_at
           from ops.compare_epoch($1, $2, $3, $4)"#,
        host.0,
        claimed.0,
        on_disk,
        advance
    )
    .fetch_one(&shop.pool)
    .await?;
    if row.standing == Standing::Agrees && on_disk != Some(row.epoch) {
        OnDisk { installation: ours, epoch: Some(row.epoch) }.write(&path)?;
    }
    Ok(Stand { standing: row.standing, epoch: row.epoch, confirmed_at: row.confirmed_at })
}

/// At every claim, before its first creation. New work goes on while the host only reports: it removes nothing of
/// others. But a run of the restored database that was under way may have ended since, and people may work with what
/// it made: it is not tried again over that.
pub async fn before_creation(shop: &Workshop, claim: &Claim) -> Result<(), JobError> {
    let failed = |Trouble(cause)| JobError::retry(cause);
    let host = own_host(shop).await.map_err(failed)?;
    let stand = advance(shop, host).await.map_err(failed)?;
    if stand.standing == Standing::Foreign {
        return Err(JobError::retry(reason(stand.standing)));
    }
    let mut conn = shop.pool.acquire().await?;
    match environment::query::by_run(&mut conn, claim.id).await? {
        Some(made) if !is_of_now(&stand, made.created_at) => Err(JobError::fail(
            "The ops database was restored while this run was under way. What it made is left as it is; start it \
             again.",
        )),
        _ => Ok(()),
    }
}

/// Whether what a run made may be taken away when the run ends: not what an earlier life of the database made.
pub async fn may_take_away(shop: &Workshop, made_at: DateTime<Utc>) -> Result<bool, Trouble> {
    let host = own_host(shop).await?;
    Ok(is_of_now(&stand(shop, host).await?, made_at))
}

fn is_of_now(stand: &Stand, made_at: DateTime<Utc>) -> bool {
    stand.standing == Standing::Agrees && stand.confirmed_at.is_none_or(|confirmed| made_at > confirmed)
}

/// Environments of the time when there was one machine.
pub async fn adopt(conn: &mut PgConnection, host: HostId) -> Result<(), Trouble> {
    let adopted = sqlx::query_scalar!(r#"select ops.adopt_environments($1) as "adopted!""#, host.0);
    let adopted = adopted.fetch_one(conn).await?;
    if adopted > 0 {
        tracing::info!(adopted, "environments without a host are this one's");
    }
    Ok(())
}
