//! The parts of a build's page: head, steps, facts.

use super::{api::CancelRun, step_name};
use crate::{
    say,
    ui::{Glyph, Icon, Lasting, StageMark, TimeAgo, VerdictMark, duration, verdict_name},
};
use leptos::prelude::*;
use odooops::{
    environment::EnvironmentState,
    run::{RunView, StepLine, StepState, Verdict},
};

/// Verdict, name, how long, and what one can do.
#[component]
pub fn BuildHead(run: RwSignal<RunView>) -> impl IntoView {
    let commit = move || run.with(|run| run.commit_sha.chars().take(8).collect::<String>());
    let verdict = Signal::derive(move || run.with(|run| run.status.verdict()));
    view! {
        <header class="page-head build-head" data-testid="build" data-verdict=move || format!("{:?}", verdict.get()).to_lowercase()>
            <div class="build-title">
                <h1>
                    <VerdictMark verdict/>
                    {move || say!(run.title, commit = commit()).to_string()}
                    {move || run.with(|run| run.branch.clone()).map(|branch| {
                        view! { <span class="muted">{say!(run.of_branch, branch = branch.to_string()).to_string()}</span> }
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

#[component]
fn BuildActions(run: RwSignal<RunView>) -> impl IntoView {
    let cancel = ServerAction::<CancelRun>::new();
    let url = Memo::new(move |_| {
        run.with(|run| {
            let environment = run.environment.as_ref()?;
            (environment.state == EnvironmentState::Running).then(|| environment.url.clone())
        })
    });
    let active =
        Memo::new(move |_| run.with(|run| !run.status.is_terminal() && run.cancel_requested_at.is_none()));
    let page = StoredValue::new(
        run.with_untracked(|run| format!("/projects/{}/builds/{}", run.project_slug, run.id)),
    );
    let id = run.with_untracked(|run| run.id);
    view! {
        <div class="actions">
            {move || url.get().map(|url| view! {
                <a class="button primary" href=url target="_blank" rel="external noopener">
                    <Glyph icon=Icon::ExternalLink/>{say!(run.connect)}
                </a>
            })}
            <Show when=move || active.get()>
                <ActionForm action=cancel>
                    <input type="hidden" name="id" value=id.to_string()/>
                    <input type="hidden" name="page" value=page.get_value()/>
                    <button class="button" type="submit">{say!(run.cancel)}</button>
                </ActionForm>
            </Show>
        </div>
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
            {move || rows().is_empty().then(|| view! { <p class="muted">{say!(run.waiting)}</p> })}
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
