//! What is shown instead of content: an error that keeps the page, and an empty state that teaches.

use super::{Glyph, Icon};
use crate::{say, words};
use leptos::prelude::*;
use odooops::Error;

/// What happened, why, what to do, with the incident to quote.
#[component]
pub fn Failure(error: Error, #[prop(optional, into)] title: Option<String>) -> impl IntoView {
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
        // An empty address is this page again, with and without script.
        _ => view! { <a class="button" href="" rel="external">{say!(frame.failure.retry)}</a> }.into_any(),
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
