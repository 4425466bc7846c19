use super::{Board, BranchName, CommitLine, Move, Moved, OnPush, Piece, Stage, Target, decide_drop, query};
use crate::{
    Error, Result,
    access::{self, Action, Actor, Pushes, authorise, authorise_push},
    audit,
    error::Detail,
    git::{Repositories, merge_branches},
    id::{BranchId, ProjectId, RunId},
    project::{self, Slug},
    run::{
        self,
        service::{NewBuild, queue_build_in_txn},
    },
    urls::Urls,
};
use serde_json::json;
use sqlx::{PgConnection, PgPool};

pub async fn board(conn: &mut PgConnection, actor: &Actor, slug: &Slug, urls: &Urls) -> Result<Board> {
    let project = project::service::find_by_slug(conn, actor, slug).await?;
    Ok(Board {
        project_id: project.id,
        clone_url: urls.repository(&project.slug),
        slug: project.slug,
        name: project.name,
        remote_url: project.remote_url,
        fetch_error: project.fetch_error,
        branches: query::cards(conn, project.id, urls).await?,
    })
}

/// A branch's head as git knows it now.
#[derive(Debug, Clone)]
pub struct PushedBranch {
    pub name: BranchName,
    /// None: the branch was deleted.
    pub head: Option<CommitLine>,
}

/// Records that a branch's head moved and queues the build that follows. Says nothing when it is known already,
/// so that hook and reconciler may both tell.
pub async fn branch_pushed_in_txn(
    conn: &mut PgConnection,
    actor: &Actor,
    project: ProjectId,
    pushed: &PushedBranch,
) -> Result<Option<RunId>> {
    let what = if pushed.head.is_some() { Pushes::Commits } else { Pushes::Deletion };
    authorise_push(conn, actor, project, pushed.name.as_str(), what).await?;
    let Some(head) = &pushed.head else {
        if let Some(id) = query::mark_deleted(conn, project, &pushed.name).await? {
            record(conn, "branch.delete", project, id, json!({ "branch": pushed.name })).await?;
        }
        return Ok(None);
    };
    let known = query::list(conn, project, true).await?;
    if known.iter().any(|b| b.name == pushed.name && b.head.as_ref().is_some_and(|h| h.sha == head.sha)) {
        return Ok(None);
    }
    let (id, stage, on_push) = query::upsert_head(conn, project, &pushed.name, head).await?;
    record(conn, "branch.push", project, id, json!({ "branch": pushed.name, "commit": head.sha })).await?;
    if on_push == OnPush::Nothing {
        return Ok(None);
    }
    queue_build_in_txn(
        conn,
        actor,
        NewBuild { project, branch: Some(id), stage, git_ref: &pushed.name.full(), commit: head },
    )
    .await
    .map(Some)
}

/// Carries a drop out: a change of stage, or the merge that it means.
pub async fn move_branch(
    pool: &PgPool,
    repositories: &Repositories,
    actor: &Actor,
    id: BranchId,
    target: &Target,
    choice: Option<&BranchName>,
) -> Result<Moved> {
    let mut txn = access::begin_as(pool, actor).await?;
    let decided = decide_in_txn(&mut txn, actor, id, target, choice).await?;
    txn.commit().await?;
    match decided {
        Decided::Done(moved) => Ok(moved),
        Decided::Merge { from, into } => {
            let done = merge_branches(pool, repositories, actor, from, into).await?;
            Ok(Moved::Merged { into: done.into, changed: done.head.is_some(), run: done.run })
        }
    }
}

enum Decided {
    Done(Moved),
    Merge { from: BranchId, into: BranchId },
}

/// As far as the database can: the rules decide again here, whatever the browser thought.
async fn decide_in_txn(
    conn: &mut PgConnection,
    actor: &Actor,
    id: BranchId,
    target: &Target,
    choice: Option<&BranchName>,
) -> Result<Decided> {
    authorise(conn, actor, Action::ViewBranch(id)).await?;
    let project = query::project_of(conn, id).await?.ok_or(Error::not_found("branch"))?;
    let branches = query::list(conn, project, true).await?;
    let pieces: Vec<Piece<'_>> = branches.iter().map(|b| Piece { name: &b.name, stage: b.stage }).collect();
    let branch = branches.iter().find(|b| b.id == id).ok_or(Error::not_found("branch"))?;
    let piece = Piece { name: &branch.name, stage: branch.stage };
    let find = |name: &BranchName| {
        branches.iter().find(|b| &b.name == name).map(|b| b.id).ok_or(Error::not_found("branch"))
    };
    match decide_drop(&pieces, &piece, target).map_err(Error::conflict)? {
        Move::Nothing => Ok(Decided::Done(Moved::Nothing)),
        Move::Merge { into } => {
            let into = find(&into)?;
            authorise(conn, actor, Action::Merge { from: id, into }).await?;
            Ok(Decided::Merge { from: id, into })
        }
        Move::ChooseMerge { into } => {
            let chosen = choice
                .filter(|name| into.contains(name))
                .ok_or_else(|| Error::invalid("into", Detail::new("branch.choose_merge")))?;
            let into = find(chosen)?;
            authorise(conn, actor, Action::Merge { from: id, into }).await?;
            Ok(Decided::Merge { from: id, into })
        }
        Move::Restage { to, on_push } => {
            authorise(conn, actor, Action::MoveBranch { branch: id, to }).await?;
            if !query::set_stage(conn, id, to, on_push).await? {
                return Err(Error::not_found("branch"));
            }
            let detail = json!({ "branch": branch.name, "from": branch.stage, "to": to });
            record(conn, "branch.move", project, id, detail).await?;
            let run = match (&branch.head, on_push) {
                (Some(head), OnPush::New | OnPush::Update) => {
                    let new = NewBuild {
                        project,
                        branch: Some(id),
                        stage: to,
                        git_ref: &branch.name.full(),
                        commit: head,
                    };
                    Some(queue_build_in_txn(conn, actor, new).await?)
                }
                _ => None,
            };
            Ok(Decided::Done(Moved::Restaged { to, run }))
        }
    }
}

