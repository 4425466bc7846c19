//! The routes. They read as a table; pages are rendered whole before they are sent, so that their status is right
//! and they are complete without script.

use crate::{
    admin::{HostsPage, QueuePage, StatusPage},
    branch::BoardPage,
    frame::{Frame, NotFoundPage},
    live::Live,
    project::ProjectsPage,
    run::{BuildPage, BuildsPage},
    schedule::{PlatformSchedulesPage, ProjectSchedulesPage},
    ui::{Now, ToastList, Toasts},
};
use leptos::prelude::*;
use leptos_meta::provide_meta_context;
use leptos_router::{
    Lazy, SsrMode,
    components::{ParentRoute, Route, Router, Routes},
    path,
};

#[component]
pub fn App() -> impl IntoView {
    provide_meta_context();
    Toasts::provide();
    Live::provide();
    Now::provide();
    // The next page's code is on its way.
    let (routing, set_routing) = signal(false);
    view! {
        <Router set_is_routing=set_routing>
            <div class="routing" class:on=routing aria-hidden="true"></div>
            <Routes fallback=NotFoundPage>
                <ParentRoute path=path!("") view=Frame ssr=SsrMode::Async>
                    <Route path=path!("/") view=ProjectsPage ssr=SsrMode::Async/>
                    <Route path=path!("/projects/:slug") view={Lazy::<BoardPage>::new()} ssr=SsrMode::Async/>
                    <Route path=path!("/projects/:slug/builds") view={Lazy::<BuildsPage>::new()} ssr=SsrMode::Async/>
                    <Route path=path!("/projects/:slug/builds/:run_id") view={Lazy::<BuildPage>::new()} ssr=SsrMode::Async/>
                    <Route path=path!("/projects/:slug/schedules") view={Lazy::<ProjectSchedulesPage>::new()} ssr=SsrMode::Async/>
                    <Route path=path!("/admin/schedules") view={Lazy::<PlatformSchedulesPage>::new()} ssr=SsrMode::Async/>
                    <Route path=path!("/admin") view={Lazy::<StatusPage>::new()} ssr=SsrMode::Async/>
                    <Route path=path!("/admin/queue") view={Lazy::<QueuePage>::new()} ssr=SsrMode::Async/>
                    <Route path=path!("/admin/hosts") view={Lazy::<HostsPage>::new()} ssr=SsrMode::Async/>
                </ParentRoute>
            </Routes>
        </Router>
        <ToastList/>
    }
}
