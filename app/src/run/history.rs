//! Who had a run and how that ended, and everything that happened to it.

use super::api;
use crate::{
    error::Fault,
    say,
    ui::{Lasting, TimeAgo},
};
use leptos::{prelude::*, task::spawn_local};
use odooops::{
    Error,
    id::RunId,
    run::{Attempt, Event, Outcome, RunView},
};
use std::time::Duration;

/// After an answer was lost on the way.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Every try, and every event.
pub type Happened = (Vec<Attempt>, Vec<Event>);

pub async fn load(run: RunId) -> Result<Happened, Fault> {
    Ok((api::attempts(run).await?, api::events(run).await?))
}

/// Kept by a signal and not by a resource of its own: the page's data comes complete, and what is loaded inside of what
/// was loaded is not found again by the browser.
#[component]
pub fn History(run: RwSignal<RunView>, happened: Happened) -> impl IntoView {
    let id = run.with_untracked(|run| run.id);
    let happened = RwSignal::new(happened);
    // What changes when something happened.
    let seen = Memo::new(move |_| {
        run.with(|run| {
            let ended = run.steps.iter().filter(|step| step.duration_ms.is_some()).count();
            (run.status, run.attempt, run.cancel_requested_at, run.steps.len(), ended)
        })
    });
    // An answer was lost on the way, and it is asked again soon.
    let lost = RwSignal::new(false);
    Effect::new(move |first: Option<()>| {
        // Read and not only tracked: a memo that nobody reads hears of nothing.
        seen.get();
        if first.is_some() && !lost.get() {
            spawn_local(async move {
                match load(id).await {
                    // One that was overtaken on the way knows less.
                    Ok(now)
                        if happened.try_with_untracked(|known| known.1.len() <= now.1.len())
                            == Some(true) =>
                    {
                        happened.try_set(now);
                    }
                    Err(Fault(Error::Unavailable { .. })) if lost.try_get_untracked() == Some(false) => {
                        lost.set(true);
                        let ask_again = move || {
                            lost.try_set(false);
                        };
                        set_timeout(ask_again, ASK_AGAIN);
                    }
                    _ => {}
                }
            });
        }
    });
    // A closed list of events must not close again, nor an open one, when there is another.
    let open = RwSignal::new(false);
    view! {
        {move || view! { <Attempts attempts=happened.with(|(attempts, _)| attempts.clone())/> }}
        {move || view! { <Events events=happened.with(|(_, events)| events.clone()) open/> }}
    }
    .into_any()
}

fn outcome_name(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        None => say!(run.outcome.under_way),
        Some(Outcome::Requeued) => say!(run.outcome.requeued),
        Some(Outcome::Retried) => say!(run.outcome.retried),
        Some(Outcome::HandedBack) => say!(run.outcome.handed_back),
        Some(Outcome::Succeeded) => say!(run.outcome.succeeded),
        Some(Outcome::Warning) => say!(run.outcome.warning),
        Some(Outcome::Failed) => say!(run.outcome.failed),
        Some(Outcome::TimedOut) => say!(run.outcome.timed_out),
        Some(Outcome::Canceled) => say!(run.outcome.canceled),
        Some(Outcome::Superseded) => say!(run.outcome.superseded),
    }
}

/// One that went through at once says nothing that the page does not say.
#[component]
fn Attempts(attempts: Vec<Attempt>) -> impl IntoView {
    (attempts.len() > 1).then(|| {
        view! {
            <section class="panel" aria-label=say!(run.attempts)>
                <h2>{say!(run.attempts)}</h2>
                <ol class="attempts" data-testid="attempts">
                    {attempts.into_iter().map(|attempt| view! { <Tried attempt/> }).collect_view()}
                </ol>
            </section>
        }
    })
}

#[component]
fn Tried(attempt: Attempt) -> impl IntoView {
    let (n, worker) = (attempt.attempt.to_string(), attempt.worker_id);
    view! {
        <li>
            <span class="stacked">
                <span>{outcome_name(attempt.outcome)}</span>
                <span class="muted small">{say!(run.attempt_n, n = n, worker = worker).to_string()}</span>
                {attempt.reason.map(|reason| view! { <span class="muted small">{reason}</span> })}
            </span>
            <span class="muted small"><Lasting from=attempt.claimed_at to=attempt.ended_at/></span>
        </li>
    }
}

#[component]
fn Events(events: Vec<Event>, open: RwSignal<bool>) -> impl IntoView {
    let count = events.len();
    let rows = events
        .into_iter()
        .map(|event| {
            view! {
                <li>
                    <span class="event-name">{event.r#type.replace('_', " ")}</span>
                    <TimeAgo at=event.created_at/>
                    <code class="muted small">{facts(&event.payload)}</code>
                </li>
            }
        })
        .collect_view();
    view! {
        <details class="panel events" open=open.get_untracked()
            on:toggle=move |event| open.set(event_target::<web_sys::Element>(&event).has_attribute("open"))>
            <summary><h2>{say!(run.events)}</h2><span class="count">{count}</span></summary>
            {(count == 0).then(|| view! { <p class="muted">{say!(run.no_events)}</p> })}
            <ol data-testid="events">{rows}</ol>
        </details>
    }
    .into_any()
}

/// `step install, ok false`: what an event says, without JSON's marks.
fn facts(payload: &serde_json::Value) -> String {
    let Some(fields) = payload.as_object() else { return String::new() };
    let fact = |(name, value): (&String, &serde_json::Value)| match value {
        serde_json::Value::String(text) => format!("{name} {text}"),
        value => format!("{name} {value}"),
    };
    fields.iter().map(fact).collect::<Vec<_>>().join(", ")
}
