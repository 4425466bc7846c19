//! A menu behind a button: `<details>`, so that it opens without script; by their common name one open menu closes the
//! other. With script it closes by Escape, by a choice, and when pointer or focus go elsewhere.

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
    // The focus goes back to the button: what has it now is about to be hidden.
    let close = move || {
        let Some(details) = node.get_untracked().filter(|details| details.open()) else { return false };
        details.set_open(false);
        let summary = details.query_selector("summary").ok().flatten();
        if let Some(summary) = summary.and_then(|summary| summary.dyn_into::<web_sys::HtmlElement>().ok()) {
            summary.focus().ok();
        }
        true
    };
    let holds = |details: &web_sys::Node, target: Option<web_sys::EventTarget>| {
        details.contains(target.and_then(|target| target.dyn_into::<web_sys::Node>().ok()).as_ref())
    };
    Effect::new(move |_| {
        let outside = window_event_listener(leptos::ev::pointerdown, move |event| {
            if let Some(details) = node.get_untracked()
                && !holds(&details, event.target())
            {
                details.set_open(false);
            }
        });
        on_cleanup(move || outside.remove());
    });
    let on_key = move |event: web_sys::KeyboardEvent| {
        if event.key() == "Escape" && close() {
            event.stop_propagation();
        }
    };
    let on_leave = move |event: web_sys::FocusEvent| {
        let to = event.related_target();
        if let Some(details) = node.get_untracked()
            && to.is_some()
            && !holds(&details, to)
        {
            details.set_open(false);
        }
    };
    view! {
        <details class="menu" name="menu" node_ref=node on:keydown=on_key on:focusout=on_leave>
            <summary class="icon-button" title=label.clone() aria-label=label><Glyph icon/></summary>
            <div class="menu-items" on:click=move |_| { close(); }>{children()}</div>
        </details>
    }
    .into_any()
}
