use super::{Attempt, Event, Outcome, RunKind, RunStatus, RunSummary, RunView, Step, StepLine, StepState};
use crate::{
    Error, Result,
    branch::{BranchName, Stage},
    environment,
    id::{BranchId, ProjectId, RunId},
    project::Slug,
    urls::Urls,
};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

pub async fn view(conn: &mut PgConnection, id: RunId, urls: &Urls) -> Result<RunView> {
    let row = sqlx::query!(
        r#"select r.id, r.project_id, p.slug, p.name as project_name, b.name as "branch?",
               coalesce(e.stage, r.params ->> 'stage', b.stage) as "stage?: Stage", r.environment_id, r.kind as "kind: RunKind",
               r.status as "status: RunStatus", r.git_ref, r.commit_sha, r.params,
               r.attempt - r.handed_back as "attempt!", r.worker_id, r.queued_at,
               r.started_at, r.finished_at, r.exit_code, r.error_message, r.cancel_requested_at, r.superseded_by,
               coalesce(h.last_seq, 0) as "last_log_seq!"
           from ops.runs r
           join ops.projects p on p.id = r.project_id
           left join ops.branches b on b.id = r.branch_id
           left join ops.environments e on e.id = r.environment_id
           left join ops.run_log_heads h on h.run_id = r.id
           where r.id = $1"#,
        id.0
    )
    .fetch_optional(&mut *conn)
    .await?
    .ok_or(Error::not_found("run"))?;
    let environment = match row.environment_id {
        Some(id) => environment::query::summary(conn, id.into(), urls).await?,
        None => None,
    };
    let param = |name: &str| row.params.get(name).and_then(Value::as_str).map(str::to_owned);
    Ok(RunView {
        id: row.id.into(),
        project_id: row.project_id.into(),
        project_slug: Slug::parse(&row.slug)?,
        project_name: row.project_name,
        branch: row.branch.as_deref().map(BranchName::parse).transpose()?,
        stage: row.stage,
        environment_id: row.environment_id.map(Into::into),
        environment,
        kind: row.kind,
        status: row.status,
        commit_subject: param("commit_subject"),
        commit_author: param("commit_author"),
        git_ref: row.git_ref,
        commit_sha: row.commit_sha,
        attempt: row.attempt,
        worker_id: row.worker_id,
        queued_at: row.queued_at,
        started_at: row.started_at,
        finished_at: row.finished_at,
        exit_code: row.exit_code,
        error_message: row.error_message,
        cancel_requested_at: row.cancel_requested_at,
        superseded_by: row.superseded_by.map(Into::into),
        steps: if row.status.is_terminal() {
            steps(conn, id).await?.into_iter().map(|step| cut_off(step, row.finished_at)).collect()
        } else {
            steps(conn, id).await?
        },
        last_log_seq: row.last_log_seq,
    })
}

/// A step that was under way when its run was ended never said how it ended.
fn cut_off(step: StepLine, at: Option<DateTime<Utc>>) -> StepLine {
    match step.state {
        StepState::Running => StepLine {
            state: StepState::Failed,
            duration_ms: at.map(|at| (at - step.started_at).num_milliseconds()),
            ..step
        },
        StepState::Succeeded | StepState::Failed => step,
    }
}

/// The steps of the last attempt, from the events.
async fn steps(conn: &mut PgConnection, run: RunId) -> Result<Vec<StepLine>> {
    let rows = sqlx::query!(
        r#"select type as "kind!", payload as "payload!: Value", created_at as "created_at!"
           from ops.run_events
           where run_id = $1 and type in ('claimed', 'step_started', 'step_finished') order by id"#,
        run.0
    )
    .fetch_all(conn)
    .await?;
    let mut steps: Vec<StepLine> = Vec::new();
    for row in rows {
        if row.kind == "claimed" {
            steps.clear();
            continue;
        }
        let Some(step) = row.payload.get("step").and_then(Value::as_str).and_then(|s| s.parse::<Step>().ok())
        else {
            continue;
        };
        if row.kind == "step_started" {
            steps.push(StepLine {
                step,
                state: StepState::Running,
                started_at: row.created_at,
                duration_ms: None,
                note: None,
            });
        } else if let Some(line) = steps.iter_mut().rev().find(|line| line.step == step) {
            let ok = row.payload.get("ok").and_then(Value::as_bool).unwrap_or(false);
            line.state = if ok { StepState::Succeeded } else { StepState::Failed };
            line.duration_ms = row.payload.get("duration_ms").and_then(Value::as_i64);
            line.note = row.payload.get("note").and_then(Value::as_str).map(str::to_owned);
        }
    }
    Ok(steps)
}

/// Newest first.
pub async fn list(
    conn: &mut PgConnection,
    project: ProjectId,
    branch: Option<BranchId>,
    limit: i64,
) -> Result<Vec<RunSummary>> {
    let rows = sqlx::query!(
        r#"select r.id, r.kind as "kind: RunKind", r.status as "status: RunStatus", b.name as "branch?", r.git_ref,
               r.commit_sha, r.params ->> 'commit_subject' as commit_subject, r.step as "step: Step", r.queued_at,
               r.started_at, r.finished_at, r.error_message
           from ops.runs r left join ops.branches b on b.id = r.branch_id
           where r.project_id = $1 and ($2::uuid is null or r.branch_id = $2)
           order by r.queued_at desc, r.id desc limit $3"#,
        project.0,
        branch.map(|b| b.0),
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(RunSummary {
                id: row.id.into(),
                kind: row.kind,
                status: row.status,
                branch: row.branch.as_deref().map(BranchName::parse).transpose()?,
                git_ref: row.git_ref,
                commit_sha: row.commit_sha,
                commit_subject: row.commit_subject,
                step: row.step,
                queued_at: row.queued_at,
                started_at: row.started_at,
                finished_at: row.finished_at,
                error_message: row.error_message,
            })
        })
        .collect()
}

/// Every try, the first first.
pub async fn attempts(conn: &mut PgConnection, run: RunId) -> Result<Vec<Attempt>> {
    let attempts = sqlx::query_as!(
        Attempt,
        r#"select attempt as "attempt!", worker_id as "worker_id!", claimed_at as "claimed_at!", started_at, ended_at,
               outcome as "outcome: Outcome", reason
           from ops.run_attempts where run_id = $1 order by claim"#,
        run.0
    )
    .fetch_all(conn)
    .await?;
    Ok(attempts)
}

pub async fn events(conn: &mut PgConnection, run: RunId) -> Result<Vec<Event>> {
    let rows = sqlx::query!(
        r#"select id as "id!", type as "kind!", payload as "payload!: Value", created_at as "created_at!"
           from ops.run_events where run_id = $1 order by id"#,
        run.0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Event { id: row.id, r#type: row.kind, payload: row.payload, created_at: row.created_at })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_step_runs_on_after_its_run() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0);
        let line = |state| StepLine {
            step: Step::Install,
            state,
            started_at: at(10).unwrap_or_default(),
            duration_ms: None,
            note: None,
        };
        let ended = cut_off(line(StepState::Running), at(12));
        assert_eq!((ended.state, ended.duration_ms), (StepState::Failed, Some(2000)));
        assert_eq!(cut_off(line(StepState::Succeeded), at(12)), line(StepState::Succeeded));
    }
}
