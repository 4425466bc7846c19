//! Short messages about what was just done, read out to those who do not see them.

use super::{Glyph, Icon};
use crate::say;
use leptos::prelude::*;
use std::time::Duration;

#[derive(Clone)]
struct Toast {
    id: u64,
    failed: bool,
    title: String,
    text: String,
}

#[derive(Clone, Copy)]
pub struct Toasts {
    list: RwSignal<Vec<Toast>>,
    next: StoredValue<u64>,
    /// Pointer or focus are on them: somebody reads.
    held: StoredValue<bool>,
}

impl Toasts {
    const SHOWN: Duration = Duration::from_secs(6);
    /// How long one stays that was held when its time was over, until it is looked at again.
    const SHOWN_AFTER: Duration = Duration::from_secs(2);
    const MOST: usize = 4;

    pub fn provide() {
        provide_context(Self {
            list: RwSignal::new(Vec::new()),
            next: StoredValue::new(0),
            held: StoredValue::new(false),
        });
    }

    pub fn get() -> Self {
        expect_context()
    }

    pub fn done(self, title: String) {
        self.show(false, title, String::new());
    }

    pub fn failed(self, title: String, why: String) {
        self.show(true, title, why);
    }

    fn show(self, failed: bool, title: String, text: String) {
        let id = self.next.get_value();
        self.next.set_value(id + 1);
        self.list.update(|list| {
            list.push(Toast { id, failed, title, text });
            if list.len() > Self::MOST {
                // The oldest that went well, else the oldest.
                list.remove(list.iter().position(|toast| !toast.failed).unwrap_or(0));
            }
        });
        // A failure has a reason to be read: it stays until somebody puts it away.
        if !failed {
            self.expire(id, Self::SHOWN);
        }
    }

    fn expire(self, id: u64, after: Duration) {
        let over = move || match self.held.try_get_value() {
            Some(true) => self.expire(id, Self::SHOWN_AFTER),
            _ => self.dismiss(id),
        };
        set_timeout(over, after);
    }

    fn dismiss(self, id: u64) {
        self.list.try_update(|list| list.retain(|toast| toast.id != id));
    }
}

#[component]
pub fn ToastList() -> impl IntoView {
    let toasts = Toasts::get();
    let hold = move |held| toasts.held.set_value(held);
    view! {
        <div class="toasts" role="status" aria-live="polite"
            on:pointerenter=move |_| hold(true) on:pointerleave=move |_| hold(false)
            on:focusin=move |_| hold(true) on:focusout=move |_| hold(false)>
            <For each=move || toasts.list.get() key=|toast| toast.id let:toast>
                <div class="toast" class:failed=toast.failed data-testid="toast">
                    <Glyph icon=if toast.failed { Icon::TriangleAlert } else { Icon::Check }/>
                    <div>
                        <p class="strong">{toast.title}</p>
                        {(!toast.text.is_empty()).then(|| view! { <p class="muted">{toast.text}</p> })}
                    </div>
                    <button type="button" class="icon-button" aria-label=say!(ui.dismiss)
                        on:click=move |_| { hold(false); toasts.dismiss(toast.id) }>
                        <Glyph icon=Icon::X/>
                    </button>
                </div>
            </For>
        </div>
    }
}
