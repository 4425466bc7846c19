//! Who may do what. Every entry point asks `authorise` about its object before anything else; row level security
//! stands behind it for what was forgotten.

use crate::{
    Error, Result, audit,
    branch::Stage,
    id::{BranchId, EnvironmentId, ProjectId, RunId, ScheduleId, UserId},
    user::{Role, Tool},
};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use std::net::IpAddr;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Actor {
    pub user_id: UserId,
    pub platform_admin: bool,
    /// From where, as the proxy or the connection told. None on the server's own socket and for the platform itself.
    pub address: Option<IpAddr>,
}

/// Whom a transaction speaks for, and from where they asked.
#[derive(Debug, Clone, Copy)]
pub struct Asker {
    user: UserId,
    address: Option<IpAddr>,
}

impl From<Actor> for Asker {
    fn from(actor: Actor) -> Self {
        Self { user: actor.user_id, address: actor.address }
    }
}

impl From<&Actor> for Asker {
    fn from(actor: &Actor) -> Self {
        (*actor).into()
    }
}

/// Somebody of whom it is not known where they are.
impl From<UserId> for Asker {
    fn from(user: UserId) -> Self {
        Self { user, address: None }
    }
}

impl From<(UserId, Option<IpAddr>)> for Asker {
    fn from((user, address): (UserId, Option<IpAddr>)) -> Self {
        Self { user, address }
    }
}

/// What they ask for, with its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    ListProjects,
    CreateProject,
    ViewProject(ProjectId),
    /// Its sources, by git.
    Fetch(ProjectId),
    Push(ProjectId),
    ViewBranch(BranchId),
    MoveBranch {
        branch: BranchId,
        to: Stage,
    },
    Merge {
        from: BranchId,
        into: BranchId,
    },
    Rebuild(BranchId),
    /// Its settings, such as what a push does.
    ConfigureBranch(BranchId),
    /// Such as the labels that its runs ask of a host.
    ConfigureProject(ProjectId),
    ViewRun(RunId),
    ViewLogs(RunId),
    CancelRun(RunId),
    /// The same once more.
    RetryRun(RunId),
    DestroyEnvironment(EnvironmentId),
    /// Sign in to its Odoo, open a shell in it.
    ConnectEnvironment(EnvironmentId),
    ViewSchedule(ScheduleId),
    /// None: one of the platform's own.
    CreateSchedule(Option<ProjectId>),
    /// Stop it, run it now, delete it.
    AdministerSchedule(ScheduleId),
    AdministerPlatform,
}

/// A transaction in which policies see this user, and the audit log where they are. The settings end with the
/// transaction, so that a pooled connection cannot carry them into another request.
pub async fn begin_as(pool: &PgPool, asker: impl Into<Asker>) -> Result<Transaction<'static, Postgres>> {
    let asker = asker.into();
    let mut txn = pool.begin().await?;
    sqlx::query!(
        "select set_config('ops.user_id', $1, true), set_config('ops.client_address', $2, true) as address",
        asker.user.to_string(),
        asker.address.map(|address| address.to_string()).unwrap_or_default()
    )
    .fetch_one(&mut *txn)
    .await?;
    Ok(txn)
}

/// Passes or says why not: what the actor cannot see does not exist, what they see but may not do is forbidden. A
/// refusal is noted for the audit log.
pub async fn authorise(conn: &mut PgConnection, actor: &Actor, action: Action) -> Result<()> {
    let verdict = decide(conn, actor, action).await;
    audit::note(actor, action, &verdict);
    verdict
}

