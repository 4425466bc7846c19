use super::{Drawer, current_slug};
use crate::{
    say,
    ui::{Avatar, Glyph, Icon, ThemeSwitch},
};
use leptos::prelude::*;
use leptos_router::{components::A, hooks::use_location};
use odooops::user::Me;

#[component]
pub fn Rail(me: Option<Me>, drawer: Drawer) -> impl IntoView {
    let slug = current_slug();
    let location = use_location();
    let part = Memo::new(move |_| location.pathname.get().split('/').nth(3).map(str::to_owned));
    let links = move || {
        slug.get().map(|slug| {
            let board = format!("/projects/{slug}");
            let current = move |page: Option<&str>| part.with(|part| (part.as_deref() == page).then_some("page"));
            view! {
                <p class="rail-project" title=slug.clone()>{slug.clone()}</p>
                <a class="rail-link" href=board.clone() aria-current=move || current(None)>
                    <Glyph icon=Icon::SquareKanban/>{say!(frame.board)}
                </a>
                <a class="rail-link" href=format!("{board}/builds") aria-current=move || current(Some("builds"))>
                    <Glyph icon=Icon::Hammer/>{say!(frame.builds)}
                </a>
                <a class="rail-link" href=format!("{board}/schedules") aria-current=move || current(Some("schedules"))>
                    <Glyph icon=Icon::CalendarClock/>{say!(frame.schedules)}
                </a>
            }
        })
    };
    view! {
        <nav class="rail" id="rail" aria-label=say!(frame.navigation)>
            <div class="rail-head">
                <a class="rail-brand" href="/"><span class="rail-logo" aria-hidden="true"></span>{say!(frame.product)}</a>
                <button type="button" class="icon-button only-narrow needs-script drawer-close"
                    title=say!(frame.close_navigation) aria-label=say!(frame.close_navigation)
                    on:click=move |_| drawer.put_away()>
                    <Glyph icon=Icon::X/>
                </button>
            </div>
            <A attr:class="rail-link" href="/" exact=true><Glyph icon=Icon::FolderGit2/>{say!(frame.projects)}</A>
            {links}
            {me.as_ref().is_some_and(|me| me.platform_admin).then(|| view! { <Platform/> })}
            <div class="rail-foot">
                <ThemeSwitch/>
                {me.map(|me| view! { <Account me/> })}
            </div>
        </nav>
    }
    .into_any()
}

/// Of the platform, for its administrators.
#[component]
fn Platform() -> impl IntoView {
    let pages = [
        ("/admin", Icon::Activity, say!(frame.status)),
        ("/admin/queue", Icon::ListOrdered, say!(frame.queue)),
        ("/admin/hosts", Icon::Server, say!(frame.hosts)),
        ("/admin/schedules", Icon::CalendarClock, say!(frame.schedules)),
    ];
    view! {
        <p class="rail-project">{say!(frame.platform)}</p>
        {pages.map(|(href, icon, name)| view! {
            <A attr:class="rail-link" href=href exact=true><Glyph icon/>{name}</A>
        })}
    }
    .into_any()
}

#[component]
fn Account(me: Me) -> impl IntoView {
    let role = me.platform_admin.then(|| say!(frame.administrator));
    view! {
        <div class="account">
            <Avatar name=me.name.clone()/>
            <div class="account-who" title=me.email>
                <span class="truncate">{me.name}</span>
                {role.map(|role| view! { <span class="muted small truncate">{role}</span> })}
            </div>
            <form method="post" action="/sign-out">
                <button class="icon-button" type="submit" title=say!(frame.sign_out) aria-label=say!(frame.sign_out)>
                    <Glyph icon=Icon::LogOut/>
                </button>
            </form>
        </div>
    }
}
