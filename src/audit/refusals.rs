//! What was refused, and to whom. `access::authorise` is the one place that knows: it has the person, the action and
//! the object, however the request came in - API, server function, live socket or git. But its transaction is rolled
//! back with the refusal, and whether it was one only the answer tells: pages ask also in order to leave a button out.
//! So `authorise` notes its refusals for the request that it runs in, and the request's edge, which has the pool and
//! sees the answer, has them written down.

use crate::{
    Error, Result,
    access::{Action, Actor, Pushes, begin_as},
    id::{BranchId, ProjectId},
};
use serde_json::json;
use sqlx::PgPool;
use std::{
    borrow::Cow,
    cell::RefCell,
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// One request may ask for many things, a push of many branches most of all.
const MOST_PER_REQUEST: usize = 32;
/// The same person who is refused the same again and again is written down once in this time.
const AGAIN: Duration = Duration::from_secs(60);
/// Beyond that, repetitions are written too rather than remembered.
const MOST_REMEMBERED: usize = 4096;

tokio::task_local! {
    static NOTED: RefCell<Vec<Refusal>>;
}

/// Somebody was kept from something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Refusal {
    actor: Actor,
    action: &'static str,
    object_type: &'static str,
    object: Option<Uuid>,
    /// Of a push.
    branch: Option<String>,
    code: Cow<'static, str>,
    /// They were told that there is no such thing.
    hidden: bool,
}

impl Refusal {
    fn of(actor: &Actor, action: Action, error: &Error) -> Option<Self> {
        let (code, hidden) = match error {
            Error::Forbidden { detail } => (detail.code.clone(), false),
            Error::NotFound { detail } => (detail.code.clone(), true),
            _ => return None,
        };
        let (action, object_type, object) = named(action);
        Some(Self { actor: *actor, action, object_type, object, branch: None, code, hidden })
    }
}

/// Stable, and where the same is written down when it is allowed, the same words.
fn named(action: Action) -> (&'static str, &'static str, Option<Uuid>) {
    let (branch, run, environment) = ("branch", "run", "environment");
    match action {
        Action::ListProjects => ("project.list", "project", None),
        Action::CreateProject => ("project.create", "project", None),
        Action::ViewProject(id) => ("project.view", "project", Some(id.0)),
        Action::Push(id) => ("branch.push", "project", Some(id.0)),
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
        let mut noted = noted.borrow_mut();
        if noted.len() < MOST_PER_REQUEST && !noted.contains(&refusal) {
            noted.push(refusal);
        }
    });
}

pub(crate) fn note<T>(actor: &Actor, action: Action, verdict: &Result<T>) {
    if let Some(refusal) = verdict.as_ref().err().and_then(|error| Refusal::of(actor, action, error)) {
        keep(refusal);
    }
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
        (refusal.object_type, refusal.object) = ("branch", Some(branch.0));
    }
    if what == Pushes::Deletion {
        refusal.action = "branch.delete";
    }
    refusal.branch = Some(name.to_owned());
    keep(refusal);
}

/// What comes out of a future, and what was refused in it. Not in tasks that it starts.
pub async fn noting<F: Future>(future: F) -> (F::Output, Vec<Refusal>) {
    NOTED
        .scope(RefCell::default(), async {
            let output = future.await;
            (output, NOTED.with(RefCell::take))
        })
        .await
}

/// Writes refusals down.
#[derive(Debug, Clone)]
pub struct Refusals {
    pool: PgPool,
    /// Without a bound, whoever has an account could fill the log: its rows stay for a year.
    lately: Arc<Mutex<HashMap<Refusal, Instant>>>,
    writing: TaskTracker,
}

impl Refusals {
    pub fn new(pool: PgPool) -> Self {
        Self { pool, lately: Arc::default(), writing: TaskTracker::new() }
    }

    /// Writes them down, by and by: the answer waits for nothing, and what fails here changes nothing for who asked.
    /// `request` is how they asked, without what may be secret in it.
    pub fn write_down(&self, mut refused: Vec<Refusal>, request: &str) {
        self.forget_repeated(&mut refused);
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

    fn forget_repeated(&self, refused: &mut Vec<Refusal>) {
        let now = Instant::now();
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        if lately.len() >= MOST_REMEMBERED {
            lately.retain(|_, at| now.duration_since(*at) < AGAIN);
        }
        refused.retain(|refusal| {
            let repeated = lately.get(refusal).is_some_and(|at| now.duration_since(*at) < AGAIN);
            if !repeated && (lately.len() < MOST_REMEMBERED || lately.contains_key(refusal)) {
                lately.insert(refusal.clone(), now);
            }
            !repeated
        });
    }
}

async fn write(pool: &PgPool, refusal: &Refusal, request: &str) -> Result<()> {
    let mut detail = json!({ "code": refusal.code, "request": request });
    if let Some(branch) = &refusal.branch {
        detail["branch"] = json!(branch);
    }
    let mut txn = begin_as(pool, refusal.actor).await?;
    sqlx::query!(
        r#"select ops.audit(null, $1, $2, $3, $4, $5) as "done: ()""#,
        refusal.action,
        refusal.object_type,
        refusal.object.map(|id| id.to_string()),
        detail,
        if refusal.hidden { "hidden" } else { "refused" }
    )
    .fetch_one(&mut *txn)
    .await?;
    Ok(txn.commit().await?)
}
