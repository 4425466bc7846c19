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
}

impl Toasts {
    const SHOWN: Duration = Duration::from_secs(6);
    /// A refusal with its reason takes longer to read.
    const SHOWN_FAILED: Duration = Duration::from_secs(12);
    const MOST: usize = 4;

    pub fn provide() {
        provide_context(Self { list: RwSignal::new(Vec::new()), next: StoredValue::new(0) });
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
            let surplus = list.len().saturating_sub(Self::MOST);
            list.drain(..surplus);
        });
        let shown = if failed { Self::SHOWN_FAILED } else { Self::SHOWN };
        set_timeout(move || self.dismiss(id), shown);
    }

    fn dismiss(self, id: u64) {
        self.list.try_update(|list| list.retain(|toast| toast.id != id));
    }
}

#[component]
pub fn ToastList() -> impl IntoView {
    let toasts = Toasts::get();
    view! {
        <div class="toasts" role="status" aria-live="polite">
            <For each=move || toasts.list.get() key=|toast| toast.id let:toast>
                <div class="toast" class:failed=toast.failed data-testid="toast">
                    <Glyph icon=if toast.failed { Icon::TriangleAlert } else { Icon::Check }/>
                    <div>
                        <p class="strong">{toast.title}</p>
                        {(!toast.text.is_empty()).then(|| view! { <p class="muted">{toast.text}</p> })}
                    </div>
                    <button type="button" class="icon-button" aria-label=say!(ui.dismiss)
                        on:click=move |_| toasts.dismiss(toast.id)>
                        <Glyph icon=Icon::X/>
                    </button>
                </div>
            </For>
        </div>
    }
}
