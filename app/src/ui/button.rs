use super::{Glyph, Icon, Toasts};
use crate::say;
use leptos::{prelude::*, task::spawn_local};

/// Puts text on the clipboard and says so; where the browser refuses, shows the text to copy by hand.
pub fn copy(text: String) {
    let toasts = Toasts::get();
    let copied = say!(ui.copied).to_string();
    let refused = say!(ui.copy_failed).to_string();
    spawn_local(async move {
        let clipboard = window().navigator().clipboard();
        // Undefined outside of secure contexts.
        let done = if wasm_bindgen::JsValue::from(clipboard.clone()).is_undefined() {
            false
        } else {
            wasm_bindgen_futures::JsFuture::from(clipboard.write_text(&text)).await.is_ok()
        };
        if done { toasts.done(copied) } else { toasts.failed(refused, text) }
    });
}

#[component]
pub fn CopyButton(#[prop(into)] text: String, #[prop(into)] label: String) -> impl IntoView {
    view! {
        <button type="button" class="icon-button needs-script" title=label.clone() aria-label=label
            on:click=move |_| copy(text.clone())>
            <Glyph icon=Icon::Copy/>
        </button>
    }
}
