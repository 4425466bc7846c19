//! Finding what was pushed and not recorded: the hook died, the server was down, or the branches came by a fetch.
//! Git is asked for all heads and the database for all branches; what differs is told to the same
//! `branch_pushed_in_txn` that the hook tells, which says nothing twice.

use super::{
    command::Git,
    error::GitError,
    repository::{Repositories, Repository},
    url::GitUrl,
};
use crate::{
    Error, Result,
    access::{self, Actor},
    branch::{
        self, BranchName, CommitLine,
        service::{PushedBranch, branch_pushed_in_txn},
    },
    id::{ProjectId, RunId},
    project,
};
use futures::StreamExt;
use sqlx::{Connection, PgConnection, PgPool};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::Semaphore, task::JoinSet, time::MissedTickBehavior};

/// A head that the database does not know, or a branch that git has no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    pub name: BranchName,
    pub head: Option<CommitLine>,
}

/// What differs. `known` holds the branches that are not deleted.
pub fn missed_pushes(heads: Vec<(BranchName, CommitLine)>, known: &[branch::query::Branch]) -> Vec<Missed> {
    let mut known: BTreeMap<&BranchName, Option<&CommitLine>> =
        known.iter().map(|branch| (&branch.name, branch.head.as_ref())).collect();
    let mut missed = Vec::new();
    for (name, head) in heads {
        let same = known.remove(&name).flatten().is_some_and(|seen| seen.sha == head.sha);
        if !same {
            missed.push(Missed { name, head: Some(head) });
        }
    }
    // A branch without a commit was never pushed, so git has not lost it.
    let gone = known.into_iter().filter(|(_, head)| head.is_some());
    missed.extend(gone.map(|(name, _)| Missed { name: name.clone(), head: None }));
    missed
}

/// Everyone who reads heads to record them holds this lock of the project until the record is committed, so that a
/// commit is recorded once and never after a newer one. Row locks would not do: a new branch has no row yet.
pub async fn hold_heads_in_txn(conn: &mut PgConnection, project: ProjectId) -> Result<()> {
    let name = format!("git heads {project}");
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended($1, 0))", name).execute(conn).await?;
    Ok(())
}

/// The project's own repository, made when there is none. But not when the database knows its branches: then it was
/// lost, and an empty one in its place would take them along.
pub async fn ready(
    pool: &PgPool,
    repositories: &Repositories,
    actor: &Actor,
    project: ProjectId,
) -> Result<Repository> {
    let repository = repositories.of(project);
    if repository.exists() {
        // One that is just being made has no hooks yet, and would take what they refuse.
        return Ok(if repository.has_hooks() { repository } else { repositories.create(project).await? });
    }
    let mut txn = access::begin_as(pool, actor).await?;
    let known = branch::query::list(&mut txn, project, false).await?;
    txn.commit().await?;
    if known.iter().any(|branch| branch.head.is_some()) {
        tracing::error!(%project, path = %repository.path().display(), "a repository is gone: put it back");
        return Err(Error::unavailable("git.repository_gone"));
    }
    Ok(repositories.create(project).await?)
}

/// One look at one project: fetches when it has a remote, then records what was missed.
pub async fn reconcile_project(
    pool: &PgPool,
    repositories: &Repositories,
    actor: &Actor,
    project: ProjectId,
    remote: Option<&GitUrl>,
) -> Result<Vec<RunId>> {
    let repository = match remote {
        Some(_) => repositories.create(project).await?,
        None => ready(pool, repositories, actor, project).await?,
    };
    if let Some(url) = remote {
        // Somebody does already: a new project's first fetch takes as long as it takes.
        let Some(_fetching) = repositories.begin_fetch(project) else { return Ok(Vec::new()) };
        let fetched = repository.fetch(url).await;
        note_fetch(pool, actor, project, fetched.as_ref().err()).await?;
        fetched?;
    }
    let mut txn = access::begin_as(pool, actor).await?;
    hold_heads_in_txn(&mut txn, project).await?;
    let known = branch::query::list(&mut txn, project, true).await?;
    let heads = repository.heads().await?;
    // Nobody deletes all branches at once without the hook hearing of it: the disk is not there, or is an older one.
    if heads.is_empty() && known.iter().any(|branch| branch.head.is_some()) {
        tracing::error!(%project, path = %repository.path().display(), "a repository has lost its branches: put it back");
        return Err(Error::unavailable("git.repository_gone"));
    }
    let missed = missed_pushes(heads, &known);
    let mut runs = Vec::new();
    for Missed { name, head } in missed {
        tracing::info!(%project, branch = %name, deleted = head.is_none(), "recording a push that was missed");
        runs.extend(branch_pushed_in_txn(&mut txn, actor, project, &PushedBranch { name, head }).await?);
    }
    txn.commit().await?;
    repository.mend_default_branch().await?;
    Ok(runs)
}

