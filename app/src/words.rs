//! What a stable error code says in the language of the page.

use crate::say;
use odooops::{Detail, Error};

/// One or two sentences: what happened, why, what to do.
pub fn sentence(error: &Error) -> String {
    match error {
        Error::Unauthenticated => say!(errors.unauthenticated).to_string(),
        Error::Internal { .. } => say!(errors.internal).to_string(),
        Error::Forbidden { detail }
        | Error::NotFound { detail }
        | Error::Conflict { detail }
        | Error::Invalid { detail, .. }
        | Error::Unavailable { detail } => of_code(detail),
    }
}

/// The words of one refusal, as the board's rules give it while a card is being dragged.
pub fn of_code(detail: &Detail) -> String {
    let param = |name: &str| detail.params.get(name).cloned().unwrap_or_default();
    let text: &str = match &*detail.code {
        "access.role" | "access.forbidden" => say!(errors.access_role),
        "access.platform_admin" => say!(errors.access_platform_admin),
        "branch" | "branch.unknown" => say!(errors.branch),
        "branch.length" => say!(errors.branch_length),
        "branch.characters" => return say!(errors.branch_characters, value = param("value")).to_string(),
        "branch.format" => return say!(errors.branch_format, value = param("value")).to_string(),
        "branch.choose_merge" => say!(errors.branch_choose_merge),
        "branch.merge_at_remote" => say!(errors.branch_merge_at_remote),
        "branch.merge_conflict" if detail.params.contains_key("files") => {
            return say!(errors.branch_merge_conflict_in, files = param("files").replace('\n', ", "))
                .to_string();
        }
        "branch.merge_conflict" => say!(errors.branch_merge_conflict),
        "branch.merge_unrelated" => say!(errors.branch_merge_unrelated),
        "branch.moved_meanwhile" => say!(errors.branch_moved_meanwhile),
        "branch.no_commit" => say!(errors.branch_no_commit),
        "branch.no_staging_to_merge" => {
            return say!(errors.branch_no_staging_to_merge, branch = param("branch")).to_string();
        }
        "branch.second_production" => {
            let (branch, production) = (param("branch"), param("production"));
            return say!(errors.branch_second_production, branch = branch, production = production)
                .to_string();
        }
        "commit.format" => return say!(errors.commit_format, value = param("value")).to_string(),
        "commit.unknown" => say!(errors.commit_unknown),
        "console.answer" => say!(errors.console_answer),
        "console.unreachable" => say!(errors.console_unreachable),
        "database" => say!(errors.database),
        "enum.unknown" => return say!(errors.enum_unknown, value = param("value")).to_string(),
        "environment" => say!(errors.environment),
        "environment.file" => say!(errors.environment_file),
        "environment.no_file" => say!(errors.environment_no_file),
        "environment.not_running" => say!(errors.environment_not_running),
        "environment.path" => say!(errors.environment_path),
        "environment.shells" => say!(errors.environment_shells),
        "shell.arguments" => say!(errors.shell_arguments),
        "request.upgrade" => say!(errors.request_upgrade),
        "environment.building" => say!(errors.environment_building),
        "environment.production_by_branch" => say!(errors.environment_production_by_branch),
        "git.host_refused" => say!(errors.git_host_refused),
        "git.host_unknown" => say!(errors.git_host_unknown),
        "git.repository_gone" => say!(errors.git_repository_gone),
        "git.sources_refused" => say!(errors.git_sources_refused),
        "git.timeout" => say!(errors.git_timeout),
        "git.unreadable" => return say!(errors.git_unreadable, reason = param("reason")).to_string(),
        "git.url_refused" => say!(errors.git_url_refused),
        "not_found" | "entry" => say!(errors.not_found),
        "project" => say!(errors.project),
        "project.name_length" => say!(errors.project_name_length),
        "project.slug_taken" => say!(errors.project_slug_taken),
        "host" => say!(errors.host),
        "host.address" => say!(errors.host_address),
        "host.key" => say!(errors.host_key),
        "host.label" => say!(errors.host_label),
        "host.labels" => say!(errors.host_labels),
        "host.limits" => say!(errors.host_limits),
        "host.name" => say!(errors.host_name),
        "host.name_taken" => say!(errors.host_name_taken),
        "host.no_listener" => say!(errors.host_no_listener),
        "host.own" => say!(errors.host_own),
        "host.repeat" => return say!(errors.host_repeat, name = param("name")).to_string(),
        "host.revoked" => say!(errors.host_revoked),
        "host.token_expired" => say!(errors.host_token_expired),
        "host.token_unknown" => say!(errors.host_token_unknown),
        "host.token_used" => say!(errors.host_token_used),
        "image" => return say!(errors.image, name = param("name")).to_string(),
        "worker" => say!(errors.worker),
        "quarantine" => say!(errors.quarantine),
        "reconcile.name" => return say!(errors.reconcile_name, name = param("name")).to_string(),
        "reconcile.not_to_confirm" => say!(errors.reconcile_not_to_confirm),
        "request.body" => say!(errors.request_body),
        "request.foreign_origin" => say!(errors.request_foreign_origin),
        "request.path" => say!(errors.request_path),
        "request.query" => say!(errors.request_query),
        "request.too_many_sockets" => say!(errors.request_too_many_sockets),
        "restart" => say!(errors.restart),
        "run" => say!(errors.run),
        "run.already_finished" => say!(errors.run_already_finished),
        "schedule" => say!(errors.schedule),
        "schedule.built_in" => say!(errors.schedule_built_in),
        "schedule.cron" => {
            let (value, reason) = (param("value"), param("reason"));
            return say!(errors.schedule_cron, value = value, reason = reason).to_string();
        }
        "schedule.name_length" => say!(errors.schedule_name_length),
        "schedule.name_taken" => return say!(errors.schedule_name_taken, name = param("name")).to_string(),
        "schedule.needs_project" => say!(errors.schedule_needs_project),
        "schedule.never" => return say!(errors.schedule_never, value = param("value")).to_string(),
        "schedule.platform_only" => say!(errors.schedule_platform_only),
        "schedule.production" => say!(errors.schedule_production),
        "schedule.time_zone" => return say!(errors.schedule_time_zone, value = param("value")).to_string(),
        "run.not_ended" => say!(errors.run_not_ended),
        "run.not_queued" => say!(errors.run_not_queued),
        "queue.limit" => say!(errors.queue_limit),
        "run.priority" => say!(errors.run_priority),
        "sign_in.link_spent" => say!(errors.sign_in_link_spent),
        "slug.characters" => say!(errors.slug_characters),
        "slug.length" => say!(errors.slug_length),
        "slug.uuid" => say!(errors.slug_uuid),
        "stage.unknown" => return say!(errors.stage_unknown, value = param("value")).to_string(),
        "token" => say!(errors.token),
        "worker.heard" => say!(errors.worker_heard),
        "worker.holds_environments" => say!(errors.worker_holds_environments),
        "worker.holds_quarantine" => say!(errors.worker_holds_quarantine),
        "worker.holds_runs" => say!(errors.worker_holds_runs),
        "worker.unknown" => say!(errors.worker_unknown),
        "token.name_length" => say!(errors.token_name_length),
        code => return say!(errors.unknown, code = code.to_owned()).to_string(),
    };
    text.to_owned()
}
