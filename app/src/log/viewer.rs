//! The log of a build, live. Only the lines in view are in the document, however many there are; without script it
//! is the plain list that the server rendered.

use super::{LINE_HEIGHT, LogBuffer, Window};
use crate::{
    live::{Live, Topic},
    say,
    ui::{Glyph, Icon, arrive},
};
use leptos::{html, prelude::*};
use odooops::{id::RunId, log::LogLine, odoo::Record, run::LogLevel};

/// Messages are cut for display at this many characters; the whole line is in the download.
const SHOWN: usize = 4_000;

/// What the viewer holds, shared by its parts.
#[derive(Clone, Copy)]
struct Viewer {
    buffer: RwSignal<LogBuffer>,
    /// Scrolled to the end as lines come.
    following: RwSignal<bool>,
    scroll_top: RwSignal<f64>,
    viewport: RwSignal<f64>,
    /// The line that search or the error button went to.
    marked: RwSignal<Option<usize>>,
    frame: NodeRef<html::Div>,
}

#[component]
pub fn LogViewer(
    run: RunId,
    /// The first lines, rendered by the server.
    first: Vec<LogLine>,
    /// How many there were when the page was made.
    total: i64,
    /// The run failed: the first error is what people look for.
    #[prop(into)]
    failed: Signal<bool>,
    /// More lines will come.
    #[prop(into)]
    active: Signal<bool>,
) -> impl IntoView {
    let viewer = Viewer {
        buffer: RwSignal::new(LogBuffer::new(first)),
        following: RwSignal::new(true),
        scroll_top: RwSignal::new(0.0),
        viewport: RwSignal::new(0.0),
        marked: RwSignal::new(None),
        frame: NodeRef::new(),
    };
    // Effects do not run on the server: the page comes alive here.
    Effect::new(move |_| {
        let after = viewer.buffer.with_untracked(LogBuffer::last_seq);
        Live::get().subscribe(Topic::Log(run), Some(after), move |lines: Vec<LogLine>| {
            viewer.buffer.update(|buffer| buffer.extend(lines));
        });
    });
    viewer.measure();
    viewer.follow_end();
    viewer.open_at_error(failed);
    let sent = viewer.buffer.with_untracked(LogBuffer::len);
    // Without script no more will come.
    let rest = (i64::try_from(sent).unwrap_or(i64::MAX) < total)
        .then(|| say!(log.first_of, shown = sent.to_string(), total = total.to_string()).to_string());
    arrive();
    view! {
        <section class="log" id="log" aria-label=say!(log.title) data-testid="log">
            <LogBar viewer run active/>
            {rest.map(|rest| view! { <p class="log-rest without-script" data-testid="log-rest">{rest}</p> })}
            <div class="log-frame mono" tabindex="0" role="log" aria-live="off" node_ref=viewer.frame
                on:scroll=move |_| viewer.scrolled()>
                <LogLines viewer active/>
            </div>
        </section>
    }
    .into_any()
}

impl Viewer {
    /// Keeps the size of the frame; zero means that there is no script yet.
    fn measure(self) {
        let resize = move || {
            if let Some(frame) = self.frame.get_untracked() {
                self.viewport.set(f64::from(frame.client_height()));
            }
        };
        Effect::new(move |_| {
            if self.frame.get().is_some() {
                resize();
                let handle = window_event_listener(leptos::ev::resize, move |_| resize());
                on_cleanup(move || handle.remove());
            }
        });
    }

    fn scrolled(self) {
        let Some(frame) = self.frame.get_untracked() else { return };
        let top = f64::from(frame.scroll_top());
        // Scrolling up lets go of the end; arriving at the end takes hold again.
        let rest = f64::from(frame.scroll_height()) - top - f64::from(frame.client_height());
        if top + 1.0 < self.scroll_top.get_untracked() || rest < LINE_HEIGHT {
            self.following.set(rest < 2.0 * LINE_HEIGHT);
        }
        self.scroll_top.set(top);
    }

    fn follow_end(self) {
        Effect::new(move |_| {
            self.buffer.with(LogBuffer::len);
            if self.following.get() && self.viewport.get() > 0.0 {
                // After the new height is in the document.
                request_animation_frame(move || {
                    if let Some(frame) = self.frame.get_untracked() {
                        frame.set_scroll_top(frame.scroll_height());
                    }
                });
            }
        });
    }

