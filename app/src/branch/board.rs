//! The board: a column per stage, live, with everything that floats above it.

use super::{
    api::{MoveBranch, Rebuild, SetBuildOnPush},
    ask::{Ask, AskDialog},
    column::Column,
    drag::{Ghost, follow_pointer},
    keys,
    rebuild::{self, RebuildDialog},
    state::BoardState,
};
use crate::{
    error::Fault,
    live::{Live, Topic},
    say,
    ui::{CopyButton, Empty, Refusal, arrive, asked_by_address},
};
use leptos::{html, prelude::*};
use leptos_router::hooks::use_query_map;
use odooops::branch::{Board, Stage};

#[component]
pub fn BoardView(board: Board) -> impl IntoView {
    let name = board.name.clone();
    let (clone_url, remote_url) = (board.clone_url.clone(), board.remote_url.clone());
    let state = BoardState::new(board);
    provide_context(state);
    state.ask.set(Ask::of_query(&use_query_map().read_untracked()));
    state.rebuilding.set(asked_by_address(rebuild::ASK));
    Effect::new(move |_| {
        Live::get()
            .subscribe(Topic::Board(state.project_id()), None, move |board: Board| state.receive(board));
    });
    arrive();
    let surface: NodeRef<html::Div> = NodeRef::new();
    follow_pointer(state, surface);
    let alone = Memo::new(move |_| state.is_empty());
    view! {
        <header class="page-head">
            <div>
                <h1>{name}</h1>
                <Source remote_url=remote_url.clone() clone_url=clone_url.clone()/>
            </div>
        </header>
        {move || state.fetch_error().map(|reason| view! {
            <p class="notice" role="status" data-testid="fetch-error">
                {say!(board.fetch_failed, reason = reason).to_string()}
            </p>
        })}
        {refused().map(|fault| view! { <Refusal error=fault.0/> })}
        {move || alone.get().then(|| match &remote_url {
            Some(url) => view! { <FirstFetch url=url.clone()/> }.into_any(),
            None => view! { <FirstPush clone_url=clone_url.clone()/> }.into_any(),
        })}
        <div class="board" node_ref=surface class:dragging=move || state.drag.with(Option::is_some)
            on:focusin=move |event| keys::note_focus(state, &event) data-testid="board">
            {Stage::ALL.map(|stage| view! { <Column stage/> }).collect_view()}
        </div>
        <p class="sr-only" id="drag-help">{say!(board.drag_help)}</p>
        <p class="sr-only" role="status" aria-live="assertive">{move || state.said.get()}</p>
        <Ghost/>
        <AskDialog/>
        <RebuildDialog/>
    }
    .into_any()
}

/// Without script a refused form comes back to this page with its reason.
fn refused() -> Option<Fault> {
    // Leptos keeps what the first address said; elsewhere it is old.
    use_query_map().read_untracked().get("__err")?;
    let moved = ServerAction::<MoveBranch>::new().value().get_untracked().and_then(Result::err);
    let rebuilt = || ServerAction::<Rebuild>::new().value().get_untracked().and_then(Result::err);
    let set = || ServerAction::<SetBuildOnPush>::new().value().get_untracked().and_then(Result::err);
    moved.or_else(rebuilt).or_else(set)
}

/// Where the code comes from: the project's own repository to push to, or another that is followed.
#[component]
fn Source(remote_url: Option<String>, clone_url: String) -> impl IntoView {
    let followed = remote_url.is_some();
    let url = remote_url.unwrap_or(clone_url);
    view! {
        <p class="clone muted">
            {followed.then(|| view! { <span>{say!(board.fetched_from)}</span> })}
            <span class="clone-url">
                <code class="truncate">{url.clone()}</code>
                <CopyButton text=url label=say!(board.copy_url)/>
            </span>
            {followed.then(|| view! { <span>{say!(board.fetched_when)}</span> })}
        </p>
    }
    .into_any()
}

/// An empty project that follows another repository: nothing can be pushed here.
#[component]
fn FirstFetch(url: String) -> impl IntoView {
    let commands = format!("git push {url} main");
    view! {
        <Empty title=say!(board.empty_followed_title) text=say!(board.empty_followed)>
            <div class="command">
                <pre>{commands.clone()}</pre>
                <CopyButton text=commands label=say!(board.copy_commands)/>
            </div>
        </Empty>
    }
    .into_any()
}

/// An empty project says how the first branch gets here.
#[component]
fn FirstPush(clone_url: String) -> impl IntoView {
    let commands = format!("git remote add odooops {clone_url}\ngit push odooops main");
    view! {
        <Empty title=say!(board.empty_title) text=say!(board.empty)>
            <div class="command">
                <pre>{commands.clone()}</pre>
                <CopyButton text=commands label=say!(board.copy_commands)/>
            </div>
        </Empty>
    }
}
