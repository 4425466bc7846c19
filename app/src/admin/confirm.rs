//! A question before something that cannot be taken back. The question is part of the address, so that it can be
//! answered without script.

use crate::say;
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;

/// What is asked about, as the address says it.
pub fn asked_by_address<T: std::str::FromStr>(name: &str) -> Option<T> {
    use_query_map().read_untracked().get(name)?.parse().ok()
}

/// A link that asks: by its address without script, by the signal with it.
#[component]
pub fn Ask<T: Clone + Send + Sync + 'static>(
    asked: RwSignal<Option<T>>,
    about: T,
    #[prop(into)] href: String,
    #[prop(optional)] small: bool,
    children: Children,
) -> impl IntoView {
    let ask = move |event: web_sys::MouseEvent| {
        event.prevent_default();
        asked.set(Some(about.clone()));
    };
    view! { <a class="button" class:small-button=small href=href on:click=ask>{children()}</a> }.into_any()
}

/// No and yes, below the question's form.
#[component]
pub fn Answer(
    #[prop(into)] yes: String,
    /// The page without the question.
    #[prop(into)]
    page: String,
    on_close: Callback<()>,
    #[prop(into)] pending: Signal<bool>,
) -> impl IntoView {
    view! {
        <footer class="dialog-foot">
            <a class="button" href=page on:click=move |event| { event.prevent_default(); on_close.run(()) }>
                {say!(ui.cancel)}
            </a>
            <button class="button primary" type="submit" disabled=pending>{yes}</button>
        </footer>
    }
    .into_any()
}