/// So that people see whether their project follows its remote, and why not.
async fn note_fetch(
    pool: &PgPool,
    actor: &Actor,
    project: ProjectId,
    error: Option<&GitError>,
) -> Result<()> {
    let mut txn = access::begin_as(pool, actor).await?;
    let error = error.map(|error| error.to_string().chars().take(1000).collect::<String>());
    project::query::set_fetched(&mut txn, project, error.as_deref()).await?;
    Ok(txn.commit().await?)
}

/// Which projects a look is at. Fetching takes as long as other machines like, so it is looked at on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Pushed to here: a matter of milliseconds.
    Own,
    /// Fetched from elsewhere.
    Following,
}

/// Fetches at the same time.
const FETCHES: usize = 4;

/// One look at all projects. One that fails holds none of the others up.
pub async fn reconcile(pool: &PgPool, repositories: &Repositories, actor: &Actor) -> Result<Vec<RunId>> {
    let mut runs = reconcile_kind(pool, repositories, actor, Kind::Own).await?;
    runs.extend(reconcile_kind(pool, repositories, actor, Kind::Following).await?);
    Ok(runs)
}

async fn reconcile_kind(
    pool: &PgPool,
    repositories: &Repositories,
    actor: &Actor,
    kind: Kind,
) -> Result<Vec<RunId>> {
    let projects = projects(pool, actor, kind).await?;
    let looks = projects.into_iter().map(|project| look_at(pool, repositories, actor, project));
    let mut looks = futures::stream::iter(looks).buffer_unordered(FETCHES);
    let mut runs = Vec::new();
    while let Some(found) = looks.next().await {
        runs.extend(found?);
    }
    Ok(runs)
}

/// A project, and where it is fetched from.
type Project = (ProjectId, Option<String>);

async fn projects(pool: &PgPool, actor: &Actor, kind: Kind) -> Result<Vec<Project>> {
    let mut txn = access::begin_as(pool, actor).await?;
    let projects = sqlx::query!(
        "select id, remote_url from ops.projects where archived_at is null and (remote_url is not null) = $1 order by id",
        kind == Kind::Following
    )
    .fetch_all(&mut *txn)
    .await?;
    txn.commit().await?;
    Ok(projects.into_iter().map(|project| (project.id.into(), project.remote_url)).collect())
}

/// What goes wrong with one project is its own; only a database that is gone is everybody's.
async fn look_at(
    pool: &PgPool,
    repositories: &Repositories,
    actor: &Actor,
    (project, url): Project,
) -> Result<Vec<RunId>> {
    let outcome = match remote(repositories.git(), url.as_deref()) {
        Ok(url) => reconcile_project(pool, repositories, actor, project, url.as_ref()).await,
        Err(error) => Err(error.into()),
    };
    match outcome {
        Err(error @ Error::Unavailable { .. }) if unreachable_database(&error) => Err(error),
        Err(error) => {
            tracing::warn!(%project, %error, "the project's branches could not be compared");
            Ok(Vec::new())
        }
        found => found,
    }
}

/// Fetches each project every `pause`; one whose host is slow holds none of the others up.
async fn follow(pool: &PgPool, repositories: &Repositories, actor: &Actor, pause: Duration) -> Result<()> {
    let slots = Arc::new(Semaphore::new(FETCHES));
    let (mut fetches, mut under_way) = (JoinSet::new(), HashSet::new());
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                for project in projects(pool, actor, Kind::Following).await? {
                    if !under_way.insert(project.0) {
                        continue;
                    }
                    let (pool, repositories, actor) = (pool.clone(), repositories.clone(), *actor);
                    let slots = slots.clone();
                    fetches.spawn(async move {
                        let _slot = slots.acquire().await;
                        (project.0, look_at(&pool, &repositories, &actor, project).await)
                    });
                }
            }
            Some(ended) = fetches.join_next() => {
                let (project, outcome) = ended.map_err(Error::internal)?;
                under_way.remove(&project);
                outcome?;
            }
        }
    }
}

