//! A menu behind a button: `<details>`, so that it opens without script. With script it closes by Escape, by a
//! click elsewhere and by a choice.

use super::{Glyph, Icon};
use leptos::{html, prelude::*};
use wasm_bindgen::JsCast;

#[component]
pub fn Menu(
    #[prop(into)] label: String,
    #[prop(default = Icon::Ellipsis)] icon: Icon,
    children: Children,
) -> impl IntoView {
    let node: NodeRef<html::Details> = NodeRef::new();
    let close = move || {
        if let Some(details) = node.get_untracked() {
            details.set_open(false);
        }
    };
    Effect::new(move |_| {
        let outside = window_event_listener(leptos::ev::pointerdown, move |event| {
            let target = event.target().and_then(|target| target.dyn_into::<web_sys::Node>().ok());
            if let Some(details) = node.get_untracked()
                && !details.contains(target.as_ref())
            {
                details.set_open(false);
            }
        });
        on_cleanup(move || outside.remove());
    });
    let on_key = move |event: web_sys::KeyboardEvent| {
        let Some(details) = node.get_untracked() else { return };
        if event.key() == "Escape" && details.open() {
            event.stop_propagation();
            details.set_open(false);
            let summary = details.query_selector("summary").ok().flatten();
            if let Some(summary) = summary.and_then(|summary| summary.dyn_into::<web_sys::HtmlElement>().ok())
            {
                summary.focus().ok();
            }
        }
    };
    view! {
        <details class="menu" node_ref=node on:keydown=on_key>
            <summary class="icon-button" title=label.clone() aria-label=label><Glyph icon/></summary>
            <div class="menu-items" on:click=move |_| close()>{children()}</div>
        </details>
    }
    .into_any()
}
