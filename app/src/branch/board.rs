//! The board: a column per stage, live, with everything that floats above it.

use super::{
    api::MoveBranch,
    ask::{Ask, AskDialog},
    column::Column,
    drag::{Ghost, follow_pointer},
    keys,
    state::BoardState,
};
use crate::{
    live::{Live, Topic},
    say,
    ui::{CopyButton, Empty, Failure},
};
use leptos::{html, prelude::*};
use leptos_router::hooks::use_query_map;
use odooops::branch::{Board, Stage};

#[component]
pub fn BoardView(board: Board) -> impl IntoView {
    let name = board.name.clone();
    let clone_url = board.clone_url.clone();
    let state = BoardState::new(board);
    provide_context(state);
    state.ask.set(Ask::of_query(&use_query_map().read_untracked()));
    Effect::new(move |_| {
        Live::get()
            .subscribe(Topic::Board(state.project_id()), None, move |board: Board| state.receive(board));
    });
    let surface: NodeRef<html::Div> = NodeRef::new();
    follow_pointer(state, surface);
    // Without script a refused move comes back to this page with its reason.
    let refused = ServerAction::<MoveBranch>::new().value().get_untracked().and_then(Result::err);
    let alone = Memo::new(move |_| state.is_empty());
    view! {
        <header class="page-head">
            <div>
                <h1>{name}</h1>
                <p class="clone muted"><code class="truncate">{clone_url.clone()}</code>
                    <CopyButton text=clone_url.clone() label=say!(board.copy_url)/></p>
            </div>
        </header>
        {refused.map(|fault| view! { <Failure error=fault.0/> })}
        {move || alone.get().then(|| view! { <FirstPush clone_url=clone_url.clone()/> })}
        <div class="board" node_ref=surface class:dragging=move || state.drag.with(Option::is_some)
            on:focusin=move |event| keys::note_focus(state, &event) data-testid="board">
            {Stage::ALL.map(|stage| view! { <Column stage/> }).collect_view()}
        </div>
        <p class="sr-only" id="drag-help">{say!(board.drag_help)}</p>
        <p class="sr-only" role="status" aria-live="assertive">{move || state.said.get()}</p>
        <Ghost/>
        <AskDialog/>
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
