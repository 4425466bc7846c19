//! The queue of all projects: what is under way, what waits, and for what.

use super::{
    api::{self, CancelQueued, SetPriority},
    fresh::keep_fresh,
    parts::{AdminPage, Outcome},
    words,
};
use crate::{
    live::Topic,
    run::step_name,
    say,
    ui::{
        Ask, Empty, Failure, Glyph, Icon, Question, Skeleton, TimeAgo, VerdictMark, asked_by_address,
        stage_icon, stage_name, verdict_name,
    },
};
use leptos::{form::ActionForm, prelude::*};
use leptos_router::{LazyRoute, lazy_route};
use odooops::{
    branch::Stage,
    id::RunId,
    run::{
        RunStatus,
        backlog::{Backlog, Queued, Wait},
    },
};

pub struct QueuePage;

#[lazy_route]
impl LazyRoute for QueuePage {
    fn data() -> Self {
        Self
    }

    fn view(_page: Self) -> AnyView {
        let queue = Resource::new(|| (), |()| api::queue());
        view! {
            <AdminPage title=say!(admin.queue.title) about=say!(admin.queue.about)>
                <Suspense fallback=|| view! { <Skeleton lines=8/> }>
                    {move || Suspend::new(async move {
                        match queue.await {
                            Ok(backlog) => view! { <Queue backlog/> }.into_any(),
                            Err(fault) => view! { <Failure error=fault.0/> }.into_any(),
                        }
                    })}
                </Suspense>
            </AdminPage>
        }
        .into_any()
    }
}

#[component]
fn Queue(backlog: Backlog) -> impl IntoView {
    let backlog = RwSignal::new(backlog);
    let again = keep_fresh(backlog, Topic::Platform, api::queue);
    let cancel = ServerAction::<CancelQueued>::new();
    let priority = ServerAction::<SetPriority>::new();
    let asked = RwSignal::new(asked_by_address::<RunId>("cancel"));
    let close = Callback::new(move |()| asked.set(None));
    let about = move || {
        let asked = asked.get()?;
        backlog.with_untracked(|backlog| backlog.runs.iter().find(|run| run.id == asked).cloned())
    };
    let empty = move || backlog.with(|backlog| backlog.runs.is_empty());
    let cut_off = move || {
        let (shown, all) = backlog.with(|backlog| (backlog.runs.len(), backlog.cut_off()));
        let all = all?.to_string();
        Some(say!(admin.queue.first_of, shown = shown.to_string(), all = all).to_string())
    };
    view! {
        <Outcome action=cancel done=say!(admin.queue.canceled) then=again/>
        <Outcome action=priority done=say!(admin.queue.moved) then=again/>
        <dl class="tiles" data-testid="queue-counts">
            <div class="tile"><dt>{say!(admin.queue.under_way)}</dt><dd>{move || backlog.with(|backlog| backlog.under_way)}</dd></div>
            <div class="tile"><dt>{say!(admin.queue.waiting)}</dt><dd>{move || backlog.with(|backlog| backlog.waiting)}</dd></div>
        </dl>
        <Show when=empty>
            <Empty title=say!(admin.queue.empty_title) text=say!(admin.queue.empty)>""</Empty>
        </Show>
        <div class="table-frame" hidden=empty>
            <table class="table" data-testid="queue">
                <thead>
                    <tr>
                        <th scope="col">{say!(admin.queue.run)}</th>
                        <th scope="col">{say!(admin.queue.project)}</th>
                        <th scope="col">{say!(admin.queue.since)}</th>
                        <th scope="col">{say!(admin.queue.state)}</th>
                        <th scope="col">{say!(admin.queue.priority)}</th>
                        <th scope="col"><span class="sr-only">{say!(admin.actions)}</span></th>
                    </tr>
                </thead>
                <tbody>
                    <For each=move || backlog.with(|backlog| backlog.runs.iter().map(|run| run.id).collect::<Vec<_>>())
                        key=|id| *id let:id>
                        <Row id backlog cancel priority asked/>
                    </For>
                </tbody>
            </table>
        </div>
        {move || cut_off().map(|text| view! { <p class="muted small" data-testid="cut-off">{text}</p> })}
        {move || about().map(|run| view! { <CancelDialog run close again/> })}
    }
    .into_any()
}

/// `build 1a2b3c4d`.
fn name(run: &Queued) -> String {
    format!("{} {}", run.kind, run.commit_sha.chars().take(8).collect::<String>())
}

fn branch(run: &Queued) -> String {
    run.branch.as_ref().map_or_else(|| run.git_ref.clone(), ToString::to_string)
}

/// What is done to production is asked for twice.
#[component]
fn CancelDialog(run: Queued, close: Callback<()>, again: Callback<()>) -> impl IntoView {
    let action = ServerAction::<CancelQueued>::new();
    let title =
        say!(admin.queue.cancel_title, run = name(&run), project = run.project_name.clone()).to_string();
    view! {
        <Question title action yes=say!(admin.queue.cancel_yes) done=say!(admin.queue.canceled)
            page="/admin/queue" testid="cancel-production" on_close=close then=again>
            <input type="hidden" name="id" value=run.id.to_string()/>
            <p>{say!(ui.cancel_production, branch = branch(&run)).to_string()}</p>
        </Question>
    }
    .into_any()
}

