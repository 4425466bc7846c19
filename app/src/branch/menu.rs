//! Everything that can be done to a branch without dragging. Without script the entries are plain forms and links.

use super::{
    api::write_target,
    ask::Ask,
    rebuild::RebuildEntry,
    state::{BoardState, meaning_words},
};
use crate::{
    say,
    ui::{Glyph, Icon, Menu, copy, stage_icon, stage_name},
};
use leptos::prelude::*;
use odooops::{
    branch::{BranchName, Move, OnPush, Stage, Target},
    id::BranchId,
};

#[component]
pub fn CardMenu(id: BranchId) -> impl IntoView {
    let state = BoardState::get();
    let name = state.find(id).map(|card| card.name);
    let label = say!(board.menu_of, branch = name.as_ref().map(BranchName::to_string).unwrap_or_default())
        .to_string();
    let clone = name.map(|name| format!("git clone --branch {name} {}", state.source()));
    let merge = Ask::any(id);
    view! {
        <Menu label=label>
            <RebuildEntry id/>
            <button type="button" class="menu-item needs-script"
                on:click=move |_| if let Some(clone) = &clone { copy(clone.clone()) }>
                <Glyph icon=Icon::Copy/>{say!(board.copy_clone)}
            </button>
            <OnPushEntry id/>
            <hr/>
            {Stage::ALL.map(|stage| view! { <MoveTo id stage/> }).collect_view()}
            <a class="menu-item" href=merge.href() on:click=move |event| { event.prevent_default(); state.ask.set(Some(Ask::any(id))) }>
                <Glyph icon=Icon::GitMerge/>{say!(board.merge_with)}
            </a>
        </Menu>
    }
    .into_any()
}

#[component]
pub fn Hidden(id: BranchId) -> impl IntoView {
    view! {
        <input type="hidden" name="project" value=BoardState::get().slug().to_string()/>
        <input type="hidden" name="branch" value=id.to_string()/>
    }
}

/// What a push to the branch does: the other of the two.
#[component]
fn OnPushEntry(id: BranchId) -> impl IntoView {
    let state = BoardState::get();
    let card = state.card(id);
    let quiet = Memo::new(move |_| {
        card.with(|card| card.as_ref().is_some_and(|card| card.on_push == OnPush::Nothing))
    });
    move || {
        let build = quiet.get();
        let (icon, label) = match build {
            true => (Icon::Hammer, say!(board.build_on_push)),
            false => (Icon::Ban, say!(board.no_build_on_push)),
        };
        let go = move |event: web_sys::SubmitEvent| {
            event.prevent_default();
            state.set_build_on_push(id, build);
        };
        view! {
            <form method="post" action="/api/console/branch/on-push" on:submit=go>
                <Hidden id/>
                <input type="hidden" name="build" value=build.to_string()/>
                <button type="submit" class="menu-item"><Glyph icon/>{label}</button>
            </form>
        }
    }
}

/// The same as dragging it there: harmless moves at once, the others by their question, refusals explained.
#[component]
fn MoveTo(id: BranchId, stage: Stage) -> impl IntoView {
    let state = BoardState::get();
    let target = Target::Stage { stage };
    let meaning = {
        let target = target.clone();
        Memo::new(move |_| state.meaning(id, &target))
    };
    let card = state.card(id);
    let at = Memo::new(move |_| card.with(|card| card.as_ref().map(|card| card.stage)));
    move || {
        let label = say!(board.move_to, stage = stage_name(stage)).to_string();
        let glyph = view! { <Glyph icon=stage_icon(stage)/> };
        let meaning = meaning.get();
        let hint = meaning_words(&meaning);
        let target = target.clone();
        match meaning {
            Ok(Move::Nothing) => ().into_any(),
            Err(_) => view! {
                <span class="menu-item off" aria-disabled="true" title=hint.clone()>
                    {glyph}<span>{label}<small>{hint.clone()}</small></span>
                </span>
            }
            .into_any(),
            Ok(Move::Restage { .. }) if stage != Stage::Production && at.get() != Some(Stage::Production) => {
                let onto = write_target(&target);
                let go = move |event: web_sys::SubmitEvent| {
                    event.prevent_default();
                    state.drop_on(id, target.clone());
                };
                view! {
                    <form method="post" action="/api/console/branch/move" on:submit=go>
                        <Hidden id/>
                        <input type="hidden" name="onto" value=onto/>
                        <button type="submit" class="menu-item" title=hint>{glyph}{label}</button>
                    </form>
                }
                .into_any()
            }
            Ok(_) => {
                let ask = Ask::of(id, target);
                view! {
                    <a class="menu-item" href=ask.href() title=hint
                        on:click=move |event| { event.prevent_default(); state.ask.set(Some(ask.clone())) }>
                        {glyph}{label}
                    </a>
                }
                .into_any()
            }
        }
    }
}
