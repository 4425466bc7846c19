//! Keeping a page current whose data comes by asking.

use crate::{
    error::Fault,
    live::{Live, Topic},
};
use leptos::{prelude::*, task::spawn_local};
use serde::de::IgnoredAny;
use std::{future::Future, time::Duration};

/// Heartbeats and free memory are announced by nobody.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Loads what is shown again at every news of `topic`, and every ten seconds while somebody looks. What it gives loads
/// at once, for who has just changed something. The topic is one that everybody may hear of who sees the page: one that
/// is denied is told as a page that grows old.
pub fn keep_fresh<T, F, Fut>(shown: RwSignal<T>, topic: Topic, load: F) -> Callback<()>
where
    T: PartialEq + Send + Sync + 'static,
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, Fault>> + 'static,
{
    let again = Callback::new(move |()| {
        let asked = load();
        spawn_local(async move {
            // What does not answer leaves what is shown: the live light tells that it may be old.
            if let Ok(now) = asked.await
                && shown.try_with_untracked(|known| *known != now).unwrap_or(false)
            {
                shown.set(now);
            }
        });
    });
    Effect::new(move |_| {
        Live::get().subscribe(topic, None, move |_: IgnoredAny| again.run(()));
        let tick = move || {
            if !document().hidden() {
                again.run(());
            }
        };
        let tick = set_interval_with_handle(tick, ASK_AGAIN).ok();
        on_cleanup(move || {
            if let Some(tick) = tick {
                tick.clear();
            }
        });
    });
    again
}
