//! The card of a branch: what it is, how its builds went, how the one at work is doing, and what can be done.

use super::{
    api::write_target,
    drag::press,
    keys::on_key,
    menu::CardMenu,
    state::{BoardState, meaning_words},
};
use crate::{
    run::step_name,
    say,
    ui::{Avatar, Glyph, Icon, Lasting, TimeAgo, VerdictMark, branch_anchor, verdict_name},
};
use leptos::{either::Either, prelude::*};
use odooops::{
    branch::{BranchCard, OnPush, RunDot, Stage, Target},
    environment::EnvironmentState,
    id::BranchId,
    project::Slug,
    run::{RunStatus, Step, Verdict},
};

#[component]
pub fn Card(id: BranchId) -> impl IntoView {
    let state = BoardState::get();
    let slug = state.slug();
    let card = state.card(id);
    // A branch keeps its name for as long as it has its id.
    let name = state.find(id).map(|card| card.name);
    let target = name.clone().map(|name| Target::Branch { name });
    let shown_name = name.map(|name| name.to_string()).unwrap_or_default();
    let dragged = Memo::new(move |_| state.drag.with(|drag| drag.as_ref().is_some_and(|drag| drag.id == id)));
    let merge = {
        let target = target.clone();
        Memo::new(move |_| {
            let drag = state.drag.get()?;
            let target = target.as_ref().filter(|target| drag.over.as_ref() == Some(target))?;
            (drag.id != id).then(|| state.meaning(drag.id, target))
        })
    };
    let part = move |read: fn(&BranchCard) -> Option<RunDot>| {
        Memo::new(move |_| card.with(|card| card.as_ref().and_then(read)))
    };
    let latest = part(|card| card.runs.first().cloned());
    view! {
        <li class="card" class:dragged=dragged class:over=move || merge.with(Option::is_some)
            id=branch_anchor(&shown_name) data-card=id.to_string() data-drop=target.as_ref().map(write_target)
            data-branch=shown_name.clone() data-testid="card"
            on:pointerdown=move |event| press(state, id, &event)>
            <div class="card-head">
                <Latest slug=slug.clone() latest/>
                // Selected whole by a click. What is selected can be dragged as text too, and the card then not.
                <span class="card-name" title=shown_name.clone() on:dragstart=|event| event.prevent_default()>
                    {shown_name.clone()}
                </span>
                <button type="button" class="icon-button grip needs-script" data-grip=""
                    aria-label=say!(board.drag, branch = shown_name.clone()).to_string() aria-describedby="drag-help"
                    on:keydown=move |event| on_key(state, id, &event)
                    on:blur=move |_| super::keys::leave(state, id)>
                    <Glyph icon=Icon::GripVertical/>
                </button>
                <CardMenu id/>
            </div>
            <Commit card/>
            <Notes card/>
            <Progress latest/>
            <div class="card-foot">
                <History slug=slug.clone() card branch=shown_name.clone()/>
                <Ways slug latest card branch=shown_name.clone()/>
            </div>
            {move || merge.get().map(|meaning| view! {
                <p class="card-means" class:refused=meaning.is_err()>{meaning_words(&meaning)}</p>
            })}
        </li>
    }
    .into_any()
}

fn build_href(slug: &Slug, run: &RunDot) -> String {
    format!("/projects/{slug}/builds/{}", run.id)
}

/// The verdict of the latest build leads to it.
#[component]
fn Latest(slug: Slug, latest: Memo<Option<RunDot>>) -> impl IntoView {
    let verdict = Signal::derive(move || {
        latest.with(|run| run.as_ref().map_or(Verdict::Queued, |run| run.status.verdict()))
    });
    let known = Memo::new(move |_| latest.with(Option::is_some));
    move || {
        if known.get() {
            let slug = slug.clone();
            let href = move || latest.with(|run| run.as_ref().map(|run| build_href(&slug, run)));
            Either::Left(view! {
                <a class="card-verdict" href=href title=move || verdict_name(verdict.get()) data-testid="verdict">
                    <VerdictMark verdict/>
                </a>
            })
        } else {
            Either::Right(view! { <span class="card-verdict none" title=say!(board.no_builds)></span> })
        }
    }
}

#[component]
fn Commit(card: Memo<Option<BranchCard>>) -> impl IntoView {
    let head = Memo::new(move |_| card.with(|card| card.as_ref().and_then(|card| card.head.clone())));
    move || match head.get() {
        None => Either::Left(view! { <p class="card-subject muted">{say!(board.no_commit)}</p> }),
        Some(head) => Either::Right(view! {
            <p class="card-subject" title=head.subject.clone()>{head.subject.clone()}</p>
            <p class="card-commit">
                <Avatar name=head.author.clone()/>
                <span class="truncate">{head.author.clone()}</span>
                <span class="age"><TimeAgo at=head.authored_at/></span>
                <code>{head.sha.short().to_owned()}</code>
            </p>
        }),
    }
}