#[component]
fn Row(
    id: RunId,
    backlog: RwSignal<Backlog>,
    cancel: ServerAction<CancelQueued>,
    priority: ServerAction<SetPriority>,
    asked: RwSignal<Option<RunId>>,
) -> impl IntoView {
    let run =
        Memo::new(move |_| backlog.with(|backlog| backlog.runs.iter().find(|run| run.id == id).cloned()));
    let Some(first) = run.get_untracked() else { return ().into_any() };
    let part = move |read: fn(&Queued) -> bool| run.with(|run| run.as_ref().is_some_and(read));
    let verdict = Signal::derive(move || {
        run.with(|run| run.as_ref().map_or(RunStatus::Queued, |run| run.status)).verdict()
    });
    let (name, branch) = (name(&first), branch(&first));
    let row = format!("{name}, {branch}");
    let cancel_label = StoredValue::new(words::named(say!(admin.queue.cancel), &row));
    let priority_label = StoredValue::new(words::named(say!(admin.queue.priority), &row));
    let set_label = StoredValue::new(words::named(say!(admin.queue.set_priority), &row));
    let production = first.stage == Some(Stage::Production);
    view! {
        <tr data-run=id.to_string()>
            <td data-label=say!(admin.queue.run)>
                <a class="run-name" href=run_href(&first)>
                    <VerdictMark verdict/><code>{name}</code>
                </a>
            </td>
            <td data-label=say!(admin.queue.project)>
                <span class="stacked">
                    <a class="link" href=format!("/projects/{}", first.project)>{first.project_name}</a>
                    <span class="muted small of-branch">
                        {first.stage.map(|stage| view! {
                            <span class=format!("stage small stage-{stage}") title=stage_name(stage)><Glyph icon=stage_icon(stage)/></span>
                        })}
                        <code class="truncate" title=branch.clone()>{branch.clone()}</code>
                    </span>
                </span>
            </td>
            <td data-label=say!(admin.queue.since)><TimeAgo at=first.queued_at/></td>
            <td data-label=say!(admin.queue.state)>{move || run.get().map(|run| view! { <State run/> })}</td>
            <td data-label=say!(admin.queue.priority)>
                <Show when=move || part(|run| run.status == RunStatus::Queued)
                    fallback=move || view! { <span class="tabular">{move || run.with(|run| run.as_ref().map(|run| run.priority))}</span> }>
                    <ActionForm action=priority attr:class="inline-form">
                        <input type="hidden" name="id" value=id.to_string()/>
                        <input class="input number" type="number" name="priority" min="-100" max="100" required
                            value=run.with_untracked(|run| run.as_ref().map(|run| run.priority.to_string()))
                            aria-label=priority_label.get_value()/>
                        <button class="icon-button" type="submit" title=say!(admin.queue.set_priority)
                            aria-label=set_label.get_value()><Glyph icon=Icon::Check/></button>
                    </ActionForm>
                </Show>
            </td>
            <td class="row-actions">
                <Show when=move || part(|run| run.cancel_requested_at.is_none())
                    fallback=|| view! { <span class="muted small">{say!(admin.queue.canceling)}</span> }>
                    {match production {
                        true => view! {
                            <Ask asked about=id href=format!("/admin/queue?cancel={id}") label=cancel_label.get_value() small=true>
                                {say!(admin.queue.cancel_ask)}
                            </Ask>
                        }
                        .into_any(),
                        false => view! {
                            <ActionForm action=cancel>
                                <input type="hidden" name="id" value=id.to_string()/>
                                <button class="button small-button" type="submit" aria-label=cancel_label.get_value()>{say!(admin.queue.cancel)}</button>
                            </ActionForm>
                        }
                        .into_any(),
                    }}
                </Show>
            </td>
        </tr>
    }
    .into_any()
}

fn run_href(run: &Queued) -> String {
    format!("/projects/{}/builds/{}", run.project, run.id)
}

/// What it does, or what it waits for.
#[component]
fn State(run: Queued) -> impl IntoView {
    if run.status == RunStatus::Queued {
        let slug = run.project.clone();
        let reason = move |wait: Wait| {
            let text = words::wait(&wait);
            let link = match wait {
                Wait::Run { id, .. } => Some(view! {
                    " "<a class="link" href=format!("/projects/{slug}/builds/{id}")>{say!(admin.queue.that_run)}</a>
                }),
                _ => None,
            };
            view! { <li>{text}{link}</li> }
        };
        return view! { <ul class="waits">{run.waits.into_iter().map(reason).collect_view()}</ul> }
            .into_any();
    }
    let what = match run.step {
        Some(step) => step_name(step),
        None => verdict_name(run.status.verdict()),
    };
    let place = run.host.or(run.worker_id);
    view! {
        <span class="stacked">
            <span>{what}</span>
            {place.map(|place| view! { <span class="muted small">{say!(admin.queue.on, place = place).to_string()}</span> })}
        </span>
    }
    .into_any()
}
