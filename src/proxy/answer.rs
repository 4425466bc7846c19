//! The words of the proxy's own pages. English only: they are shown when nothing that knows the reader answers.

use super::{
    Route,
    page::{Mood, Page},
};
use crate::{environment::EnvironmentState, urls::Urls};
use http::StatusCode;

pub fn bad_request() -> Page {
    Page::new(
        StatusCode::BAD_REQUEST,
        Mood::Broken,
        "proxy.bad_request",
        "This address cannot be read",
        "The request names no valid host. Check the address for typing errors.",
    )
}

pub fn method_not_allowed() -> Page {
    Page::new(
        StatusCode::METHOD_NOT_ALLOWED,
        Mood::Broken,
        "proxy.method_not_allowed",
        "This is no open proxy",
        "Tunnels to other servers are not offered here.",
    )
}

pub fn foreign_host(urls: &Urls) -> Page {
    Page::new(
        StatusCode::NOT_FOUND,
        Mood::Missing,
        "proxy.unknown_host",
        "Nothing lives at this address",
        "This server knows no site of that name.",
    )
    .link(urls.console(), "Open the console")
}

pub fn unknown_environment(label: &str, urls: &Urls) -> Page {
    let text = format!(
        "There is no environment {label}. It may have been removed, or replaced by a newer build of its branch."
    );
    Page::new(StatusCode::NOT_FOUND, Mood::Missing, "proxy.unknown_environment", "No such environment", &text)
        .link(urls.console(), "Open the console")
}

/// The environment is known and not to be dialled.
pub fn not_running(route: &Route, urls: &Urls) -> Page {
    let (mood, code, title, text, retry) = match route.state {
        // Running without an address: its container is being replaced.
        EnvironmentState::Building | EnvironmentState::Running => (
            Mood::Waiting,
            "proxy.building",
            "This environment is being built",
            "It opens here as soon as its build is green.",
            Some(3),
        ),
        EnvironmentState::Stopped => (
            Mood::Missing,
            "proxy.stopped",
            "This environment is stopped",
            "Its data is kept. Start it from the console.",
            None,
        ),
        EnvironmentState::Failed => {
            (Mood::Broken, "proxy.failed", "This environment failed", "Its log tells why.", None)
        }
        EnvironmentState::Destroying | EnvironmentState::Destroyed => (
            Mood::Missing,
            "proxy.removed",
            "This environment was removed",
            "Open the board for the newest build of its branch.",
            None,
        ),
    };
    let page = Page::new(StatusCode::SERVICE_UNAVAILABLE, mood, code, title, text);
    let page = match retry {
        Some(seconds) => page.retry(seconds),
        None => page,
    };
    with_build(page, route, urls)
}

pub fn environment_unreachable(route: &Route, urls: &Urls) -> Page {
    let page = Page::new(
        StatusCode::BAD_GATEWAY,
        Mood::Waiting,
        "proxy.unreachable",
        "Odoo does not answer",
        "The environment is restarting or has stopped. Its log tells more.",
    );
    with_build(page.retry(3), route, urls)
}

pub fn environment_slow(route: &Route, urls: &Urls) -> Page {
    let page = Page::new(
        StatusCode::GATEWAY_TIMEOUT,
        Mood::Broken,
        "proxy.timeout",
        "Odoo took too long",
        "The request was given up. Odoo may still be working on it.",
    );
    with_build(page, route, urls)
}

pub fn environment_busy(route: &Route, urls: &Urls) -> Page {
    let page = Page::new(
        StatusCode::SERVICE_UNAVAILABLE,
        Mood::Waiting,
        "proxy.busy",
        "This environment has too much to do",
        "It has as many requests under way as one environment may have.",
    );
    with_build(page.retry(5), route, urls)
}

pub fn console_restarting() -> Page {
    Page::new(
        StatusCode::SERVICE_UNAVAILABLE,
        Mood::Waiting,
        "proxy.console_restarting",
        "The console is restarting",
        "Environments and builds are not affected.",
    )
    .retry(2)
}

pub fn console_slow() -> Page {
    Page::new(
        StatusCode::GATEWAY_TIMEOUT,
        Mood::Broken,
        "proxy.timeout",
        "The console took too long",
        "The request was given up.",
    )
}

fn with_build(page: Page, route: &Route, urls: &Urls) -> Page {
    match route.run_id {
        Some(run) => page.link(urls.run(&route.project, run), "Open its build"),
        None => page.link(urls.console(), "Open the console"),
    }
}
