//! A native `<dialog>`: the browser keeps focus inside, closes on Escape and gives it back. Rendered open by the
//! server where it is already asked for, so that it also works without script.

use super::{Glyph, Icon};
use crate::say;
use leptos::{html, prelude::*};
use wasm_bindgen::JsCast;
use web_sys::HtmlDialogElement;

#[component]
pub fn Dialog(
    #[prop(into)] title: String,
    /// Escape, the cross, or a click beside it.
    on_close: Callback<()>,
    /// Where the cross leads without script.
    #[prop(into)]
    close_href: String,
    children: Children,
) -> impl IntoView {
    let node: NodeRef<html::Dialog> = NodeRef::new();
    Effect::new(move |_| {
        let Some(dialog) = node.get() else { return };
        let dialog: &HtmlDialogElement = dialog.as_ref();
        // The server's `open` shows it without the rest of the page being held back.
        dialog.remove_attribute("open").ok();
        dialog.show_modal().ok();
    });
    // One that is only taken away does not give the focus back.
    on_cleanup(move || {
        if let Some(dialog) = node.try_get_untracked().flatten() {
            dialog.close();
        }
    });
    // Text is selected from inside to outside: only a press that began beside it closes.
    let pressed_beside = StoredValue::new(false);
    let press = move |event: web_sys::PointerEvent| pressed_beside.set_value(is_dialog(event.target()));
    let release = move |event: web_sys::MouseEvent| {
        if pressed_beside.get_value() && is_dialog(event.target()) {
            on_close.run(());
        }
    };
    view! {
        <dialog node_ref=node class="dialog" open aria-labelledby="dialog-title" on:pointerdown=press on:click=release
            on:cancel=move |event: web_sys::Event| { event.prevent_default(); on_close.run(()) }>
            <div class="dialog-body">
                <header class="dialog-head">
                    <h2 id="dialog-title">{title}</h2>
                    <a href=close_href class="icon-button" aria-label=say!(ui.close)
                        on:click=move |event| { event.prevent_default(); on_close.run(()) }>
                        <Glyph icon=Icon::X/>
                    </a>
                </header>
                {children()}
            </div>
        </dialog>
    }
    .into_any()
}

/// The dialog itself, not what is in it: its body fills it, so that is what lies behind.
fn is_dialog(target: Option<web_sys::EventTarget>) -> bool {
    target.is_some_and(|target| target.has_type::<HtmlDialogElement>())
}
