//! A drop that means a merge: git and the board move together.

use super::{Author, Merge, Merged};
use crate::{
    Detail, Error, Result,
    access::{self, Action, Actor, authorise},
    branch::{
        self, BranchName, CommitLine,
        service::{PushedBranch, branch_pushed_in_txn},
    },
    git::{Repositories, hold_heads_in_txn},
    id::{BranchId, ProjectId, RunId},
};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool};

/// What a merge did to the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeDone {
    pub project: ProjectId,
    pub into: BranchName,
    /// None: the target already had everything.
    pub head: Option<CommitLine>,
    /// The build that follows, unless the target's behaviour on push is nothing.
    pub run: Option<RunId>,
}

/// Merges `from` into `into` as the actor, moves the target's head and queues its build. The heads are held
/// from the merge to the record; when the record is lost after git has moved, the reconciler makes it again.
pub async fn merge_branches(
    pool: &PgPool,
    repositories: &Repositories,
    actor: &Actor,
    from: BranchId,
    into: BranchId,
) -> Result<MergeDone> {
    let mut txn = access::begin_as(pool, actor).await?;
    authorise(&mut txn, actor, Action::Merge { from, into }).await?;
    let (project, from, into) = names(&mut txn, from, into).await?;
    let author = author(&mut txn, actor).await?;
    hold_heads_in_txn(&mut txn, project).await?;
    let repository = repositories.of(project);
    let (head, run) = match repository.merge(&Merge { from: &from, into: &into, author: &author }).await? {
        Merged::Nothing => (None, None),
        Merged::FastForward { new, .. } | Merged::Commit { new, .. } => {
            let pushed = PushedBranch { name: into.clone(), head: Some(new.clone()) };
            (Some(new), branch_pushed_in_txn(&mut txn, actor, project, &pushed).await?)
        }
    };
    txn.commit().await?;
    Ok(MergeDone { project, into, head, run })
}

/// What [`merge_branches`] would do, for the confirmation.
pub async fn preview_merge(
    pool: &PgPool,
    repositories: &Repositories,
    actor: &Actor,
    from: BranchId,
    into: BranchId,
) -> Result<branch::MergePreview> {
    let mut txn = access::begin_as(pool, actor).await?;
    authorise(&mut txn, actor, Action::Merge { from, into }).await?;
    let (project, from, into) = names(&mut txn, from, into).await?;
    let author = Author::platform();
    txn.commit().await?;
    let merge = Merge { from: &from, into: &into, author: &author };
    Ok(repositories.of(project).merge_preview(&merge).await?)
}

async fn names(
    conn: &mut PgConnection,
    from: BranchId,
    into: BranchId,
) -> Result<(ProjectId, BranchName, BranchName)> {
    let project = branch::query::project_of(conn, into).await?.ok_or(Error::not_found("branch"))?;
    let branches = branch::query::list(conn, project, false).await?;
    let name = |id| branches.iter().find(|b| b.id == id).map(|b| b.name.clone());
    let from = name(from).ok_or(Error::not_found("branch"))?;
    let into = name(into).ok_or(Error::not_found("branch"))?;
    // Such branches follow the remote: the next fetch would undo the merge.
    let remote = sqlx::query_scalar!("select remote_url from ops.projects where id = $1", project.0);
    match remote.fetch_one(conn).await? {
        Some(_) => Err(Error::conflict(Detail::new("branch.merge_at_remote").with("branch", &into))),
        None => Ok((project, from, into)),
    }
}

async fn author(conn: &mut PgConnection, actor: &Actor) -> Result<Author> {
    let user = sqlx::query!("select name, email from ops.users where id = $1", actor.user_id.0);
    let user = user.fetch_optional(conn).await?;
    Ok(user.map_or_else(Author::platform, |user| Author { name: user.name, email: user.email }))
}
