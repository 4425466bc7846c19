//! Light, dark, or like the system. The choice is a cookie, so that the server renders the page in it and nothing
//! flashes. Colours are CSS `light-dark()` pairs: the theme is only the root's `color-scheme`.

use super::{Glyph, Icon};
use crate::say;
use leptos::prelude::*;

const COOKIE: &str = "theme";

/// What the page's root says: "light", "dark", or nothing.
pub fn theme_of_request() -> Option<&'static str> {
    #[cfg(feature = "ssr")]
    return crate::request::cookie(COOKIE).and_then(|theme| known(&theme));
    #[cfg(not(feature = "ssr"))]
    None
}

fn known(theme: &str) -> Option<&'static str> {
    ["light", "dark"].into_iter().find(|known| *known == theme)
}

/// What the page shows now.
fn current() -> Option<&'static str> {
    #[cfg(feature = "ssr")]
    return theme_of_request();
    #[cfg(not(feature = "ssr"))]
    document()
        .document_element()
        .and_then(|root| root.get_attribute("data-theme"))
        .and_then(|theme| known(&theme))
}

fn choose(theme: Option<&'static str>) {
    let Some(root) = document().document_element() else { return };
    match theme {
        Some(theme) => root.set_attribute("data-theme", theme).ok(),
        None => root.remove_attribute("data-theme").ok(),
    };
    let age = if theme.is_some() { 31_536_000 } else { 0 };
    let cookie = format!("{COOKIE}={}; Path=/; Max-Age={age}; SameSite=Lax", theme.unwrap_or_default());
    let page: wasm_bindgen::JsValue = document().into();
    js_sys::Reflect::set(&page, &"cookie".into(), &cookie.into()).ok();
}

#[component]
pub fn ThemeSwitch() -> impl IntoView {
    let theme = RwSignal::new(current());
    let choices = [
        (Some("light"), Icon::Sun, say!(ui.theme.light)),
        (Some("dark"), Icon::Moon, say!(ui.theme.dark)),
        (None, Icon::Monitor, say!(ui.theme.system)),
    ];
    view! {
        <div class="segments needs-script" role="group" aria-label=say!(ui.theme.label)>
            {choices
                .into_iter()
                .map(|(choice, icon, name)| {
                    view! {
                        <button type="button" title=name aria-label=name
                            aria-pressed=move || (theme.get() == choice).to_string()
                            on:click=move |_| { choose(choice); theme.set(choice) }>
                            <Glyph icon/>
                        </button>
                    }
                })
                .collect_view()}
        </div>
    }
}
