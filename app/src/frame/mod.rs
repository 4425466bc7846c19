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

/// The project named by the address, on every page below `/projects/`.
pub fn current_slug() -> Memo<Option<String>> {
    let location = use_location();
    Memo::new(move |_| {
        let path = location.pathname.get();
        let slug = path.strip_prefix("/projects/")?.split('/').next()?;
        (!slug.is_empty()).then(|| slug.to_owned())
    })
}

#[component]
pub fn Frame() -> impl IntoView {
    #[cfg(feature = "ssr")]
    send_strangers_to_sign_in();
    let drawer = RwSignal::new(false);
    let location = use_location();
    // A link in the drawer leads somewhere: the drawer has done its work.
    Effect::new(move |_| {
        location.pathname.track();
        drawer.set(false);
    });
    let visitor = Resource::new(|| (), |()| me());
    view! {
        <a class="skip" href="#content">{say!(frame.skip)}</a>
        <div class="frame" class:drawer-open=drawer
            on:keydown=move |event| if event.key() == "Escape" { drawer.set(false) }>
            <Suspense>
                {move || Suspend::new(async move {
                    let me: Option<Me> = visitor.await.ok().flatten();
                    view! { <Rail me/> }
                })}
            </Suspense>
            <button type="button" class="drawer-shade" tabindex="-1" aria-hidden="true"
                on:click=move |_| drawer.set(false)></button>
            <div class="frame-main">
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
