//! The edge at which refusals get into the audit log: it stands around everything that people reach - pages, server
//! functions, the API, git and its hooks - and sees what `authorise` noted and what was answered. Live sockets outlive
//! their request, and bring what was refused in them themselves.

use super::Web;
use any_spawner::{CustomExecutor, Executor, PinnedFuture, PinnedLocalFuture};
use axum::{
    extract::{MatchedPath, Request, State},
    http::{Method, StatusCode},
    middleware::Next,
    response::Response,
};
use odooops::audit;

pub async fn write_down(State(web): State<Web>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    // Never the query: it may hold what is secret.
    let path = match request.extensions().get::<MatchedPath>() {
        Some(matched) => matched.as_str().to_owned(),
        None => request.uri().path().chars().take(200).collect(),
    };
    let (response, refused) = audit::noting(next.run(request)).await;
    if !refused.is_empty() && was_refused(&method, response.status()) {
        web.refusals.write_down(refused, &format!("{method} {path}"));
    }
    response
}

/// Pages look for more than they may show, and are answered all the same. Who wanted to change something is always
/// told, but not always by the status: forms without script are sent back to their page, and git reads lines.
fn was_refused(method: &Method, status: StatusCode) -> bool {
    !method.is_safe() || matches!(status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND)
}

/// Pages load what they show in tasks of their own. What is refused there belongs to the request of the page.
struct PageTasks;

impl CustomExecutor for PageTasks {
    fn spawn(&self, task: PinnedFuture<()>) {
        tokio::spawn(audit::noting_along(task));
    }

    fn spawn_local(&self, task: PinnedLocalFuture<()>) {
        tokio::task::spawn_local(audit::noting_along(task));
    }

    fn poll_local(&self) {}
}

/// Before the first page: Leptos takes Tokio as it is otherwise.
pub fn follow_pages() {
    // A process has one executor; it is this one already when another router was made before.
    let _ = Executor::init_custom_executor(PageTasks);
}