    fn open_at_error(self, failed: Signal<bool>) {
        Effect::new(move |opened: Option<bool>| {
            let opened = opened.unwrap_or(false);
            let error = self.buffer.with(|buffer| buffer.errors().first().copied());
            match error {
                Some(line) if !opened && failed.get() && self.viewport.get() > 0.0 => {
                    self.go_to(line);
                    true
                }
                _ => opened,
            }
        });
    }

    fn go_to(self, line: usize) {
        self.following.set(false);
        self.marked.set(Some(line));
        let total = self.buffer.with_untracked(LogBuffer::len);
        let top = Window::scroll_to(total, line, self.viewport.get_untracked());
        request_animation_frame(move || {
            if let Some(frame) = self.frame.get_untracked() {
                frame.set_scroll_top(top as i32);
            }
        });
    }

    /// The lines after the marked one come first, then from the top again.
    fn go_to_next(self, found: &[usize]) {
        let from = self.marked.get_untracked();
        let next = found.iter().find(|line| from.is_none_or(|from| **line > from)).or_else(|| found.first());
        if let Some(line) = next {
            self.go_to(*line);
        }
    }
}

#[component]
fn LogLines(viewer: Viewer, active: Signal<bool>) -> impl IntoView {
    let window = Memo::new(move |_| {
        let total = viewer.buffer.with(LogBuffer::len);
        match viewer.viewport.get() {
            // No script yet: all that the server sent, in the flow of the page.
            0.0 => Window { first: 0, end: total, height: 0.0, top: 0.0 },
            viewport => Window::of(total, viewer.scroll_top.get(), viewport),
        }
    });
    let sizer = NodeRef::<html::Div>::new();
    let shift = NodeRef::<html::Ol>::new();
    // On the elements themselves: the server's page has no measures, and scrolling renders nothing but lines.
    Effect::new(move |_| {
        let window = window.get();
        if let (Some(sizer), Some(shift)) = (sizer.get(), shift.get())
            && window.height > 0.0
        {
            let style = web_sys::HtmlElement::style(&sizer);
            let _ = style.set_property("height", &format!("{}px", window.height));
            let style = web_sys::HtmlElement::style(&shift);
            let _ = style.set_property("transform", &format!("translateY({}px)", window.top));
        }
    });
    let lines = move || {
        let window = window.get();
        viewer.buffer.with(|buffer| buffer.lines().get(window.first..window.end).unwrap_or_default().to_vec())
    };
    view! {
        <div class="log-sizer" node_ref=sizer>
            <ol class="log-lines" node_ref=shift>
                <For each=lines key=|line| line.seq let:line>
                    <LogRow line viewer/>
                </For>
            </ol>
        </div>
        <Show when=move || viewer.buffer.with(LogBuffer::is_empty)>
            <p class="log-empty muted">
                {move || if active.get() { say!(log.empty) } else { say!(log.empty_ended) }}
            </p>
        </Show>
    }
    .into_any()
}

#[component]
fn LogRow(line: LogLine, viewer: Viewer) -> impl IntoView {
    let index = line.seq - 1;
    let marked = move || viewer.marked.get().is_some_and(|marked| marked as i64 == index);
    let level = match line.level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    let mark = match line.level {
        LogLevel::Warn => Some(("W", say!(log.warning))),
        LogLevel::Error => Some(("E", say!(log.error))),
        LogLevel::Debug | LogLevel::Info => None,
    };
    let stream = line.stream.clone();
    let text: String = line.message.chars().take(SHOWN).collect();
    let cut = text.len() < line.message.len();
    let body = match Record::parse(&text) {
        Some(record) => view! {
            <span class="log-time">{record.time.format("%H:%M:%S").to_string()}</span>
            <span class="log-logger" title=record.logger.to_owned()>{short_logger(record.logger)}</span>
            <span class="log-text">{record.message.to_owned()}</span>
        }
        .into_any(),
        None => view! { <span class="log-text">{text}</span> }.into_any(),
    };
    view! {
        <li class=format!("log-line {level}") class:marked=marked data-seq=line.seq data-stream=stream>
            <span class="log-number" aria-hidden="true">{line.seq}</span>
            <span class="log-mark">
                {mark.map(|(letter, word)| view! {
                    <span aria-hidden="true">{letter}</span><span class="sr-only">{word}</span>
                })}
            </span>
            {body}
            {cut.then(|| view! { <span class="muted">{say!(log.cut)}</span> })}
        </li>
    }
    .into_any()
}

