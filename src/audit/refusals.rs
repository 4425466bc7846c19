//! What was refused, and to whom. `access::authorise` is the one place that knows: it has the person, the action and
//! the object, however the request came in - API, server function, live socket or git. But its transaction is rolled
//! back with the refusal, and whether it was one only the answer tells: pages ask also in order to leave a button out.
//! So `authorise` notes its refusals for the request that it runs in, and the request's edge, which has the pool and
//! sees the answer, has them written down.

use super::often::Often;
use crate::{
    Error, Result,
    access::{Action, Actor, Pushes, begin_as},
    id::{BranchId, ProjectId},
};
use serde_json::json;
use sqlx::PgPool;
use std::{
    borrow::Cow,
    future::Future,
    mem,
    sync::{Arc, Mutex, PoisonError},
};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// One request may ask for many things, a push of many branches most of all.
const MOST_PER_REQUEST: usize = 32;

tokio::task_local! {
    static NOTED: Noted;
}

type Noted = Arc<Mutex<Vec<Refusal>>>;

/// Somebody was kept from something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub(super) actor: Actor,
    pub(super) from: KeptFrom,
}

/// From what, as the log says it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct KeptFrom {
    pub action: &'static str,
    pub object_type: &'static str,
    /// Its id; of projects the slug too.
    pub object: Option<String>,
    /// Of a push.
    pub branch: Option<String>,
    pub code: Cow<'static, str>,
    /// They were told that there is no such thing.
    pub hidden: bool,
}

impl Refusal {
    fn of(actor: &Actor, action: Action, error: &Error) -> Option<Self> {
        let (code, hidden) = match error {
            Error::Forbidden { detail } => (detail.code.clone(), false),
            Error::NotFound { detail } => (detail.code.clone(), true),
            _ => return None,
        };
        let (action, object_type, object) = named(action);
        let object = object.map(|id| id.to_string());
        let from = KeptFrom { action, object_type, object, branch: None, code, hidden };
        Some(Self { actor: *actor, from })
    }
}

/// Stable, and where the same is written down when it is allowed, the same words.
fn named(action: Action) -> (&'static str, &'static str, Option<Uuid>) {
    let (branch, run, environment) = ("branch", "run", "environment");
    match action {
        Action::ListProjects => ("project.list", "project", None),
        Action::CreateProject => ("project.create", "project", None),
        Action::ViewProject(id) => ("project.view", "project", Some(id.0)),
        Action::Fetch(id) => ("project.fetch", "project", Some(id.0)),
        Action::Push(id) => ("branch.push", "project", Some(id.0)),
        Action::ViewBranch(id) => ("branch.view", branch, Some(id.0)),
        Action::ConfigureProject(id) => ("project.configure", "project", Some(id.0)),
        Action::MoveBranch { branch: id, .. } => ("branch.move", branch, Some(id.0)),
        Action::Merge { into, .. } => ("branch.merge", branch, Some(into.0)),
        Action::Rebuild(id) => ("branch.rebuild", branch, Some(id.0)),
        Action::ConfigureBranch(id) => ("branch.configure", branch, Some(id.0)),
        Action::ViewRun(id) => ("run.view", run, Some(id.0)),
        Action::ViewLogs(id) => ("run.logs", run, Some(id.0)),
        Action::CancelRun(id) => ("run.cancel", run, Some(id.0)),
        Action::RetryRun(id) => ("run.retry", run, Some(id.0)),
        Action::DestroyEnvironment(id) => ("environment.destroy", environment, Some(id.0)),
        Action::ConnectEnvironment(id) => ("environment.connect", environment, Some(id.0)),
        Action::ViewSchedule(id) => ("schedule.view", "schedule", Some(id.0)),
        Action::CreateSchedule(Some(id)) => ("schedule.create", "project", Some(id.0)),
        Action::CreateSchedule(None) => ("schedule.create", "platform", None),
        Action::AdministerSchedule(id) => ("schedule.administer", "schedule", Some(id.0)),
        Action::AdministerPlatform => ("platform.administer", "platform", None),
    }
}

fn keep(refusal: Refusal) {
    // Outside of requests, as in the platform's own tasks, nobody asks to be told.
    let _ = NOTED.try_with(|noted| {
        let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() < MOST_PER_REQUEST && !noted.contains(&refusal) {
            noted.push(refusal);
        }
    });
}

