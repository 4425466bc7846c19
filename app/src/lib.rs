//! The console.

pub mod live;
#[cfg(feature = "ssr")]
pub mod state;

use leptos::prelude::*;
use leptos_meta::{HashedStylesheet, MetaTags, provide_meta_context};
use leptos_router::{
    Lazy, LazyRoute,
    components::{Route, Router, Routes},
    lazy_route, path,
};

pub fn shell(options: LeptosOptions) -> impl IntoView {
    view! {
        <!DOCTYPE html>
        <html lang="en">
            <head>
                <meta charset="utf-8"/>
                <HashedStylesheet options=options.clone() id="leptos"/>
                <HydrationScripts options/>
                <MetaTags/>
            </head>
            <body><App/></body>
        </html>
    }
}

#[component]
pub fn App() -> impl IntoView {
    provide_meta_context();
    view! {
        <Router>
            <Routes fallback=|| "Not found">
                <Route path=path!("/") view=Home/>
                <Route path=path!("/lazy") view={Lazy::<LazyPage>::new()}/>
            </Routes>
        </Router>
    }
}

#[component]
fn Home() -> impl IntoView {
    let n = RwSignal::new(0);
    view! { <a href="/lazy">"lazy"</a><button on:click=move |_| n.update(|n| *n += 1)>{n}</button> }
}

#[derive(Clone)]
struct LazyPage;

#[lazy_route]
impl LazyRoute for LazyPage {
    fn data() -> Self {
        Self
    }
    fn view(_this: Self) -> AnyView {
        let n = RwSignal::new(0);
        view! { <p class="p-4 bg-bg">"Lazy "</p><button on:click=move |_| n.update(|n| *n += 1)>{n}</button> }.into_any()
    }
}

#[cfg(feature = "hydrate")]
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn hydrate() {
    console_error_panic_hook::set_once();
    leptos::mount::hydrate_lazy(App);
}
