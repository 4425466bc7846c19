//! What git's hooks ask, over `ops.sock` only. The socket's mode is the authentication: whoever can open it is this
//! installation. The user named in the body is the one that the token of the push belonged to.

use crate::hook::{Answer, Push, RefUpdate};
use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use odooops::{
    Error,
    access::{self, Action, Actor, Pushes},
    branch::{self, BranchName, Stage, service::PushedBranch},
    git::{Repositories, hold_heads_in_txn},
    project::Slug,
    urls::Urls,
};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

#[derive(Clone)]
pub struct HookState {
    pub pool: PgPool,
    pub repositories: Repositories,
    pub urls: Urls,
}

type Reply = (StatusCode, Json<Answer>);

pub fn router(state: HookState) -> Router {
    Router::new()
        .route("/internal/hooks/pre-receive", post(pre_receive))
        .route("/internal/hooks/post-receive", post(post_receive))
        .with_state(state)
}

async fn pre_receive(State(state): State<HookState>, Json(push): Json<Push>) -> Reply {
    match judge(&state, &push).await {
        Ok(refused) if refused.is_empty() => reply(StatusCode::OK, true, Vec::new()),
        Ok(mut refused) => {
            refused.push("Nothing was stored.".to_owned());
            reply(StatusCode::OK, false, refused)
        }
        Err(error) => failed(&error),
    }
}

async fn post_receive(State(state): State<HookState>, Json(push): Json<Push>) -> Reply {
    match record(&state, &push).await {
        Ok(lines) => reply(StatusCode::OK, true, lines),
        Err(error) => failed(&error),
    }
}

fn reply(status: StatusCode, accepted: bool, lines: Vec<String>) -> Reply {
    (status, Json(Answer { accepted, lines }))
}

fn failed(error: &Error) -> Reply {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply(status, false, vec![words(error)])
}

/// The transaction acts as the person who pushes.
async fn begin(state: &HookState, push: &Push) -> Result<(Transaction<'static, Postgres>, Actor), Error> {
    let mut txn = access::begin_as(&state.pool, (push.user_id, push.address)).await?;
    let me = odooops::user::query::me(&mut txn, push.user_id).await?;
    Ok((txn, Actor { user_id: me.id, platform_admin: me.platform_admin, address: push.address }))
}

/// One line for each ref that may not be pushed.
async fn judge(state: &HookState, push: &Push) -> Result<Vec<String>, Error> {
    let (mut txn, actor) = begin(state, push).await?;
    access::authorise(&mut txn, &actor, Action::Push(push.project_id)).await?;
    let remote = sqlx::query_scalar!("select remote_url from ops.projects where id = $1", push.project_id.0);
    if let Some(url) = remote.fetch_one(&mut *txn).await? {
        return Ok(vec![format!("This project follows {url}: push there.")]);
    }
    let known = branch::query::list(&mut txn, push.project_id, false).await?;
    let mut refused = Vec::new();
    for update in &push.refs {
        let verdict = match parse(&update.name) {
            Ok(Ref::Tag) => Ok(()),
            Ok(Ref::Branch(name)) => {
                let stage = known.iter().find(|b| b.name == name).map(|b| b.stage);
                match history_rule(update, stage) {
                    Ok(()) => {
                        let what = if update.new.is_some() { Pushes::Commits } else { Pushes::Deletion };
                        may_push(&mut txn, &actor, push, &name, what).await?
                    }
                    refused => refused,
                }
            }
            Err(why) => Err(why),
        };
        if let Err(why) = verdict {
            refused.push(format!("{} is refused: {why}", shown(&update.name)));
        }
    }
    Ok(refused)
}