/// The same for what is only offered: nobody has asked for it yet, so there is no refusal to note.
pub async fn may(conn: &mut PgConnection, actor: &Actor, action: Action) -> Result<bool> {
    match decide(conn, actor, action).await {
        Ok(()) => Ok(true),
        Err(Error::Forbidden { .. } | Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn decide(conn: &mut PgConnection, actor: &Actor, action: Action) -> Result<()> {
    match action {
        Action::ListProjects => Ok(()),
        Action::CreateProject | Action::AdministerPlatform if actor.platform_admin => Ok(()),
        Action::CreateProject | Action::AdministerPlatform => Err(Error::forbidden("access.platform_admin")),
        Action::ViewProject(project) => role_in(conn, project).await.map(drop),
        // Sources are for those who work on them: viewers see history and status only. Which branches may be pushed
        // depends on their stage: the hook asks per branch.
        Action::Fetch(project) | Action::Push(project) => {
            allow(role_in(conn, project).await?, Tool::Push, Stage::Development)
        }
        Action::ViewBranch(branch) => {
            let (project, _) = branch_of(conn, branch).await?;
            role_in(conn, project).await.map(drop)
        }
        Action::MoveBranch { branch, to } => {
            let (project, stage) = branch_of(conn, branch).await?;
            let role = role_in(conn, project).await?;
            allow(role, Tool::MoveOut, stage)?;
            allow(role, Tool::MergeInto, to)
        }
        Action::Merge { from, into } => {
            branch_of(conn, from).await?;
            let (project, stage) = branch_of(conn, into).await?;
            allow(role_in(conn, project).await?, Tool::MergeInto, stage)
        }
        Action::Rebuild(branch) => {
            let (project, stage) = branch_of(conn, branch).await?;
            allow(role_in(conn, project).await?, Tool::Push, stage)
        }
        Action::ConfigureBranch(branch) => {
            let (project, stage) = branch_of(conn, branch).await?;
            allow(role_in(conn, project).await?, Tool::Settings, stage)
        }
        Action::ConfigureProject(project) => administers(role_in(conn, project).await?),
        Action::ViewRun(run) => {
            let (project, stage) = run_of(conn, run).await?;
            allow(role_in(conn, project).await?, Tool::History, stage)
        }
        Action::ViewLogs(run) => {
            let (project, stage) = run_of(conn, run).await?;
            allow(role_in(conn, project).await?, Tool::Logs, stage)
        }
        Action::CancelRun(run) | Action::RetryRun(run) => {
            let (project, stage) = run_of(conn, run).await?;
            allow(role_in(conn, project).await?, Tool::Push, stage)
        }
        Action::ConnectEnvironment(environment) => {
            let (project, stage) = environment_of(conn, environment).await?;
            allow(role_in(conn, project).await?, Tool::Connect, stage)
        }
        Action::DestroyEnvironment(environment) => {
            let (project, stage) = environment_of(conn, environment).await?;
            allow(role_in(conn, project).await?, Tool::Delete, stage)
        }
        Action::ViewSchedule(schedule) => match schedule_of(conn, actor, schedule).await? {
            Some(project) => role_in(conn, project).await.map(drop),
            None => Ok(()),
        },
        Action::CreateSchedule(Some(project)) => administers(role_in(conn, project).await?),
        Action::CreateSchedule(None) => platform(actor),
        Action::AdministerSchedule(schedule) => match schedule_of(conn, actor, schedule).await? {
            Some(project) => administers(role_in(conn, project).await?),
            None => Ok(()),
        },
    }
}

fn platform(actor: &Actor) -> Result<()> {
    if actor.platform_admin { Ok(()) } else { Err(Error::forbidden("access.platform_admin")) }
}

/// What concerns all stages, and what runs by itself again and again, is for those who answer for the whole project.
fn administers(role: Role) -> Result<()> {
    allow(role, Tool::Settings, Stage::Production)
}

/// The project of a schedule. The platform's own have none, and exist for its administrators only.
async fn schedule_of(conn: &mut PgConnection, actor: &Actor, id: ScheduleId) -> Result<Option<ProjectId>> {
    let project = sqlx::query_scalar!("select project_id from ops.schedules where id = $1", id.0)
        .fetch_optional(conn)
        .await?
        .ok_or(Error::not_found("schedule"))?;
    if project.is_none() && !actor.platform_admin {
        return Err(Error::not_found("schedule"));
    }
    Ok(project.map(Into::into))
}

/// What a push does to a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushes {
    /// New ones included.
    Commits,
    Deletion,
}

/// Whether a push may do this to the branch.
pub async fn authorise_push(
    conn: &mut PgConnection,
    actor: &Actor,
    project: ProjectId,
    branch: &str,
    what: Pushes,
) -> Result<()> {
    authorise(conn, actor, Action::Push(project)).await?;
    let known = sqlx::query!(
        r#"select id, stage as "stage: Stage" from ops.branches
           where project_id = $1 and name = $2 and deleted_at is null"#,
        project.0,
        branch
    )
    .fetch_optional(&mut *conn)
    .await?;
    let tool = match what {
        Pushes::Commits => Tool::Push,
        // Its environments go with it.
        Pushes::Deletion => Tool::Delete,
    };
    let (id, stage) = known.map(|known| (BranchId(known.id), known.stage)).unzip();
    let role = role_in(conn, project).await?;
    let verdict = allow(role, tool, stage.unwrap_or(Stage::Development));
    audit::note_push(actor, (project, id, branch), what, &verdict);
    verdict
}

fn allow(role: Role, tool: Tool, stage: Stage) -> Result<()> {
    if role.may(tool, stage) { Ok(()) } else { Err(Error::forbidden("access.role")) }
}

/// The actor's role as the database sees it: the transaction's user, not the caller's word.
async fn role_in(conn: &mut PgConnection, project: ProjectId) -> Result<Role> {
    sqlx::query_scalar!(
        r#"select ops.project_role(id) as "role: Role" from ops.projects where id = $1 and archived_at is null"#,
        project.0
    )
    .fetch_optional(conn)
    .await?
    .flatten()
    .ok_or(Error::not_found("project"))
}

async fn branch_of(conn: &mut PgConnection, id: BranchId) -> Result<(ProjectId, Stage)> {
    let row = sqlx::query!(
        r#"select project_id, stage as "stage: Stage" from ops.branches where id = $1 and deleted_at is null"#,
        id.0
    )
    .fetch_optional(conn)
    .await?
    .ok_or(Error::not_found("branch"))?;
    Ok((row.project_id.into(), row.stage))
}

/// A run counts to the stage of its environment, else to the one that it was queued for, else to its branch's.
async fn run_of(conn: &mut PgConnection, id: RunId) -> Result<(ProjectId, Stage)> {
    let row = sqlx::query!(
        r#"select r.project_id, coalesce(e.stage, r.params ->> 'stage', b.stage, 'development') as "stage!: Stage"
           from ops.runs r
           left join ops.environments e on e.id = r.environment_id
           left join ops.branches b on b.id = r.branch_id
           where r.id = $1"#,
        id.0
    )
    .fetch_optional(conn)
    .await?
    .ok_or(Error::not_found("run"))?;
    Ok((row.project_id.into(), row.stage))
}

async fn environment_of(conn: &mut PgConnection, id: EnvironmentId) -> Result<(ProjectId, Stage)> {
    let row = sqlx::query!(
        r#"select project_id, stage as "stage: Stage" from ops.environments where id = $1 and state <> 'destroyed'"#,
        id.0
    )
    .fetch_optional(conn)
    .await?
    .ok_or(Error::not_found("environment"))?;
    Ok((row.project_id.into(), row.stage))
}
