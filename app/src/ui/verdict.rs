//! A verdict has a colour and a shape, so that it is read without the colour too.

use crate::say;
use leptos::prelude::*;
use odooops::run::Verdict;

pub fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Green => say!(ui.verdict.green),
        Verdict::Yellow => say!(ui.verdict.yellow),
        Verdict::Red => say!(ui.verdict.red),
        Verdict::Running => say!(ui.verdict.running),
        Verdict::Queued => say!(ui.verdict.queued),
        Verdict::Canceled => say!(ui.verdict.canceled),
    }
}

fn look(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Green => (
            "green",
            r#"<circle class="disc" cx="8" cy="8" r="8"/><path class="mark" d="m4.6 8.3 2.3 2.3 4.5-5"/>"#,
        ),
        Verdict::Yellow => {
            ("yellow", r#"<circle class="disc" cx="8" cy="8" r="8"/><path class="mark" d="M4.8 8h6.4"/>"#)
        }
        Verdict::Red => (
            "red",
            r#"<circle class="disc" cx="8" cy="8" r="8"/><path class="mark" d="m5.4 5.4 5.2 5.2m0-5.2-5.2 5.2"/>"#,
        ),
        Verdict::Running => (
            "running",
            r#"<circle class="track" cx="8" cy="8" r="6.75"/><path class="arc" d="M8 1.25A6.75 6.75 0 0 1 14.75 8"/>"#,
        ),
        Verdict::Queued => ("queued", r#"<circle class="track" cx="8" cy="8" r="6.75"/>"#),
        Verdict::Canceled => {
            ("canceled", r#"<circle class="disc" cx="8" cy="8" r="8"/><path class="mark" d="m5 11 6-6"/>"#)
        }
    }
}

/// The disc or ring of a verdict: 16 px, or 12 as a dot of a history.
#[component]
pub fn VerdictMark(#[prop(into)] verdict: Signal<Verdict>, #[prop(optional)] small: bool) -> impl IntoView {
    let size = if small { "12" } else { "16" };
    view! {
        <svg class=move || format!("verdict {}", look(verdict.get()).0) viewBox="0 0 16 16" width=size height=size
            role="img" aria-label=move || verdict_name(verdict.get()) inner_html=move || look(verdict.get()).1></svg>
    }
}