/// `odoo.addons.base.models.ir_model` reads as `base.ir_model`; the whole is in the title.
fn short_logger(logger: &str) -> String {
    let parts: Vec<&str> =
        logger.split('.').filter(|part| !matches!(*part, "odoo" | "addons" | "models")).collect();
    match parts.as_slice() {
        [] => logger.to_owned(),
        [first, .., last] if parts.len() > 2 => format!("{first}.{last}"),
        _ => parts.join("."),
    }
}

/// State, counts, search, download: above the lines.
#[component]
fn LogBar(viewer: Viewer, run: RunId, active: Signal<bool>) -> impl IntoView {
    let sought = RwSignal::new(String::new());
    let found = Memo::new(move |_| sought.with(|text| viewer.buffer.with(|buffer| buffer.find(text))));
    let errors = Memo::new(move |_| viewer.buffer.with(|buffer| buffer.errors().len()));
    let warnings = Memo::new(move |_| viewer.buffer.with(|buffer| buffer.warnings().len()));
    let next_error =
        move |_| viewer.go_to_next(&viewer.buffer.with_untracked(|buffer| buffer.errors().to_vec()));
    let next_warning =
        move |_| viewer.go_to_next(&viewer.buffer.with_untracked(|buffer| buffer.warnings().to_vec()));
    let toggle = move |_| viewer.following.update(|following| *following = !*following);
    view! {
        <div class="log-bar">
            <button type="button" class="button small needs-script" aria-pressed=move || viewer.following.get().to_string()
                on:click=toggle>
                {move || match (viewer.following.get(), active.get()) {
                    (true, true) => say!(log.following),
                    (true, false) => say!(log.at_end),
                    (false, _) => say!(log.follow),
                }}
            </button>
            <span class="muted tabular" data-testid="log-count">
                {move || say!(log.lines, n = viewer.buffer.with(LogBuffer::len).to_string()).to_string()}
            </span>
            <Show when=move || { errors.get() > 0 }>
                <button type="button" class="button small log-errors needs-script" on:click=next_error>
                    {move || say!(log.errors, n = errors.get().to_string()).to_string()}
                </button>
            </Show>
            <Show when=move || { warnings.get() > 0 }>
                <button type="button" class="button small log-warnings needs-script" on:click=next_warning>
                    {move || say!(log.warnings, n = warnings.get().to_string()).to_string()}
                </button>
            </Show>
            <label class="log-search needs-script">
                <Glyph icon=Icon::Search/>
                <input type="search" aria-label=say!(log.search) placeholder=say!(log.search) autocomplete="off"
                    prop:value=sought
                    on:input=move |event| {
                        sought.set(event_target_value(&event));
                        viewer.marked.set(None);
                    }
                    on:keydown=move |event| {
                        if event.key() == "Enter" {
                            found.with_untracked(|found| viewer.go_to_next(found));
                        }
                    }/>
            </label>
            <Show when=move || sought.with(|text| !text.is_empty())>
                <span class="muted tabular" role="status">
                    {move || say!(log.found, n = found.with(Vec::len).to_string()).to_string()}
                </span>
            </Show>
            <a class="button small" href=format!("/api/v1/runs/{run}/logs") rel="external" download=format!("{run}.ndjson")
                title=say!(log.download_why)>
                {say!(log.download)}
            </a>
        </div>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::short_logger;

    #[test]
    fn loggers_are_shortened_to_what_tells_them_apart() {
        assert_eq!(short_logger("odoo.addons.base.models.ir_model"), "base.ir_model");
        assert_eq!(short_logger("odoo.modules.loading"), "modules.loading");
        assert_eq!(short_logger("odoo"), "odoo");
        assert_eq!(short_logger("werkzeug"), "werkzeug");
    }
}
