//! What people do with schedules.

use super::{NewSchedule, ScheduleChange, SchedulePreview, ScheduleRun, ScheduleView, Timing, Work, query};
use crate::{
    Detail, Error, Result,
    access::{Action, Actor, authorise},
    audit,
    branch::Stage,
    id::{ProjectId, ScheduleId},
    project::{self, Slug},
    run::RunKind,
};
use serde_json::json;
use sqlx::PgConnection;

/// Those of a project; without one, all there are, for administrators of the platform.
pub async fn list(conn: &mut PgConnection, actor: &Actor, slug: Option<&Slug>) -> Result<Vec<ScheduleView>> {
    let project = match slug {
        Some(slug) => Some(project::service::resolve(conn, actor, slug).await?),
        None => {
            authorise(conn, actor, Action::AdministerPlatform).await?;
            None
        }
    };
    query::list(conn, project, None).await
}

pub async fn view(conn: &mut PgConnection, actor: &Actor, id: ScheduleId) -> Result<ScheduleView> {
    authorise(conn, actor, Action::ViewSchedule(id)).await?;
    query::list(conn, None, Some(id)).await?.pop().ok_or(Error::not_found("schedule"))
}

/// What came of it each time, the newest first.
pub async fn history(
    conn: &mut PgConnection,
    actor: &Actor,
    id: ScheduleId,
    limit: i64,
) -> Result<Vec<ScheduleRun>> {
    authorise(conn, actor, Action::ViewSchedule(id)).await?;
    query::history(conn, id, limit.clamp(1, 1000)).await
}

pub async fn create_in_txn(conn: &mut PgConnection, actor: &Actor, new: &NewSchedule) -> Result<ScheduleId> {
    let project = match &new.project {
        Some(slug) => Some(project::service::resolve(conn, actor, slug).await?),
        None => None,
    };
    authorise(conn, actor, Action::CreateSchedule(project)).await?;
    let name = check_name(&new.name)?;
    let (cron, time_zone) = (new.cron.trim(), new.time_zone.as_deref().unwrap_or("UTC"));
    let (_, next_due_at) = Timing::parse_for_use(cron, time_zone, query::now(conn).await?)?;
    let (kind, params) = match (&new.work, project) {
        (Work::Build { branch }, Some(project)) => {
            let found = query::branch_by_name(conn, project, branch).await?;
            let (id, stage) = found.ok_or_else(|| {
                Error::invalid("branch", Detail::new("branch.unknown").with("branch", branch))
            })?;
            // A build begins with a fresh database.
            if stage == Stage::Production {
                return Err(Error::invalid("branch", Detail::new("schedule.production")));
            }
            (RunKind::Build, json!({ "branch_id": id }))
        }
        (Work::Maintenance { task }, None) => (RunKind::Maintenance, json!({ "task": task })),
        (Work::Build { .. }, None) => {
            return Err(Error::invalid("project", Detail::new("schedule.needs_project")));
        }
        (Work::Maintenance { .. }, Some(_)) => {
            return Err(Error::invalid("kind", Detail::new("schedule.platform_only")));
        }
    };
    let id = ScheduleId::new();
    let detail = json!({ "name": name, "cron": cron, "time_zone": time_zone, "work": new.work });
    let row = query::Row {
        id,
        project,
        name,
        cron,
        time_zone,
        kind,
        params,
        next_due_at,
        created_by: actor.user_id,
    };
    query::insert(conn, row).await.map_err(taken(name))?;
    record(conn, "schedule.create", id, project, detail).await?;
    Ok(id)
}

fn check_name(name: &str) -> Result<&str> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err(Error::invalid("name", Detail::new("schedule.name_length")));
    }
    Ok(name)
}

fn taken(name: &str) -> impl Fn(sqlx::Error) -> Error {
    move |error| {
        if error.as_database_error().and_then(|e| e.constraint()) == Some("schedules_name_key") {
            return Error::invalid("name", Detail::new("schedule.name_taken").with("name", name));
        }
        error.into()
    }
}

