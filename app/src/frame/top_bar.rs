use super::Drawer;
use crate::{
    live::{Link, Live},
    say,
    ui::{Glyph, Icon},
};
use leptos::prelude::*;
use leptos_router::hooks::use_location;

/// The way to this page as its address tells it: text, and where it leads unless one is there.
fn crumbs(path: &str) -> Vec<(String, Option<String>)> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    if path.starts_with("/admin") {
        let page = match parts.nth(1) {
            Some("queue") => say!(frame.queue),
            Some("hosts") => say!(frame.hosts),
            Some("schedules") => say!(frame.schedules),
            _ => say!(frame.status),
        };
        return vec![(say!(frame.platform).to_owned(), None), (page.to_owned(), None)];
    }
    let mut way = vec![(say!(frame.projects).to_owned(), Some("/".to_owned()))];
    if let (Some("projects"), Some(slug)) = (parts.next(), parts.next()) {
        let board = format!("/projects/{slug}");
        way.push((slug.to_owned(), Some(board.clone())));
        match (parts.next(), parts.next()) {
            (Some("builds"), Some(_)) => {
                way.push((say!(frame.builds).to_owned(), Some(format!("{board}/builds"))));
                way.push((say!(frame.build).to_owned(), None));
            }
            (Some("schedules"), _) => way.push((say!(frame.schedules).to_owned(), None)),
            (Some("builds"), None) => way.push((say!(frame.builds).to_owned(), None)),
            _ => {}
        }
    }
    if let Some((_, href)) = way.last_mut() {
        *href = None;
    }
    way
}

#[component]
pub fn TopBar(drawer: Drawer) -> impl IntoView {
    let location = use_location();
    let way = Memo::new(move |_| crumbs(&location.pathname.get()));
    let step = |(text, href): (String, Option<String>)| match href {
        Some(href) => view! { <li><a href=href>{text}</a></li> }.into_any(),
        None => view! { <li aria-current="page">{text}</li> }.into_any(),
    };
    view! {
        <header class="top-bar">
            <button type="button" class="icon-button only-narrow needs-script drawer-open-button" aria-controls="rail"
                aria-expanded=move || drawer.is_open().to_string() aria-label=say!(frame.open_navigation)
                on:click=move |_| drawer.pull_out()>
                <Glyph icon=Icon::Menu/>
            </button>
            <nav aria-label=say!(frame.breadcrumbs)>
                <ol class="crumbs">{move || way.get().into_iter().map(step).collect_view()}</ol>
            </nav>
            <LiveLight/>
        </header>
        <Outdated/>
        <LiveEnd/>
    }
    .into_any()
}

#[component]
fn LiveLight() -> impl IntoView {
    let live = Live::get();
    let look = move || match live.link() {
        Link::Idle | Link::SignedOut | Link::Refused => None,
        Link::Connecting => {
            Some(("connecting", say!(frame.live.connecting), say!(frame.live_title.connecting)))
        }
        Link::Online => Some(("online", say!(frame.live.online), say!(frame.live_title.online))),
        Link::Offline => Some(("offline", say!(frame.live.offline), say!(frame.live_title.offline))),
    };
    view! {
        <div class="live" role="status" data-testid="live">
            {move || look().map(|(state, name, title)| view! {
                <span class=format!("live-light {state}") title=title>{name}</span>
            })}
        </div>
    }
}

/// The live connection ended for good: what this page shows grows old.
#[component]
fn LiveEnd() -> impl IntoView {
    let live = Live::get();
    move || {
        let (why, what) = match (live.link(), live.is_denied()) {
            (Link::SignedOut, _) => (say!(frame.signed_out), say!(frame.failure.sign_in)),
            (Link::Refused, _) | (_, true) => (say!(frame.live_ended), say!(frame.reload)),
            _ => return None,
        };
        Some(
            view! { <p class="notice" role="alert" data-testid="live-end">{why}" "<a href="" rel="external">{what}</a></p> },
        )
    }
}

/// The server became another build while this page was open.
#[component]
fn Outdated() -> impl IntoView {
    let live = Live::get();
    let outdated = Memo::new(move |_| {
        let Some(server) = live.server_build() else { return false };
        page_build().is_some_and(|page| page != server)
    });
    move || {
        outdated.get().then(|| {
            view! {
                <p class="notice" role="status">
                    {say!(frame.outdated)} <a href="" rel="external">{say!(frame.reload)}</a>
                </p>
            }
        })
    }
}

fn page_build() -> Option<String> {
    let meta = document().query_selector("meta[name=ops-build]").ok()??;
    meta.get_attribute("content").filter(|build| !build.is_empty())
}

#[cfg(test)]
mod tests {
    use super::crumbs;

    #[test]
    fn the_way_ends_where_one_is() {
        let way = |path: &str| {
            crumbs(path)
                .into_iter()
                .map(|(text, href)| format!("{text}>{}", href.unwrap_or_default()))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(way("/"), "Projects>");
        assert_eq!(way("/projects/demo"), "Projects>/ demo>");
        assert_eq!(way("/admin/queue"), "Platform> Queue>");
        assert_eq!(way("/projects/demo/builds"), "Projects>/ demo>/projects/demo Builds>");
        assert_eq!(
            way("/projects/demo/builds/1"),
            "Projects>/ demo>/projects/demo Builds>/projects/demo/builds Build>"
        );
    }
}
