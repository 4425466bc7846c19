//! What is shown instead of content: an error that keeps the page, and an empty state that teaches.

use super::{Glyph, Icon};
use crate::{say, words};
use leptos::prelude::*;
use leptos_router::hooks::use_location;
use odooops::Error;

/// What happened, why, what to do, with the incident to quote. Stands for what the page was asked for, so the page's
/// status says the same.
#[component]
pub fn Failure(error: Error, #[prop(optional, into)] title: Option<String>) -> impl IntoView {
    #[cfg(feature = "ssr")]
    crate::request::set_status(error.status());
    let path = use_location().pathname;
    let title = title.unwrap_or_else(|| match error {
        Error::NotFound { .. } => say!(frame.not_found.title).to_string(),
        _ => say!(frame.failure.title).to_string(),
    });
    let incident = match &error {
        Error::Internal { incident } => {
            Some(say!(frame.failure.incident, id = incident.to_string()).to_string())
        }
        _ => None,
    };
    let action = match error {
        Error::Unauthenticated => {
            view! { <a class="button primary" href="/sign-in" rel="external">{say!(frame.failure.sign_in)}</a> }
                .into_any()
        }
        Error::NotFound { .. } => {
            view! { <a class="button" href="/">{say!(frame.not_found.back)}</a> }.into_any()
        }
        // Without the query: it may carry the refusal of a form.
        _ => view! { <a class="button" href=path rel="external">{say!(frame.failure.retry)}</a> }.into_any(),
    };
    view! {
        <section class="failure" role="alert">
            <Glyph icon=Icon::TriangleAlert/>
            <h2>{title}</h2>
            <p>{words::sentence(&error)}</p>
            {incident.map(|incident| view! { <p class="mono muted">{incident}</p> })}
            {action}
        </section>
    }
}

/// Why a form was refused that was sent without script: it comes back to its page, which is as it was.
#[component]
pub fn Refusal(error: Error) -> impl IntoView {
    let path = use_location().pathname;
    view! {
        <section class="notice red" role="alert" data-testid="refusal">
            <Glyph icon=Icon::TriangleAlert/>
            <p class="grow">{words::sentence(&error)}</p>
            <a class="icon-button" href=path rel="external" title=say!(ui.dismiss) aria-label=say!(ui.dismiss)>
                <Glyph icon=Icon::X/>
            </a>
        </section>
    }
    .into_any()
}

#[component]
pub fn Empty(#[prop(into)] title: String, #[prop(into)] text: String, children: Children) -> impl IntoView {
    view! {
        <section class="empty">
            <h2>{title}</h2>
            <p>{text}</p>
            {children()}
        </section>
    }
}
