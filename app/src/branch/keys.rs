//! Moving cards with the keyboard: Space or Enter picks a card up at its grip, arrows choose, Enter drops, Escape
//! cancels. Each step is said aloud.

use super::{
    api::write_target,
    drag::{By, Drag},
    state::{BoardState, meaning_words},
};
use crate::{
    say,
    ui::{bring_into_view, stage_name},
};
use leptos::prelude::*;
use odooops::{
    branch::{Stage, Target},
    id::BranchId,
};
use wasm_bindgen::JsCast;
use web_sys::{Element, FocusEvent, HtmlElement, KeyboardEvent};

pub fn on_key(state: BoardState, id: BranchId, event: &KeyboardEvent) {
    let held =
        state.drag.with_untracked(|drag| drag.clone().filter(|drag| drag.by == By::Keys && drag.id == id));
    let key = event.key();
    match (held, key.as_str()) {
        (None, " " | "Enter") => pick_up(state, id),
        (Some(drag), " " | "Enter") => {
            put_down(state);
            state.said.set(say!(board.said.dropped, branch = drag.name.to_string()).to_string());
            if let Some(over) = drag.over {
                state.drop_on(id, over);
            }
        }
        (Some(drag), "Escape") => {
            put_down(state);
            state.said.set(say!(board.said.canceled, branch = drag.name.to_string()).to_string());
        }
        (Some(drag), "ArrowLeft" | "ArrowRight" | "ArrowUp" | "ArrowDown") => {
            let over = next(state, &drag, &key);
            say_over(state, id, &over);
            show(&over);
            state.drag.set(Some(Drag { over: Some(over), ..drag }));
        }
        _ => return,
    }
    event.prevent_default();
    event.stop_propagation();
}

/// The grip lost the focus: what was picked up is put back.
pub fn leave(state: BoardState, id: BranchId) {
    let held = state
        .drag
        .with_untracked(|drag| drag.as_ref().is_some_and(|drag| drag.by == By::Keys && drag.id == id));
    if held {
        put_down(state);
    }
}

fn pick_up(state: BoardState, id: BranchId) {
    let Some(card) = state.find(id) else { return };
    let over = Some(Target::Stage { stage: card.stage });
    state.said.set(say!(board.said.picked, branch = card.name.to_string()).to_string());
    state.drag.set(Some(Drag { id, name: card.name, over, by: By::Keys }));
}

fn put_down(state: BoardState) {
    state.drag.set(None);
    state.settle();
}

/// Left and right go from stage to stage, up and down through a stage's heading and its branches.
fn next(state: BoardState, drag: &Drag, key: &str) -> Target {
    let stage = match &drag.over {
        Some(Target::Stage { stage }) => *stage,
        Some(Target::Branch { name }) => {
            let card = state.find_by_name(name).and_then(|id| state.find(id));
            card.map_or(Stage::Development, |card| card.stage)
        }
        None => Stage::Development,
    };
    let at = Stage::ALL.iter().position(|known| *known == stage).unwrap_or(0);
    match key {
        "ArrowLeft" => Target::Stage { stage: Stage::ALL[at.saturating_sub(1)] },
        "ArrowRight" => Target::Stage { stage: Stage::ALL[(at + 1).min(Stage::ALL.len() - 1)] },
        _ => {
            let others = state.ids_in(stage).into_iter().filter(|id| *id != drag.id);
            let branches =
                others.filter_map(|id| state.find(id)).map(|card| Target::Branch { name: card.name });
            let targets: Vec<Target> = std::iter::once(Target::Stage { stage }).chain(branches).collect();
            let at = drag.over.as_ref().and_then(|over| targets.iter().position(|known| known == over));
            let at = at.unwrap_or(0);
            let to = if key == "ArrowUp" { at.saturating_sub(1) } else { (at + 1).min(targets.len() - 1) };
            targets[to].clone()
        }
    }
}

/// On a long board the place that was chosen may be out of sight. A stage is chosen by its head.
fn show(over: &Target) {
    let place = format!("[data-drop='{}']", write_target(over));
    let selector = match over {
        Target::Stage { .. } => format!("{place} > .column-head"),
        Target::Branch { .. } => place,
    };
    if let Some(element) = document().query_selector(&selector).ok().flatten() {
        bring_into_view(&element);
    }
}

fn say_over(state: BoardState, id: BranchId, over: &Target) {
    let place = match over {
        Target::Stage { stage } => stage_name(*stage).to_owned(),
        Target::Branch { name } => name.to_string(),
    };
    let meaning = meaning_words(&untrack(|| state.meaning(id, over)));
    state.said.set(say!(board.said.over, place = place, meaning = meaning).to_string());
}

/// Notes which card's grip or menu has the focus, or that something else got it.
pub fn note_focus(state: BoardState, event: &FocusEvent) {
    let element = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    state.focused.set_value(element.and_then(|element| {
        let card = element.closest("[data-card]").ok().flatten()?.get_attribute("data-card")?;
        let part = ["[data-grip]", "summary"].into_iter().find(|part| element.matches(part) == Ok(true))?;
        Some(format!("[data-card='{card}'] {part}"))
    }));
}

/// Gives the focus back to what had it, when nothing else has taken it since.
pub fn restore_focus(state: BoardState) {
    let Some(had) = state.focused.try_get_value().flatten() else { return };
    let nowhere = document().active_element().is_none_or(|element| element.tag_name() == "BODY");
    let element = document().query_selector(&had).ok().flatten();
    if nowhere && let Some(element) = element.and_then(|element| element.dyn_into::<HtmlElement>().ok()) {
        element.focus().ok();
    }
}