pub async fn rebuild_in_txn(conn: &mut PgConnection, actor: &Actor, id: BranchId) -> Result<RunId> {
    rebuild_for_in_txn(conn, actor, id, None).await
}

/// None: for the stage that the branch is in.
async fn rebuild_for_in_txn(
    conn: &mut PgConnection,
    actor: &Actor,
    id: BranchId,
    stage: Option<Stage>,
) -> Result<RunId> {
    authorise(conn, actor, Action::Rebuild(id)).await?;
    let project = query::project_of(conn, id).await?.ok_or(Error::not_found("branch"))?;
    let branches = query::list(conn, project, true).await?;
    let branch = branches.iter().find(|b| b.id == id).ok_or(Error::not_found("branch"))?;
    let head = branch.head.as_ref().ok_or_else(|| Error::conflict(Detail::new("branch.no_commit")))?;
    record(conn, "branch.rebuild", project, id, json!({ "branch": branch.name, "commit": head.sha })).await?;
    let new = NewBuild {
        project,
        branch: Some(id),
        stage: stage.filter(|stage| *stage == Stage::Development).unwrap_or(branch.stage),
        git_ref: &branch.name.full(),
        commit: head,
    };
    run::service::queue_build_in_txn(conn, actor, new).await
}

/// Builds the branch of a run again, for the stage that the run was for: its latest commit, whichever the run was of.
/// Gives the new run, and the project that it is found under.
pub async fn rebuild_of_run_in_txn(
    conn: &mut PgConnection,
    actor: &Actor,
    run: RunId,
) -> Result<(Slug, RunId)> {
    authorise(conn, actor, Action::ViewRun(run)).await?;
    let row = sqlx::query!(
        r#"select branch_id as "branch_id: BranchId", params ->> 'stage' as "stage: Stage" from ops.runs where id = $1"#,
        run.0
    )
    .fetch_one(&mut *conn)
    .await?;
    let branch = row.branch_id.ok_or(Error::not_found("branch"))?;
    let project = query::project_of(conn, branch).await?.ok_or(Error::not_found("branch"))?;
    let slug = project::query::slug_by_id(conn, project).await?.ok_or(Error::not_found("project"))?;
    Ok((slug, rebuild_for_in_txn(conn, actor, branch, row.stage).await?))
}

/// Says whether pushes to a branch are built, in the way of its stage.
pub async fn set_build_on_push_in_txn(
    conn: &mut PgConnection,
    actor: &Actor,
    id: BranchId,
    build: bool,
) -> Result<()> {
    authorise(conn, actor, Action::ConfigureBranch(id)).await?;
    let project = query::project_of(conn, id).await?.ok_or(Error::not_found("branch"))?;
    let branches = query::list(conn, project, true).await?;
    let branch = branches.iter().find(|b| b.id == id).ok_or(Error::not_found("branch"))?;
    let on_push = if build { branch.stage.default_on_push() } else { OnPush::Nothing };
    if on_push == branch.on_push {
        return Ok(());
    }
    if !query::set_stage(conn, id, branch.stage, on_push).await? {
        return Err(Error::not_found("branch"));
    }
    let detail = json!({ "branch": branch.name, "from": branch.on_push, "to": on_push });
    record(conn, "branch.on_push", project, id, detail).await
}

/// Puts a branch in a stage without a build of its own: how the demo project begins.
pub async fn set_first_stage_in_txn(
    conn: &mut PgConnection,
    actor: &Actor,
    project: ProjectId,
    name: &BranchName,
    stage: Stage,
) -> Result<()> {
    authorise(conn, actor, Action::CreateProject).await?;
    sqlx::query!(
        "insert into ops.branches (project_id, name, stage, on_push) values ($1, $2, $3, $4)
         on conflict (project_id, name) where deleted_at is null do nothing",
        project.0,
        name.as_str(),
        stage as Stage,
        stage.default_on_push() as OnPush
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn record(
    conn: &mut PgConnection,
    action: &str,
    project: ProjectId,
    branch: BranchId,
    detail: serde_json::Value,
) -> Result<()> {
    audit::record_in_txn(
        conn,
        audit::Entry {
            action,
            object_type: "branch",
            object_id: branch.to_string(),
            project: Some(project),
            detail,
        },
    )
    .await
}