pub(crate) fn note<T>(actor: &Actor, action: Action, verdict: &Result<T>) {
    let refusal = verdict.as_ref().err().and_then(|error| Refusal::of(actor, action, error));
    let Some(refusal) = refusal else { return };
    // Either may be the one that was hidden: the database knows which.
    if let Action::Merge { from: merged, .. } = action
        && refusal.from.hidden
    {
        let object = Some(merged.0.to_string());
        keep(Refusal { from: KeptFrom { object, ..refusal.from.clone() }, ..refusal });
    }
    keep(refusal);
}

/// Of a branch, which need not be there yet.
pub(crate) fn note_push(
    actor: &Actor,
    (project, branch, name): (ProjectId, Option<BranchId>, &str),
    what: Pushes,
    verdict: &Result<()>,
) {
    let Err(error) = verdict else { return };
    let Some(mut refusal) = Refusal::of(actor, Action::Push(project), error) else { return };
    if let Some(branch) = branch {
        (refusal.from.object_type, refusal.from.object) = ("branch", Some(branch.to_string()));
    }
    if what == Pushes::Deletion {
        refusal.from.action = "branch.delete";
    }
    refusal.from.branch = Some(name.to_owned());
    keep(refusal);
}

/// A project that somebody named, by slug or by id, was not found: it may be there all the same.
pub fn note_unseen_project(actor: &Actor, named: &str) {
    let (object, code) = (Some(named.to_owned()), "project".into());
    let (action, object_type) = ("project.view", "project");
    keep(Refusal {
        actor: *actor,
        from: KeptFrom { action, object_type, object, branch: None, code, hidden: true },
    });
}

/// What comes out of a future, and what was refused in it.
pub async fn noting<F: Future>(future: F) -> (F::Output, Vec<Refusal>) {
    let noted = Noted::default();
    let output = NOTED.scope(noted.clone(), future).await;
    let refused = mem::take(&mut *noted.lock().unwrap_or_else(PoisonError::into_inner));
    (output, refused)
}

/// For a task that is started within `noting`: what is refused in the task is noted there too.
pub fn noting_along<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let noted = NOTED.try_with(Noted::clone).ok();
    async move {
        match noted {
            Some(noted) => NOTED.scope(noted, future).await,
            None => future.await,
        }
    }
}

/// Writes refusals down.
#[derive(Debug, Clone)]
pub struct Refusals {
    pool: PgPool,
    often: Often,
    writing: TaskTracker,
}

impl Refusals {
    pub fn new(pool: PgPool) -> Self {
        Self { pool, often: Often::default(), writing: TaskTracker::new() }
    }

    /// Writes them down, by and by: the answer waits for nothing, and what fails here changes nothing for who asked.
    /// `request` is how they asked, without what may be secret in it.
    pub fn write_down(&self, refused: Vec<Refusal>, request: &str) {
        let refused = self.often.sift(refused);
        if refused.is_empty() {
            return;
        }
        let (pool, request) = (self.pool.clone(), request.to_owned());
        self.writing.spawn(async move {
            for refusal in refused {
                if let Err(error) = write(&pool, &refusal, &request).await {
                    tracing::warn!(%error, ?refusal, "a refusal is missing from the audit log");
                }
            }
        });
    }

    /// Waits until all that was refused before this call is written, or could not be.
    pub async fn written(&self) {
        self.writing.close();
        self.writing.wait().await;
    }
}

async fn write(pool: &PgPool, refusal: &Refusal, request: &str) -> Result<()> {
    let mut detail = json!({ "code": refusal.from.code, "request": request });
    let from = &refusal.from;
    if let Some(branch) = &from.branch {
        detail["branch"] = json!(branch);
    }
    let mut txn = begin_as(pool, refusal.actor).await?;
    sqlx::query!(
        r#"select ops.audit(null, $1, $2, $3, $4, $5) as "done: ()""#,
        from.action,
        from.object_type,
        from.object.as_deref(),
        detail,
        if from.hidden { "hidden" } else { "refused" }
    )
    .fetch_one(&mut *txn)
    .await?;
    Ok(txn.commit().await?)
}