/// How a pattern reads, and the next three times.
pub async fn preview(
    conn: &mut PgConnection,
    actor: &Actor,
    cron: &str,
    time_zone: &str,
) -> Result<SchedulePreview> {
    authorise(conn, actor, Action::ListProjects).await?;
    let (timing, first) = Timing::parse_for_use(cron.trim(), time_zone.trim(), query::now(conn).await?)?;
    let times = std::iter::successors(Some(first), |time| timing.next_after(*time));
    Ok(SchedulePreview {
        reading: timing.reading(),
        next: times.take(3).map(|time| timing.on_the_wall(time)).collect(),
    })
}

/// Another name or time; and whether it goes on.
pub async fn change_in_txn(
    conn: &mut PgConnection,
    actor: &Actor,
    id: ScheduleId,
    change: &ScheduleChange,
) -> Result<()> {
    let owner = administered(conn, actor, id).await?;
    if change.name.is_some() || change.cron.is_some() || change.time_zone.is_some() {
        let name = check_name(change.name.as_deref().unwrap_or(&owner.name))?;
        let cron = change.cron.as_deref().unwrap_or(&owner.cron).trim();
        let time_zone = change.time_zone.as_deref().unwrap_or(&owner.time_zone).trim();
        let (_, next_due_at) = Timing::parse_for_use(cron, time_zone, query::now(conn).await?)?;
        if !query::change(conn, id, name, cron, time_zone, Some(next_due_at)).await.map_err(taken(name))? {
            return Err(Error::not_found("schedule"));
        }
        let detail = json!({ "name": name, "cron": cron, "time_zone": time_zone, "before": owner.name });
        record(conn, "schedule.change", id, owner.project_id, detail).await?;
    }
    match change.enabled {
        Some(enabled) => set_enabled_in_txn(conn, actor, id, enabled).await,
        None => Ok(()),
    }
}

/// Stops it, or lets it go on: from the next time that it is due, whatever was missed.
pub async fn set_enabled_in_txn(
    conn: &mut PgConnection,
    actor: &Actor,
    id: ScheduleId,
    enabled: bool,
) -> Result<()> {
    let owner = administered(conn, actor, id).await?;
    let next_due_at = if enabled {
        let now = query::now(conn).await?;
        Some(Timing::parse_for_use(&owner.cron, &owner.time_zone, now)?.1)
    } else {
        None
    };
    if !query::set_enabled(conn, id, enabled, next_due_at).await? {
        return Err(Error::not_found("schedule"));
    }
    let action = if enabled { "schedule.enable" } else { "schedule.disable" };
    record(conn, action, id, owner.project_id, json!({ "name": owner.name })).await
}

/// Does now what it is for, stopped or not; when it is due next stays. A project's work is a run in the queue.
pub async fn run_now_in_txn(conn: &mut PgConnection, actor: &Actor, id: ScheduleId) -> Result<ScheduleRun> {
    let owner = administered(conn, actor, id).await?;
    sqlx::query!(r#"select (ops.run_schedule($1)).id as "id!""#, id.0).fetch_one(&mut *conn).await?;
    record(conn, "schedule.run", id, owner.project_id, json!({ "name": owner.name })).await?;
    query::history(conn, id, 1).await?.pop().ok_or(Error::not_found("schedule"))
}

pub async fn delete_in_txn(conn: &mut PgConnection, actor: &Actor, id: ScheduleId) -> Result<()> {
    let owner = administered(conn, actor, id).await?;
    if owner.built_in {
        return Err(Error::conflict(Detail::new("schedule.built_in")));
    }
    if !query::delete(conn, id).await? {
        return Err(Error::not_found("schedule"));
    }
    record(conn, "schedule.delete", id, owner.project_id, json!({ "name": owner.name })).await
}

async fn administered(conn: &mut PgConnection, actor: &Actor, id: ScheduleId) -> Result<query::Owner> {
    authorise(conn, actor, Action::AdministerSchedule(id)).await?;
    query::owner(conn, id).await?.ok_or(Error::not_found("schedule"))
}

async fn record(
    conn: &mut PgConnection,
    action: &str,
    id: ScheduleId,
    project: Option<ProjectId>,
    detail: serde_json::Value,
) -> Result<()> {
    let object_id = id.to_string();
    audit::record_in_txn(conn, audit::Entry { action, object_type: "schedule", object_id, project, detail })
        .await
}
