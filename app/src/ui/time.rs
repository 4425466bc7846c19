//! Times relative to now, with the exact time in the title; durations as `1m 42s`.
//!
//! Server and browser must render the same first text: the server's now travels with the page, and the browser
//! moves on from it after hydration.

use crate::say;
use chrono::{DateTime, Datelike, Timelike, Utc};
use leptos::prelude::*;
use std::time::Duration;

/// The page's now in milliseconds since 1970, one signal for all.
#[derive(Clone, Copy)]
pub struct Now(RwSignal<i64>);

impl Now {
    pub fn provide() {
        let now = RwSignal::new(SharedValue::new(clock).into_inner());
        provide_context(Self(now));
        Effect::new(move |_| {
            now.set(clock());
            let tick = set_interval_with_handle(move || now.set(clock()), Duration::from_secs(1));
            on_cleanup(move || {
                if let Ok(tick) = tick {
                    tick.clear();
                }
            });
        });
    }

    pub fn get() -> i64 {
        use_context::<Self>().map_or_else(clock, |now| now.0.get())
    }

    pub fn get_untracked() -> i64 {
        use_context::<Self>().map_or_else(clock, |now| now.0.get_untracked())
    }
}

fn clock() -> i64 {
    #[cfg(target_arch = "wasm32")]
    return js_sys::Date::now() as i64;
    #[cfg(not(target_arch = "wasm32"))]
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// "5 min ago", kept true.
#[component]
pub fn TimeAgo(at: DateTime<Utc>) -> impl IntoView {
    let text = Memo::new(move |_| ago(Now::get() - at.timestamp_millis(), at));
    view! { <time datetime=machine(at) title=exact(at)>{text}</time> }
}

/// How long something took, or takes until now while it has no end.
#[component]
pub fn Lasting(from: DateTime<Utc>, to: Option<DateTime<Utc>>) -> impl IntoView {
    let text = Memo::new(move |_| {
        let since = |end: i64| (end - from.timestamp_millis()).max(0);
        match to {
            Some(to) => duration(since(to.timestamp_millis())),
            // Tenths that stand still between two ticks look broken.
            None => running(since(Now::get())),
        }
    });
    view! { <span class="tabular">{text}</span> }
}

fn ago(ms: i64, at: DateTime<Utc>) -> String {
    let seconds = ms / 1000;
    match seconds {
        ..60 => say!(ui.time.just_now).to_string(),
        60..3600 => say!(ui.time.minutes, n = (seconds / 60).to_string()).to_string(),
        3600..86_400 => say!(ui.time.hours, n = (seconds / 3600).to_string()).to_string(),
        86_400..2_592_000 => say!(ui.time.days, n = (seconds / 86_400).to_string()).to_string(),
        _ => format!("{:04}-{:02}-{:02}", at.year(), at.month(), at.day()),
    }
}

/// `1m 42s`; tenths below ten seconds, whole seconds above.
pub fn duration(ms: i64) -> String {
    let seconds = ms / 1000;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match seconds {
        ..10 => format!("{seconds}.{}s", ms % 1000 / 100),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {:02}s", seconds % 60),
        _ => format!("{hours}h {minutes:02}m"),
    }
}

fn running(ms: i64) -> String {
    if ms < 10_000 { format!("{}s", ms / 1000) } else { duration(ms) }
}

fn exact(at: DateTime<Utc>) -> String {
    let (date, time) = parts(at);
    format!("{date} {time} UTC")
}

fn machine(at: DateTime<Utc>) -> String {
    let (date, time) = parts(at);
    format!("{date}T{time}Z")
}

fn parts(at: DateTime<Utc>) -> (String, String) {
    (
        format!("{:04}-{:02}-{:02}", at.year(), at.month(), at.day()),
        format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_people_say_them() {
        for (ms, text) in [
            (0, "0.0s"),
            (9_960, "9.9s"),
            (10_000, "10s"),
            (59_999, "59s"),
            (102_000, "1m 42s"),
            (3_600_000, "1h 00m"),
            (90_061_000, "25h 01m"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn ages_step_up_through_the_units() {
        let at = DateTime::from_timestamp(0, 0).unwrap();
        for (ms, text) in [
            (-5_000, "just now"),
            (59_000, "just now"),
            (60_000, "1 min ago"),
            (3_599_000, "59 min ago"),
            (3_600_000, "1 h ago"),
            (86_400_000, "1 d ago"),
            (2_592_000_000, "1970-01-01"),
        ] {
            assert_eq!(ago(ms, at), text);
        }
        assert_eq!(exact(at), "1970-01-01 00:00:00 UTC");
    }
}
