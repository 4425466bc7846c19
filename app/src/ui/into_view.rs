//! Scrolling to what one is led to.

use leptos::prelude::*;
use leptos_router::hooks::use_location;
use web_sys::{Element, ScrollIntoViewOptions};

/// Shows what the address names after `#`, once it is there: the router looks before a page has its data.
pub fn arrive() {
    let hash = use_location().hash;
    Effect::new(move |_| {
        let hash = hash.get();
        let Ok(name) = js_sys::decode_uri_component(hash.trim_start_matches('#')) else { return };
        let name = String::from(name);
        if name.is_empty() {
            return;
        }
        request_animation_frame(move || {
            if let Some(element) = document().get_element_by_id(&name) {
                element.scroll_into_view();
                element.class_list().add_1("arrived").ok();
            }
        });
    });
}

/// Scrolls as little as it takes to see the element whole.
pub fn bring_into_view(element: &Element) {
    let options = ScrollIntoViewOptions::new();
    js_sys::Reflect::set(&options, &"block".into(), &"nearest".into()).ok();
    element.scroll_into_view_with_scroll_into_view_options(&options);
}

/// What the address of the board ends with to show a branch.
pub fn branch_anchor(branch: &str) -> String {
    format!("branch-{branch}")
}
