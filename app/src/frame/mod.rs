//! What stands around every page: rail, top bar, and the pages for what is not there.

mod not_found;
mod rail;
mod top_bar;

pub use not_found::NotFoundPage;

use crate::{say, session::me};
use leptos::prelude::*;
use leptos_router::{components::Outlet, hooks::use_location};
use odooops::user::Me;
use rail::Rail;
use top_bar::TopBar;
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

/// The project named by the address, on every page below `/projects/`.
pub fn current_slug() -> Memo<Option<String>> {
    let location = use_location();
    Memo::new(move |_| {
        let path = location.pathname.get();
        let slug = path.strip_prefix("/projects/")?.split('/').next()?;
        (!slug.is_empty()).then(|| slug.to_owned())
    })
}

/// The navigation on narrow screens: over the page, which does not answer while it is open.
#[derive(Clone, Copy)]
pub struct Drawer {
    open: RwSignal<bool>,
}

impl Drawer {
    fn new() -> Self {
        Self { open: RwSignal::new(false) }
    }

    fn is_open(self) -> bool {
        self.open.get()
    }

    fn pull_out(self) {
        self.open.set(true);
        focus_on("#rail .drawer-close");
    }

    /// The focus goes back to where it was opened.
    fn put_away(self) {
        if self.open.get_untracked() {
            self.open.set(false);
            focus_on(".drawer-open-button");
        }
    }
}

/// After what is shown has changed: what is hidden or inert takes no focus.
fn focus_on(selector: &'static str) {
    request_animation_frame(move || {
        let element = document().query_selector(selector).ok().flatten();
        if let Some(element) = element.and_then(|element| element.dyn_into::<HtmlElement>().ok()) {
            element.focus().ok();
        }
    });
}

#[component]
pub fn Frame() -> impl IntoView {
    #[cfg(feature = "ssr")]
    send_strangers_to_sign_in();
    let drawer = Drawer::new();
    let pathname = use_location().pathname;
    // Another page: the drawer has done its work, and reading begins at the content. The first page comes as it is.
    Effect::new(move |first: Option<()>| {
        pathname.track();
        if first.is_some() {
            drawer.open.set(false);
            focus_on("#content");
        }
    });
    let visitor = Resource::new(|| (), |()| me());
    view! {
        <a class="skip" href="#content">{say!(frame.skip)}</a>
        <div class="frame" class:drawer-open=drawer.open
            on:keydown=move |event| if event.key() == "Escape" { drawer.put_away() }>
            <Suspense>
                {move || Suspend::new(async move {
                    let me: Option<Me> = visitor.await.ok().flatten();
                    view! { <Rail me drawer/> }
                })}
            </Suspense>
            <button type="button" class="drawer-shade" tabindex="-1" aria-hidden="true"
                on:click=move |_| drawer.put_away()></button>
            <div class="frame-main" inert=drawer.open>
                <TopBar drawer/>
                <main id="content" tabindex="-1"><Outlet/></main>
            </div>
        </div>
    }
    .into_any()
}

/// Where they come back to after signing in is not kept: a sign-in link leads to the projects.
#[cfg(feature = "ssr")]
fn send_strangers_to_sign_in() {
    use crate::state::AppState;
    // Without its state this is the listing of routes at start, not a request.
    if use_context::<AppState>().is_some() && crate::request::me().is_none() {
        leptos_axum::redirect("/sign-in");
    }
}