async fn may_push(
    conn: &mut PgConnection,
    actor: &Actor,
    push: &Push,
    name: &BranchName,
    what: Pushes,
) -> Result<Result<(), String>, Error> {
    match access::authorise_push(conn, actor, push.project_id, name.as_str(), what).await {
        Ok(()) => Ok(Ok(())),
        Err(Error::Forbidden { .. }) => Ok(Err(match what {
            Pushes::Commits => "your role may not push to a branch of this stage.".to_owned(),
            Pushes::Deletion => "your role may not delete a branch of this stage.".to_owned(),
        })),
        Err(error) => Err(error),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Ref {
    Branch(BranchName),
    /// Kept, and otherwise ignored.
    Tag,
}

fn parse(name: &str) -> Result<Ref, String> {
    let (kind, short) = if let Some(short) = name.strip_prefix("refs/heads/") {
        ("branch", short)
    } else if let Some(short) = name.strip_prefix("refs/tags/") {
        ("tag", short)
    } else {
        return Err("only branches and tags can be pushed.".to_owned());
    };
    match BranchName::parse(short) {
        Ok(name) => Ok(if kind == "branch" { Ref::Branch(name) } else { Ref::Tag }),
        Err(error) => Err(match error.detail().map(|detail| detail.code.as_ref()) {
            Some("branch.length") => format!("the name of a {kind} has 1 to {} bytes.", BranchName::MAX),
            Some("branch.characters") => {
                format!("the name of a {kind} has letters, digits and - _ . / + # @ = , only.")
            }
            _ => format!("git does not take this as the name of a {kind}."),
        }),
    }
}

/// Production's history is what runs at the customer's: it only grows.
fn history_rule(update: &RefUpdate, stage: Option<Stage>) -> Result<(), String> {
    if !update.commit {
        return Err("a branch must be a commit.".to_owned());
    }
    if stage != Some(Stage::Production) {
        return Ok(());
    }
    if update.new.is_none() {
        return Err("the production branch cannot be deleted. Move it to another stage first.".to_owned());
    }
    if update.forced {
        return Err(
            "the production branch cannot be rewritten. Push a commit that reverts instead.".to_owned()
        );
    }
    Ok(())
}

/// Records all branches of the push in one transaction. What counts is where git has them now: a later push may
/// have been faster.
async fn record(state: &HookState, push: &Push) -> Result<Vec<String>, Error> {
    let (mut txn, actor) = begin(state, push).await?;
    let slug = sqlx::query_scalar!("select slug from ops.projects where id = $1", push.project_id.0);
    let slug = Slug::parse(&slug.fetch_one(&mut *txn).await?)?;
    hold_heads_in_txn(&mut txn, push.project_id).await?;
    let repository = state.repositories.of(push.project_id);
    let mut lines = Vec::new();
    for update in &push.refs {
        let Ok(Ref::Branch(name)) = parse(&update.name) else { continue };
        let head = match repository.head(&name).await? {
            Some(sha) => Some(repository.commit(&sha).await?),
            None => None,
        };
        let short = head.as_ref().map(|head| head.sha.short().to_owned());
        let pushed = PushedBranch { name, head };
        let run = branch::service::branch_pushed_in_txn(&mut txn, &actor, push.project_id, &pushed).await?;
        lines.push(match (run, short) {
            (Some(run), Some(short)) => {
                format!("{} {short} is being built: {}", pushed.name, state.urls.run(&slug, run))
            }
            (_, None) => format!("{} is deleted.", pushed.name),
            (None, Some(short)) => format!("{} is at {short}; nothing is built for this push.", pushed.name),
        });
    }
    txn.commit().await?;
    repository.mend_default_branch().await?;
    Ok(lines)
}

/// What a person at a terminal reads. Git's protocol has no language, so this is English.
pub fn words(error: &Error) -> String {
    match error {
        Error::Unauthenticated => "Sign in with any user name and a token as password.".to_owned(),
        Error::Forbidden { .. } => "Your role in this project does not allow that.".to_owned(),
        Error::NotFound { .. } => "There is no such project, or you may not see it.".to_owned(),
        Error::Conflict { detail } | Error::Invalid { detail, .. } => format!("Refused: {}.", detail.code),
        Error::Unavailable { detail } if detail.code == "database" => {
            "OdooOps' database does not answer.".to_owned()
        }
        Error::Unavailable { .. } => "OdooOps is not ready for this now.".to_owned(),
        Error::Internal { incident } => format!("Something failed inside OdooOps (incident {incident})."),
    }
}

/// At most 100 characters of a hostile name.
fn shown(name: &str) -> String {
    let mut text: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
    if text.len() < name.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use odooops::branch::CommitSha;

    #[test]
    fn only_sound_branches_and_tags_are_pushed() {
        assert_eq!(parse("refs/heads/feature/x"), Ok(Ref::Branch(BranchName::parse("feature/x").unwrap())));
        assert_eq!(parse("refs/tags/v1"), Ok(Ref::Tag));
        for bad in [
            "refs/heads/x; touch pwned $(id)",
            "refs/heads/../../etc",
            "refs/tags/$(id)",
            "refs/notes/x",
            "refs/replace/0123",
            "refs/ops/x",
            "HEAD",
            "main",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let long = parse(&format!("refs/heads/{}", "a".repeat(300))).unwrap_err();
        assert_eq!(long, "the name of a branch has 1 to 200 bytes.");
    }

    #[test]
    fn production_only_grows() {
        let sha = CommitSha::parse(&"a".repeat(40)).unwrap();
        let update = |new: bool, forced| RefUpdate {
            old: Some(sha.clone()),
            new: new.then(|| sha.clone()),
            name: "refs/heads/main".to_owned(),
            forced,
            commit: true,
        };
        let production = Some(Stage::Production);
        assert!(history_rule(&update(true, false), production).is_ok());
        assert!(history_rule(&update(true, true), production).is_err());
        assert!(history_rule(&update(false, false), production).is_err());
        for other in [None, Some(Stage::Staging), Some(Stage::Development)] {
            assert!(history_rule(&update(true, true), other).is_ok());
            assert!(history_rule(&update(false, false), other).is_ok());
        }
        assert!(history_rule(&RefUpdate { commit: false, ..update(true, false) }, None).is_err());
    }
}