/// What is not as one would expect of a branch.
#[component]
fn Notes(card: Memo<Option<BranchCard>>) -> impl IntoView {
    let notes = Memo::new(move |_| {
        card.with(|card| {
            let card = card.as_ref()?;
            let (fresh, quiet) = (card.stage != Stage::Development, card.on_push == OnPush::Nothing);
            (fresh || quiet).then_some((fresh, quiet))
        })
    });
    move || {
        notes.get().map(|(fresh, quiet)| {
            view! {
                <p class="card-notes">
                    {fresh.then(|| view! {
                        <span class="chip" title=say!(board.fresh_database_why)>{say!(board.fresh_database)}</span>
                    })}
                    {quiet.then(|| view! {
                        <span class="chip" title=say!(board.quiet_why) data-testid="quiet">{say!(board.quiet)}</span>
                    })}
                </p>
            }
        })
    }
}

/// While something is being built: the step, for how long, and how far of all steps.
#[component]
fn Progress(latest: Memo<Option<RunDot>>) -> impl IntoView {
    let active = Memo::new(move |_| {
        latest.with(|run| {
            let run = run.as_ref().filter(|run| !run.status.is_terminal())?;
            Some((run.status, run.step, run.started_at.unwrap_or(run.queued_at)))
        })
    });
    move || {
        active.get().map(|(status, step, since)| {
            let waiting = status == RunStatus::Queued;
            let text = match step.filter(|_| !waiting) {
                Some(step) => step_name(step),
                None => say!(ui.verdict.queued),
            };
            let at = step.and_then(|step| Step::ALL.iter().position(|known| *known == step)).unwrap_or(0);
            let percent = if waiting { 0 } else { (at * 2 + 1) * 50 / Step::ALL.len() };
            view! {
                <div class="card-progress" class:waiting=waiting data-testid="progress">
                    <p><span class="truncate">{text}</span><Lasting from=since to=None/></p>
                    <div class="bar" role="progressbar" aria-valuenow=percent.to_string() aria-valuemin="0"
                        aria-valuemax="100" aria-label=text>
                        <span style=format!("width:{percent}%")></span>
                    </div>
                </div>
            }
        })
    }
}

#[component]
fn History(slug: Slug, card: Memo<Option<BranchCard>>, branch: String) -> impl IntoView {
    // Oldest first, so that time runs to the right and the newest stands at the end.
    let dots = Memo::new(move |_| {
        card.with(|card| {
            card.iter().flat_map(|card| card.runs.iter().rev().cloned()).collect::<Vec<RunDot>>()
        })
    });
    let label = format!("{}: {branch}", say!(board.history));
    view! {
        <ol class="dots" aria-label=label data-testid="history">
            <For each=move || dots.get() key=|run| (run.id, run.status) let:run>
                <li>
                    <a href=build_href(&slug, &run) title=say!(
                        board.build_of, commit = run.commit_sha.short().to_owned(), verdict = verdict_name(run.status.verdict())
                    ).to_string()>
                        <VerdictMark verdict=run.status.verdict() small=true/>
                    </a>
                </li>
            </For>
        </ol>
    }
    .into_any()
}

/// Where one goes from a card: the running Odoo, the log.
#[component]
fn Ways(
    slug: Slug,
    latest: Memo<Option<RunDot>>,
    card: Memo<Option<BranchCard>>,
    branch: String,
) -> impl IntoView {
    let environment = Memo::new(move |_| {
        card.with(|card| card.as_ref().and_then(|card| card.environment.clone()))
            .filter(|environment| environment.state == EnvironmentState::Running)
    });
    let log = Memo::new(move |_| latest.with(|run| run.as_ref().map(|run| build_href(&slug, run) + "#log")));
    let (to_log, to_odoo) = (branch.clone(), branch);
    view! {
        <div class="ways">
        {move || log.get().map(|href| view! {
            <a class="way" href=href aria-label=say!(board.logs_of, branch = to_log.clone()).to_string()>
                {say!(board.logs)}
            </a>
        })}
        {move || environment.get().map(|environment| view! {
            <a class="way strong" href=environment.url target="_blank" rel="noopener external" data-testid="connect"
                aria-label=say!(board.connect_to, branch = to_odoo.clone()).to_string()>
                {say!(board.connect)}<Glyph icon=Icon::ExternalLink/>
            </a>
        })}
        </div>
    }
    .into_any()
}
