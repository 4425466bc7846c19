#[cfg(feature = "ssr")]
use crate::request::{Visitor, answer, go_on_at};
use crate::{codec::Json, error::Fault};
use leptos::{prelude::*, server_fn::codec::GetUrl};
#[cfg(feature = "ssr")]
use odooops::{
    access::{Action, Actor, may},
    branch::Stage,
    project,
    schedule::{NewSchedule, ScheduleChange, Work, service},
};
use odooops::{
    branch::BranchName,
    id::{ProjectId, ScheduleId},
    project::Slug,
    schedule::{MaintenanceTask, SchedulePreview, ScheduleRun, ScheduleView},
};
use serde::{Deserialize, Serialize};

/// What a page of schedules shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedules {
    pub schedules: Vec<ScheduleView>,
    /// Whether this person may add and change them.
    pub may_change: bool,
    /// Whose news this page is kept current by; without one the platform's.
    pub project_id: Option<ProjectId>,
    /// What a schedule of the project may build.
    pub branches: Vec<BranchName>,
}

/// Those of a project; without one, all there are.
#[server(name = LoadSchedules, prefix = "/api/console", endpoint = "schedules", input = GetUrl, output = Json)]
pub async fn schedules(project: Option<Slug>) -> Result<Schedules, Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            load(&mut txn, &visitor.actor, project.as_ref()).await
        }
        .await,
    )
}

#[cfg(feature = "ssr")]
async fn load(
    conn: &mut sqlx::PgConnection,
    actor: &Actor,
    slug: Option<&Slug>,
) -> odooops::Result<Schedules> {
    let schedules = service::list(conn, actor, slug).await?;
    let (project, branches) = match slug {
        Some(slug) => {
            let project = project::service::resolve(conn, actor, slug).await?;
            let branches = odooops::branch::query::list(conn, project, false).await?;
            let open = branches.into_iter().filter(|branch| branch.stage != Stage::Production);
            (Some(project), open.map(|branch| branch.name).collect())
        }
        None => (None, Vec::new()),
    };
    let may_change = may(conn, actor, Action::CreateSchedule(project)).await?;
    Ok(Schedules { schedules, may_change, project_id: project, branches })
}

/// How a pattern reads, and the next three times.
#[server(name = PreviewSchedule, prefix = "/api/console", endpoint = "schedule/preview", input = GetUrl, output = Json)]
pub async fn preview(cron: String, time_zone: String) -> Result<SchedulePreview, Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            service::preview(&mut txn, &visitor.actor, &cron, &time_zone).await
        }
        .await,
    )
}

#[cfg(feature = "ssr")]
fn page_of(project: Option<&Slug>) -> String {
    project.map_or_else(|| "/admin/schedules".to_owned(), |slug| format!("/projects/{slug}/schedules"))
}

/// Of a project: builds a branch. Of the platform: does a task.
#[server(prefix = "/api/console", endpoint = "schedule/create", output = Json)]
pub async fn create_schedule(
    name: String,
    cron: String,
    time_zone: String,
    project: Option<Slug>,
    branch: Option<BranchName>,
    task: Option<MaintenanceTask>,
) -> Result<ScheduleId, Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let work = match (branch, task) {
                (Some(branch), _) => Work::Build { branch },
                (None, Some(task)) => Work::Maintenance { task },
                (None, None) => {
                    return Err(odooops::Error::invalid("branch", odooops::Detail::new("request.body")));
                }
            };
            let page = page_of(project.as_ref());
            let new = NewSchedule { project, name, cron, time_zone: Some(time_zone), work };
            let mut txn = visitor.begin().await?;
            let id = service::create_in_txn(&mut txn, &visitor.actor, &new).await?;
            txn.commit().await?;
            go_on_at(&page);
            Ok(id)
        }
        .await,
    )
}

/// Another name or time.
#[server(prefix = "/api/console", endpoint = "schedule/change", output = Json)]
pub async fn change_schedule(
    id: ScheduleId,
    name: String,
    cron: String,
    time_zone: String,
) -> Result<(), Fault> {
    let change =
        ScheduleChange { name: Some(name), cron: Some(cron), time_zone: Some(time_zone), enabled: None };
    answer(change_and_go(id, change).await)
}

/// Stops it, or lets it go on.
#[server(prefix = "/api/console", endpoint = "schedule/enable", output = Json)]
pub async fn enable_schedule(id: ScheduleId, enabled: bool) -> Result<(), Fault> {
    let change = ScheduleChange { enabled: Some(enabled), ..ScheduleChange::default() };
    answer(change_and_go(id, change).await)
}

#[cfg(feature = "ssr")]
async fn change_and_go(id: ScheduleId, change: ScheduleChange) -> odooops::Result<()> {
    let visitor = Visitor::require()?;
    let mut txn = visitor.begin().await?;
    service::change_in_txn(&mut txn, &visitor.actor, id, &change).await?;
    let schedule = service::view(&mut txn, &visitor.actor, id).await?;
    txn.commit().await?;
    go_on_at(&page_of(schedule.project_slug.as_ref()));
    Ok(())
}

/// Does now what it is for.
#[server(prefix = "/api/console", endpoint = "schedule/run", output = Json)]
pub async fn run_schedule(id: ScheduleId) -> Result<ScheduleRun, Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            let done = service::run_now_in_txn(&mut txn, &visitor.actor, id).await?;
            let schedule = service::view(&mut txn, &visitor.actor, id).await?;
            txn.commit().await?;
            go_on_at(&page_of(schedule.project_slug.as_ref()));
            Ok(done)
        }
        .await,
    )
}

#[server(prefix = "/api/console", endpoint = "schedule/delete", output = Json)]
pub async fn delete_schedule(id: ScheduleId) -> Result<(), Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            let schedule = service::view(&mut txn, &visitor.actor, id).await?;
            service::delete_in_txn(&mut txn, &visitor.actor, id).await?;
            txn.commit().await?;
            go_on_at(&page_of(schedule.project_slug.as_ref()));
            Ok(())
        }
        .await,
    )
}
