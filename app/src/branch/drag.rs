//! Dragging cards by mouse and by touch, with pointer events of our own: HTML's drag events know no touch, and no
//! browser lets a page style or steer them.
//!
//! A press becomes a drag after five pixels with the mouse, after a moment of holding still with a finger, or at
//! once at the grip. What lies under the pointer is found by `data-drop` on columns and cards.

use super::{
    api::read_target,
    state::{BoardState, meaning_words},
};
use leptos::{ev, html, leptos_dom::helpers::TimeoutHandle, prelude::*};
use odooops::{
    branch::{BranchName, Target},
    id::BranchId,
};
use std::time::Duration;
use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlElement, PointerEvent};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Pointer,
    Keys,
}

/// A card on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Drag {
    pub id: BranchId,
    pub name: BranchName,
    pub over: Option<Target>,
    pub by: By,
}

/// A pointer that went down on a card and may become a drag.
struct Press {
    id: BranchId,
    x: f64,
    y: f64,
    pointer: i32,
    touch: bool,
    hold: Option<TimeoutHandle>,
}

/// Where the pointer is; outside of signals, because it changes with every frame.
#[derive(Default)]
struct Pointer {
    press: Option<Press>,
    x: f64,
    y: f64,
}

#[derive(Clone, Copy)]
struct Tracking {
    pointer: StoredValue<Pointer>,
    ghost: NodeRef<html::Div>,
}

/// Pixels that a mouse moves before a press is a drag, and a finger before it is scrolling.
const MOUSE_SLOP: f64 = 5.0;
const TOUCH_SLOP: f64 = 10.0;
const HOLD: Duration = Duration::from_millis(280);
/// Near the upper and lower edge the page scrolls along.
const EDGE: f64 = 72.0;

/// `pointerdown` on a card.
pub fn press(state: BoardState, id: BranchId, event: &PointerEvent) {
    let Some(tracking) = use_context::<Tracking>() else { return };
    let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    let within =
        |selector: &str| target.as_ref().and_then(|target| target.closest(selector).ok().flatten()).is_some();
    let on_grip = within("[data-grip]");
    if event.button() != 0 || (!on_grip && within("a, button, summary, details, input, select")) {
        return;
    }
    let touch = event.pointer_type() == "touch";
    let hold = (touch && !on_grip)
        .then(|| set_timeout_with_handle(move || tracking.begin(state), HOLD).ok())
        .flatten();
    let (x, y) = (f64::from(event.client_x()), f64::from(event.client_y()));
    let press = Press { id, x, y, pointer: event.pointer_id(), touch, hold };
    tracking.pointer.set_value(Pointer { press: Some(press), x, y });
    if touch && on_grip {
        tracking.begin(state);
    }
}

impl Tracking {
    fn begin(self, state: BoardState) {
        let id = self.pointer.with_value(|pointer| pointer.press.as_ref().map(|press| press.id));
        let Some(card) = id.and_then(|id| state.find(id)) else { return };
        state.drag.set(Some(Drag { id: card.id, name: card.name, over: None, by: By::Pointer }));
        request_animation_frame(move || self.each_frame(state));
    }

    /// Forgets the press, and the drag if there was one.
    fn end(self, state: BoardState) -> Option<Drag> {
        self.pointer.update_value(|pointer| {
            if let Some(hold) = pointer.press.take().and_then(|press| press.hold) {
                hold.clear();
            }
        });
        let dragged =
            state.drag.with_untracked(|drag| drag.as_ref().is_some_and(|drag| drag.by == By::Pointer));
        let drag = dragged.then(|| state.drag.try_update(Option::take).flatten()).flatten();
        if drag.is_some() {
            state.settle();
        }
        drag
    }

    fn moved(self, state: BoardState, event: &PointerEvent) {
        let (x, y) = (f64::from(event.client_x()), f64::from(event.client_y()));
        let far = self.pointer.try_update_value(|pointer| {
            (pointer.x, pointer.y) = (x, y);
            let press = pointer.press.as_ref().filter(|press| press.pointer == event.pointer_id())?;
            Some(((press.x - x).hypot(press.y - y), press.touch))
        });
        let Some((far, touch)) = far.flatten() else { return };
        if state.drag.with_untracked(Option::is_some) {
            // Where it is now is drawn with the next frame.
            event.prevent_default();
        } else if touch && far > TOUCH_SLOP {
            // A finger that moves at once wants to scroll.
            self.end(state);
        } else if !touch && far > MOUSE_SLOP {
            self.begin(state);
        }
    }

    /// The pointer may have gone on since the last frame: what counts is where it lets go.
    fn released(self, state: BoardState, event: &PointerEvent) {
        if state.drag.with_untracked(|drag| drag.as_ref().is_some_and(|drag| drag.by == By::Pointer)) {
            self.pointer.update_value(|pointer| {
                (pointer.x, pointer.y) = (f64::from(event.client_x()), f64::from(event.client_y()));
            });
            self.follow(state);
        }
    }

