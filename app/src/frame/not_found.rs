use crate::{
    say,
    ui::{Glyph, Icon},
};
use leptos::prelude::*;
use leptos_meta::Title;

#[component]
pub fn NotFoundPage() -> impl IntoView {
    #[cfg(feature = "ssr")]
    crate::request::set_status(404);
    view! {
        <Title text=say!(frame.not_found.title)/>
        <main class="alone">
            <section class="failure">
                <Glyph icon=Icon::Info/>
                <h1>{say!(frame.not_found.title)}</h1>
                <p>{say!(frame.not_found.why)}</p>
                <a class="button primary" href="/">{say!(frame.not_found.back)}</a>
            </section>
        </main>
    }
}