fn unreachable_database(error: &Error) -> bool {
    error.detail().is_some_and(|detail| detail.code == "database")
}

fn remote(git: &Git, url: Option<&str>) -> Result<Option<GitUrl>, GitError> {
    url.map(|url| GitUrl::parse(url, git.settings().allow_file)).transpose()
}

/// Two servers on one database: the one that holds this lock compares. The number is ours by convention only.
const LEADER_LOCK: i64 = 0x6f70_7367_6974;

/// How often repositories are packed where that is worth it.
const TIDY: Duration = Duration::from_secs(6 * 3600);

/// Looks at once and then every `pause`, for ever. Waits its turn when another process does this already.
pub async fn keep_reconciling(pool: PgPool, repositories: Repositories, pause: Duration) {
    loop {
        if let Err(error) = lead(&pool, &repositories, pause).await {
            tracing::warn!(%error, "comparing branches stopped; it starts again");
        }
        tokio::time::sleep(pause.min(Duration::from_secs(5))).await;
    }
}

async fn lead(pool: &PgPool, repositories: &Repositories, pause: Duration) -> Result<()> {
    // The lock lives as long as its session, so the session is taken out of the pool.
    let mut session = pool.acquire().await?.detach();
    while !try_lead(&mut session).await? {
        tokio::time::sleep(pause).await;
    }
    // What the reconciler records, nobody in particular has pushed.
    let user = sqlx::query_scalar!(r#"select ops.platform_administrator() as "id!""#)
        .fetch_one(&mut session)
        .await?;
    let actor = Actor { user_id: user.into(), platform_admin: true, address: None };
    let look = async {
        let mut ticks = tokio::time::interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            reconcile_kind(pool, repositories, &actor, Kind::Own).await?;
        }
    };
    let keep_lock = async {
        let mut ticks = tokio::time::interval(pause);
        loop {
            ticks.tick().await;
            // Fails when the session is gone, and the lock with it.
            session.ping().await?;
        }
    };
    let tidy = async {
        let mut ticks = tokio::time::interval(TIDY);
        loop {
            ticks.tick().await;
            repositories.tidy().await;
        }
    };
    tokio::select! {
        end = look => end,
        end = follow(pool, repositories, &actor, pause) => end,
        end = keep_lock => end,
        end = tidy => end,
    }
}

async fn try_lead(session: &mut PgConnection) -> Result<bool> {
    let taken = sqlx::query_scalar!(r#"select pg_try_advisory_lock($1) as "taken!""#, LEADER_LOCK);
    Ok(taken.fetch_one(session).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::branch::{CommitSha, OnPush, Stage};
    use chrono::DateTime;

    fn line(digit: char) -> CommitLine {
        CommitLine {
            sha: CommitSha::parse(&digit.to_string().repeat(40)).unwrap(),
            subject: String::new(),
            author: String::new(),
            authored_at: DateTime::UNIX_EPOCH,
        }
    }

    fn name(text: &str) -> BranchName {
        BranchName::parse(text).unwrap()
    }

    fn known(text: &str, head: Option<CommitLine>) -> branch::query::Branch {
        branch::query::Branch {
            id: crate::id::BranchId::new(),
            project_id: ProjectId::new(),
            name: name(text),
            stage: Stage::Development,
            on_push: OnPush::New,
            head,
        }
    }

    #[test]
    fn only_differences_are_missed() {
        let heads = vec![(name("same"), line('a')), (name("moved"), line('b')), (name("new"), line('c'))];
        let known = [
            known("same", Some(line('a'))),
            known("moved", Some(line('1'))),
            known("gone", Some(line('2'))),
            known("never-pushed", None),
        ];
        let missed = missed_pushes(heads, &known);
        let shown: Vec<_> = missed.iter().map(|m| (m.name.as_str(), m.head.is_some())).collect();
        assert_eq!(shown, [("moved", true), ("new", true), ("gone", false)]);
    }
}