    /// Puts the ghost at the pointer and finds out what it is over.
    fn follow(self, state: BoardState) {
        let (x, y) = self.pointer.with_value(|pointer| (pointer.x, pointer.y));
        if let Some(ghost) = self.ghost.get_untracked() {
            let ghost: &HtmlElement = ghost.as_ref();
            let place = format!("translate({}px, {}px)", x + 12.0, y + 12.0);
            ghost.style().set_property("transform", &place).ok();
        }
        let under = document().element_from_point(x as f32, y as f32);
        let over = under
            .and_then(|element| element.closest("[data-drop]").ok().flatten())
            .and_then(|element| element.get_attribute("data-drop"))
            .and_then(|onto| read_target(&onto).ok());
        let changed = state.drag.with_untracked(|drag| drag.as_ref().is_some_and(|drag| drag.over != over));
        if changed {
            state.drag.update(|drag| {
                if let Some(drag) = drag {
                    drag.over = over;
                }
            });
        }
    }

    /// For as long as a card hangs at the pointer.
    fn each_frame(self, state: BoardState) {
        let dragged =
            state.drag.try_with_untracked(|drag| drag.as_ref().is_some_and(|drag| drag.by == By::Pointer));
        if dragged == Some(true) {
            self.scroll_along();
            // The page may have moved below a pointer that rests.
            self.follow(state);
            request_animation_frame(move || self.each_frame(state));
        }
    }

    fn scroll_along(self) {
        let y = self.pointer.with_value(|pointer| pointer.y);
        let height = window().inner_height().ok().and_then(|height| height.as_f64()).unwrap_or(0.0);
        let step = if y < EDGE {
            -14.0
        } else if y > height - EDGE {
            14.0
        } else {
            return;
        };
        window().scroll_by_with_x_and_y(0.0, step);
    }
}

/// Listens to the pointer for as long as the board is shown.
pub fn follow_pointer(state: BoardState, surface: NodeRef<html::Div>) {
    let tracking = Tracking { pointer: StoredValue::new(Pointer::default()), ghost: NodeRef::new() };
    provide_context(tracking);
    Effect::new(move |_| {
        let moved = window_event_listener(ev::pointermove, move |event| tracking.moved(state, &event));
        let up = window_event_listener(ev::pointerup, move |event| {
            tracking.released(state, &event);
            let drag = tracking.end(state);
            if let Some(Drag { id, over: Some(over), .. }) = drag {
                state.drop_on(id, over);
            }
        });
        let canceled = window_event_listener(ev::pointercancel, move |_| {
            tracking.end(state);
        });
        let key = window_event_listener(ev::keydown, move |event| {
            if event.key() == "Escape" {
                tracking.end(state);
            }
        });
        on_cleanup(move || {
            for listener in [moved, up, canceled, key] {
                listener.remove();
            }
        });
    });
    // A finger that drags must not scroll too, nor open the system's menu after holding.
    Effect::new(move |_| {
        let Some(surface) = surface.get() else { return };
        let surface: &web_sys::EventTarget = surface.as_ref();
        let dragging = move || state.drag.with_untracked(Option::is_some);
        let hold_still =
            wasm_bindgen::closure::Closure::<dyn FnMut(web_sys::Event)>::new(move |event: web_sys::Event| {
                if dragging() {
                    event.prevent_default();
                }
            })
            .into_js_value();
        let options = web_sys::AddEventListenerOptions::new();
        options.set_passive(false);
        for name in ["touchmove", "contextmenu"] {
            surface
                .add_event_listener_with_callback_and_add_event_listener_options(
                    name,
                    hold_still.unchecked_ref(),
                    &options,
                )
                .ok();
        }
    });
}

/// What hangs at the pointer: the branch's name, and what dropping it here would do.
#[component]
pub fn Ghost() -> impl IntoView {
    let state = BoardState::get();
    let node = expect_context::<Tracking>().ghost;
    let dragged = move || {
        state.drag.with(|drag| {
            let drag = drag.as_ref().filter(|drag| drag.by == By::Pointer)?;
            let meaning = drag.over.as_ref().map(|over| state.meaning(drag.id, over));
            Some((drag.name.to_string(), meaning))
        })
    };
    view! {
        <div class="ghost" node_ref=node aria-hidden="true">
            {move || dragged().map(|(name, meaning)| {
                let refused = meaning.as_ref().is_some_and(Result::is_err);
                view! {
                    <div class="ghost-card" class:refused=refused>
                        <strong>{name}</strong>
                        {meaning.map(|meaning| view! { <span>{meaning_words(&meaning)}</span> })}
                    </div>
                }
            })}
        </div>
    }
}
