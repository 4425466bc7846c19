use crate::say;
use leptos::prelude::*;

/// Bars of the size of what is coming.
#[component]
pub fn Skeleton(#[prop(default = 3)] lines: u8) -> impl IntoView {
    view! {
        <div class="skeleton" role="status" aria-label=say!(ui.loading)>
            {(0..lines).map(|_| view! { <span></span> }).collect_view()}
        </div>
    }
}
