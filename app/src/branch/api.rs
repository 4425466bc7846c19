#[cfg(feature = "ssr")]
use crate::request::{Visitor, answer, go_on_at};
use crate::{codec::Json, error::Fault};
use leptos::{prelude::*, server_fn::codec::GetUrl};
#[cfg(feature = "ssr")]
use odooops::branch::service;
use odooops::{
    Error,
    branch::{Board, BranchName, MergePreview, Moved, Stage, Target},
    id::{BranchId, RunId},
    project::Slug,
};

/// A target in one word, as forms carry it: `stage:staging`, `branch:main`.
pub fn write_target(target: &Target) -> String {
    match target {
        Target::Stage { stage } => format!("stage:{stage}"),
        Target::Branch { name } => format!("branch:{name}"),
    }
}

pub fn read_target(text: &str) -> Result<Target, Error> {
    match text.split_once(':') {
        Some(("stage", stage)) => Ok(Target::Stage { stage: stage.parse::<Stage>()? }),
        Some(("branch", name)) => Ok(Target::Branch { name: BranchName::parse(name)? }),
        _ => Err(Error::invalid("onto", odooops::Detail::new("request.body"))),
    }
}

#[server(name = LoadBoard, prefix = "/api/console", endpoint = "board", input = GetUrl, output = Json)]
pub async fn board(project: Slug) -> Result<Board, Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            service::board(&mut txn, &visitor.actor, &project, &visitor.state.urls).await
        }
        .await,
    )
}

/// Carries a drop out. `choice` is the branch that receives the merge where the drop leaves that open.
#[server(prefix = "/api/console", endpoint = "branch/move", output = Json)]
pub async fn move_branch(
    project: Slug,
    branch: BranchId,
    onto: String,
    choice: Option<BranchName>,
) -> Result<Moved, Fault> {
    answer(
        async {
            let Visitor { state, actor } = Visitor::require()?;
            let (target, choice) = (read_target(&onto)?, choice.as_ref());
            let moved =
                service::move_branch(&state.pool, &state.repositories, &actor, branch, &target, choice)
                    .await?;
            go_on_at(&format!("/projects/{project}"));
            Ok(moved)
        }
        .await,
    )
}

#[server(prefix = "/api/console", endpoint = "branch/rebuild", output = Json)]
pub async fn rebuild(project: Slug, branch: BranchId) -> Result<RunId, Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            let run = service::rebuild_in_txn(&mut txn, &visitor.actor, branch).await?;
            txn.commit().await?;
            go_on_at(&format!("/projects/{project}"));
            Ok(run)
        }
        .await,
    )
}

/// Says whether pushes to a branch are built.
#[server(prefix = "/api/console", endpoint = "branch/on-push", output = Json)]
pub async fn set_build_on_push(project: Slug, branch: BranchId, build: bool) -> Result<(), Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            service::set_build_on_push_in_txn(&mut txn, &visitor.actor, branch, build).await?;
            txn.commit().await?;
            go_on_at(&format!("/projects/{project}"));
            Ok(())
        }
        .await,
    )
}

/// What a merge would do, before it is done.
#[server(prefix = "/api/console", endpoint = "branch/merge-preview", input = GetUrl, output = Json)]
pub async fn preview_merge(from: BranchId, into: BranchId) -> Result<MergePreview, Fault> {
    answer(
        async {
            let Visitor { state, actor } = Visitor::require()?;
            odooops::git::preview_merge(&state.pool, &state.repositories, &actor, from, into).await
        }
        .await,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_survive_a_form() {
        let branch =
            Target::Branch { name: BranchName::parse("user/a:b".replace(':', "-").as_str()).unwrap() };
        for target in [Target::Stage { stage: Stage::Staging }, branch] {
            assert_eq!(read_target(&write_target(&target)).unwrap(), target);
        }
        for bad in ["", "staging", "stage:live", "branch:../x", "branch:"] {
            assert!(read_target(bad).is_err(), "{bad}");
        }
    }
}
