//! What the hosts would remove now: asked for, and answered by each that is there.

use super::{
    api::{self, RequestDryRun},
    parts::Outcome,
};
use crate::{
    say,
    ui::{Dialog, Now},
};
use leptos::{form::ActionForm, prelude::*, task::spawn_local};
use leptos_router::hooks::use_query_map;
use odooops::reconcile::{DryRun, Finding, Report};
use std::{cell::Cell, time::Duration};

const ASK_AGAIN: Duration = Duration::from_millis(700);
/// A host that is there answers within seconds, one that has much to compare within a minute.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks the hosts what they would remove now, and shows what they answer. Without script each look is a page.
#[component]
pub fn DryRuns(first: Vec<DryRun>) -> impl IntoView {
    let request = ServerAction::<RequestDryRun>::new();
    let ids = RwSignal::new(use_query_map().read_untracked().get("dry-run"));
    // Not known yet, or what is known.
    let runs = RwSignal::new(ids.get_untracked().map(|_| first));
    // Those that have not answered by now are not waited for any more, until somebody looks again.
    let late = RwSignal::new(runs.with_untracked(|runs| runs.iter().flatten().any(is_late)));
    let close = Callback::new(move |()| ids.set(None));
    Effect::new(move |_| {
        if let Some(Ok(asked)) = request.value().get() {
            runs.set(asked.is_empty().then(Vec::new));
            late.set(false);
            ids.set(Some(asked.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")));
        }
    });
    Effect::new(move |_| {
        if let Some(asked) = ids.get()
            && !late.get()
        {
            keep_looking(asked, ids, runs, late);
        }
    });
    view! {
        <ActionForm action=request>
            <button class="button" type="submit" disabled=request.pending()>{say!(admin.reconcile.dry_run)}</button>
        </ActionForm>
        <Outcome action=request done=say!(admin.reconcile.asked) then=Callback::new(|()| ())/>
        {move || ids.get().map(|asked| view! {
            <Dialog title=say!(admin.reconcile.dry_run_title) on_close=close close_href="/admin">
                <div class="dry-runs" aria-live="polite" data-testid="dry-run">
                    {move || runs.get().map(|runs| view! { <Answers runs late/> })}
                </div>
                <LookAgain asked runs late/>
            </Dialog>
        })}
    }
    .into_any()
}

fn is_open(run: &DryRun) -> bool {
    run.answered_at.is_none()
}

fn is_late(run: &DryRun) -> bool {
    let asked_since = Now::get_untracked() - run.requested_at.timestamp_millis();
    is_open(run) && i128::from(asked_since) >= PATIENCE.as_millis().cast_signed()
}

/// Until every host has answered, the question is put away, or patience ends. Called in an effect.
fn keep_looking(
    asked: String,
    ids: RwSignal<Option<String>>,
    runs: RwSignal<Option<Vec<DryRun>>>,
    late: RwSignal<bool>,
) {
    // Not among the reactive values: a timer that fires once more while the page goes must find it.
    let rounds = Cell::new(0_u32);
    let tick = move || {
        let open = |runs: &Option<Vec<DryRun>>| runs.as_ref().is_none_or(|runs| runs.iter().any(is_open));
        if late.try_get_untracked() != Some(false) || runs.try_with_untracked(open) != Some(true) {
            return;
        }
        // By our own count: the browser's clock need not be the server's.
        rounds.set(rounds.get() + 1);
        if ASK_AGAIN * rounds.get() >= PATIENCE {
            return late.set(true);
        }
        let asked = asked.clone();
        spawn_local(async move {
            if let Ok(now) = api::dry_run(asked.clone()).await
                && ids.try_get_untracked().flatten() == Some(asked)
            {
                runs.try_set(Some(now));
            }
        });
    };
    let tick = set_interval_with_handle(tick, ASK_AGAIN).ok();
    on_cleanup(move || {
        if let Some(tick) = tick {
            tick.clear();
        }
    });
}

/// The way on while an answer is missing: without script at any time, with it once the page has stopped looking.
#[component]
fn LookAgain(asked: String, runs: RwSignal<Option<Vec<DryRun>>>, late: RwSignal<bool>) -> impl IntoView {
    let open = Memo::new(move |_| runs.with(|runs| runs.iter().flatten().any(is_open)));
    let href = format!("/admin?dry-run={asked}");
    move || {
        open.get().then(|| {
            view! {
                <footer class="dialog-foot" class:without-script=move || !late.get()>
                    <a class="button" href=href.clone() data-testid="look-again"
                        on:click=move |event| { event.prevent_default(); late.set(false) }>
                        {say!(admin.reconcile.look_again)}
                    </a>
                </footer>
            }
        })
    }
}

#[component]
fn Answers(runs: Vec<DryRun>, late: RwSignal<bool>) -> impl IntoView {
    if runs.is_empty() {
        return view! { <p class="muted">{say!(admin.reconcile.nobody_asked)}</p> }.into_any();
    }
    runs.into_iter().map(|run| view! { <Answered run late/> }).collect_view().into_any()
}

#[component]
fn Answered(run: DryRun, late: RwSignal<bool>) -> impl IntoView {
    let failed: Vec<_> = run
        .reports
        .iter()
        .filter_map(|report: &Report| report.error.as_ref().map(|error| format!("{}: {error}", report.name)))
        .collect();
    let findings: Vec<_> = run.reports.into_iter().flat_map(|report| report.findings).collect();
    let waiting = move || match late.get() {
        true => view! { <p class="wrong">{say!(admin.reconcile.no_answer)}</p> }.into_any(),
        false => view! { <p class="muted">{say!(admin.reconcile.waiting)}</p> }.into_any(),
    };
    let body = match (run.answered_at, findings.is_empty() && failed.is_empty()) {
        (None, _) => waiting.into_any(),
        (_, true) => view! { <p class="muted">{say!(admin.reconcile.nothing)}</p> }.into_any(),
        _ => view! {
            {failed.into_iter().map(|text| view! { <p class="wrong">{text}</p> }).collect_view()}
            <Findings findings/>
        }
        .into_any(),
    };
    view! { <section><h3>{run.host}</h3>{body}</section> }
}

#[component]
pub fn Findings(findings: Vec<Finding>) -> impl IntoView {
    view! {
        <ul class="findings">
            {findings.into_iter().map(|finding| view! {
                <li><strong>{finding.what}</strong>" "<code>{finding.object}</code><span class="muted small">{finding.why}</span></li>
            }).collect_view()}
        </ul>
    }
    .into_any()
}
