//! The parts of a build's page: head, steps, facts.

use super::{actions::BuildActions, api::AdminPassword, step_name};
use crate::{
    say,
    ui::{
        CopyButton, Glyph, Icon, Lasting, StageMark, TimeAgo, VerdictMark, branch_anchor, duration,
        verdict_name,
    },
    words,
};
use leptos::prelude::*;
use odooops::{
    environment::EnvironmentState,
    id::EnvironmentId,
    run::{RunView, StepLine, StepState, Verdict},
};

/// Verdict, name, how long, and what one can do.
#[component]
pub fn BuildHead(run: RwSignal<RunView>) -> impl IntoView {
    let commit = move || run.with(|run| run.commit_sha.chars().take(8).collect::<String>());
    let verdict = Signal::derive(move || run.with(|run| run.status.verdict()));
    let slug = run.with_untracked(|run| run.project_slug.clone());
    view! {
        <header class="page-head build-head" data-testid="build" data-verdict=move || format!("{:?}", verdict.get()).to_ascii_lowercase()>
            <div class="build-title">
                <h1>
                    <VerdictMark verdict/>
                    {move || say!(run.title, commit = commit()).to_string()}
                    {move || run.with(|run| run.branch.clone()).map(|branch| {
                        let board = format!("/projects/{slug}#{}", branch_anchor(branch.as_str()).replace('#', "%23"));
                        view! {
                            <a class="link muted" href=board title=say!(run.on_board)>
                                {say!(run.of_branch, branch = branch.to_string()).to_string()}
                            </a>
                        }
                    })}
                </h1>
                <p class="build-line">
                    <strong role="status" data-testid="verdict">{move || verdict_name(verdict.get())}</strong>
                    {move || run.with(|run| run.stage).map(|stage| view! { <StageMark stage/> })}
                    {move || run.with(|run| run.started_at.map(|from| view! { <Lasting from to=run.finished_at/> }))}
                    <span class="muted">{move || run.with(|run| run.commit_subject.clone())}</span>
                </p>
            </div>
            <BuildActions run/>
        </header>
        {move || run.with(|run| run.error_message.clone()).map(|message| view! {
            <section class="notice red" role="alert" data-testid="reason"><Glyph icon=Icon::TriangleAlert/><p>{message}</p></section>
        })}
    }
    .into_any()
}

/// What the build did, step by step, as a waterfall.
#[component]
pub fn Steps(run: RwSignal<RunView>) -> impl IntoView {
    let rows = move || run.with(|run| run.steps.clone());
    view! {
        <section class="panel steps" aria-label=say!(run.steps)>
            <h2>{say!(run.steps)}</h2>
            <ol>
                {move || rows().into_iter().map(|line| view! { <StepRow line/> }).collect_view()}
            </ol>
            {move || rows().is_empty().then(|| {
                let ended = run.with(|run| run.status.is_terminal());
                view! { <p class="muted">{if ended { say!(run.no_steps) } else { say!(run.waiting) }}</p> }
            })}
        </section>
    }
    .into_any()
}

#[component]
fn StepRow(line: StepLine) -> impl IntoView {
    let verdict = match line.state {
        StepState::Running => Verdict::Running,
        StepState::Succeeded => Verdict::Green,
        StepState::Failed => Verdict::Red,
    };
    let took = match line.duration_ms {
        Some(ms) => view! { <span class="tabular">{duration(ms)}</span> }.into_any(),
        None => view! { <Lasting from=line.started_at to=None/> }.into_any(),
    };
    view! {
        <li data-step=line.step.as_str()>
            <VerdictMark verdict small=true/>
            <span class="step-name">{step_name(line.step)}</span>
            {took}
            {line.note.map(|note| view! { <span class="step-note muted">{note}</span> })}
        </li>
    }
    .into_any()
}

/// Shown when asked for; the audit log says that somebody asked.
#[component]
fn Password(environment: EnvironmentId) -> impl IntoView {
    let ask = ServerAction::<AdminPassword>::new();
    let shown = move || ask.value().get();
    view! {
        {say!(run.sign_in_how)}" "
        {move || match shown() {
            Some(Ok(password)) => view! {
                <span class="password"><code data-testid="admin-password">{password.clone()}</code>
                    <CopyButton text=password label=say!(run.copy_password)/></span>
            }
            .into_any(),
            answer => view! {
                <button type="button" class="link-button needs-script" disabled=ask.pending()
                    on:click=move |_| { ask.dispatch(AdminPassword { id: environment }); }>
                    {say!(run.show_password)}
                </button>
                <span class="without-script">{say!(run.password_by_command)}" "<code>{format!("ops env password {environment}")}</code></span>
                {answer.and_then(Result::err).map(|fault| view! { <p class="wrong" role="alert">{words::sentence(&fault.0)}</p> })}
            }
            .into_any(),
        }}
    }
    .into_any()
}

/// The commit and where the build stands.
#[component]
pub fn Facts(run: RwSignal<RunView>) -> impl IntoView {
    view! {
        <section class="panel build-facts" aria-label=say!(run.facts)>
            <h2>{say!(run.facts)}</h2>
            {move || {
                let run = run.get();
                view! {
                    <dl>
                        <dt>{say!(run.commit)}</dt>
                        <dd class="mono">{run.commit_sha.chars().take(12).collect::<String>()}</dd>
                        {run.commit_author.map(|author| view! { <dt>{say!(run.author)}</dt><dd>{author}</dd> })}
                        <dt>{say!(run.queued)}</dt>
                        <dd><TimeAgo at=run.queued_at/></dd>
                        {(run.attempt > 1).then(|| view! { <dt>{say!(run.attempt)}</dt><dd class="tabular">{run.attempt}</dd> })}
                        {run.worker_id.map(|worker| view! { <dt>{say!(run.worker)}</dt><dd class="mono">{worker}</dd> })}
                        {run.environment.map(|environment| view! {
                            <dt>{say!(run.hostname)}</dt><dd class="mono">{environment.hostname}</dd>
                            {(environment.state == EnvironmentState::Running).then(|| view! {
                                <dt>{say!(run.sign_in)}</dt>
                                <dd><Password environment=environment.id/></dd>
                            })}
                        })}
                        {run.superseded_by.map(|by| view! {
                            <dt>{say!(run.superseded)}</dt>
                            <dd><a href=format!("/projects/{}/builds/{by}", run.project_slug)>{say!(run.newer)}</a></dd>
                        })}
                    </dl>
                }
            }}
        </section>
    }
    .into_any()
}
