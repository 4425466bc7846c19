//! Building a branch's latest commit again. For production this is asked first: by an address, so that it is asked
//! without script too.

use super::{api, menu::Hidden, state::BoardState};
use crate::{
    say,
    ui::{BeginsFresh, Glyph, Icon, Question},
};
use leptos::prelude::*;
use odooops::{
    branch::{BranchCard, Stage},
    id::BranchId,
};

/// The address's word for it.
pub const ASK: &str = "rebuild";

#[component]
pub fn RebuildEntry(id: BranchId) -> impl IntoView {
    let state = BoardState::get();
    let card = state.card(id);
    let is_production = Memo::new(move |_| {
        card.with(|card| card.as_ref().is_some_and(|card| card.stage == Stage::Production))
    });
    let now = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        state.rebuild(id);
    };
    let ask = move |event: web_sys::MouseEvent| {
        event.prevent_default();
        state.rebuilding.set(Some(id));
    };
    move || {
        if is_production.get() {
            return view! {
                <a class="menu-item" href=format!("?{ASK}={id}") on:click=ask>
                    <Glyph icon=Icon::RefreshCw/>{say!(ui.rebuild_production.ask)}
                </a>
            }
            .into_any();
        }
        view! {
            <form method="post" action="/api/console/branch/rebuild" on:submit=now>
                <Hidden id/>
                <button type="submit" class="menu-item"><Glyph icon=Icon::RefreshCw/>{say!(board.rebuild)}</button>
            </form>
        }
        .into_any()
    }
}

#[component]
pub fn RebuildDialog() -> impl IntoView {
    let state = BoardState::get();
    move || {
        let id = state.rebuilding.get()?;
        // What was true when the question came up.
        let card = untrack(|| state.find(id)).filter(|card| card.stage == Stage::Production)?;
        Some(view! { <ProductionDialog card/> })
    }
}

#[component]
fn ProductionDialog(card: BranchCard) -> impl IntoView {
    let state = BoardState::get();
    let action = ServerAction::<api::Rebuild>::new();
    let close = Callback::new(move |()| state.rebuilding.set(None));
    let then = Callback::new(move |()| state.refresh());
    let done = say!(board.done.rebuild, branch = card.name.to_string()).to_string();
    view! {
        <Question title=say!(ui.rebuild_production.title) action yes=say!(ui.rebuild_production.yes) done
            page=format!("/projects/{}", state.slug()) testid="ask-production" on_close=close then>
            <Hidden id=card.id/><p>{say!(ui.rebuild_production.text)}</p><BeginsFresh/>
        </Question>
    }
    .into_any()
}
