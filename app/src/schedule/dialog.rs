//! Making and changing a schedule, with what its pattern means before it counts.

use super::{
    api::{self, ChangeSchedule, CreateSchedule, DeleteSchedule},
    row::task_name,
};
use crate::{
    error::Fault,
    say,
    ui::{Dialog, Glyph, Icon},
    words,
};
use leptos::{form::ActionForm, leptos_dom::helpers::TimeoutHandle, prelude::*, task::spawn_local};
use odooops::{
    Error,
    branch::BranchName,
    project::Slug,
    schedule::{MaintenanceTask, SchedulePreview, ScheduleView},
};
use std::time::Duration;

#[component]
pub fn ScheduleDialog(
    slug: Option<Slug>,
    branches: Vec<BranchName>,
    create: ServerAction<CreateSchedule>,
    change: ServerAction<ChangeSchedule>,
    /// The one that is changed.
    before: Option<ScheduleView>,
    page: String,
    close: Callback<()>,
) -> impl IntoView {
    let name = before.as_ref().map(|before| before.name.clone()).unwrap_or_default();
    let cron =
        RwSignal::new(before.as_ref().map_or_else(|| "0 2 * * *".to_owned(), |before| before.cron.clone()));
    let zone =
        RwSignal::new(before.as_ref().map_or_else(|| "UTC".to_owned(), |before| before.time_zone.clone()));
    if before.is_none() {
        Effect::new(move |_| {
            if let Some(own) = browser_zone() {
                zone.set(own);
            }
        });
    }
    let error = Memo::new(move |_| {
        let created =
            create.value().with(|value| value.as_ref().and_then(|value| value.as_ref().err().cloned()));
        created.or_else(|| {
            change.value().with(|value| value.as_ref().and_then(|value| value.as_ref().err().cloned()))
        })
    });
    let of_field = move |field: &'static str| {
        Signal::derive(move || match error.get() {
            Some(Fault(error)) => match &error {
                Error::Invalid { field: wrong, .. } if wrong == field => Some(words::sentence(&error)),
                _ => None,
            },
            None => None,
        })
    };
    let elsewhere = move || {
        let Fault(error) = error.get()?;
        let at_field = matches!(&error, Error::Invalid { field, .. } if ["name", "cron", "time_zone", "branch"].contains(&field.as_str()));
        (!at_field).then(|| words::sentence(&error))
    };
    let fields = move || {
        view! {
            <label class="field">
                <span>{say!(schedule.name)}</span>
                <input name="name" required maxlength="100" autocomplete="off" value=name.clone() autofocus/>
                <Wrong text=of_field("name")/>
            </label>
            <label class="field">
                <span>{say!(schedule.cron)}</span>
                <input name="cron" class="mono" required maxlength="200" autocomplete="off" spellcheck="false"
                    value=cron.get_untracked() prop:value=cron on:input=move |event| cron.set(event_target_value(&event))/>
                <small>{say!(schedule.cron_hint)}</small>
                <Wrong text=of_field("cron")/>
            </label>
            <label class="field">
                <span>{say!(schedule.time_zone)}</span>
                <input name="time_zone" required maxlength="64" autocomplete="off" spellcheck="false"
                    value=zone.get_untracked() prop:value=zone on:input=move |event| zone.set(event_target_value(&event))/>
                <Wrong text=of_field("time_zone")/>
            </label>
            <Preview cron zone/>
            {move || elsewhere().map(|text| view! {
                <p class="warning" role="alert"><Glyph icon=Icon::TriangleAlert/>{text}</p>
            })}
        }
    };
    match before {
        Some(before) => view! {
            <Dialog title=say!(schedule.edit_title, name = before.name).to_string() on_close=close close_href=page.clone()>
                <ActionForm action=change attr:data-testid="schedule-form">
                    <input type="hidden" name="id" value=before.id.to_string()/>
                    {fields()}
                    <Foot yes=say!(schedule.save) page close pending=change.pending()/>
                </ActionForm>
            </Dialog>
        }
        .into_any(),
        None => view! {
            <Dialog title=say!(schedule.new) on_close=close close_href=page.clone()>
                <ActionForm action=create attr:data-testid="schedule-form">
                    {match slug {
                        Some(slug) => view! {
                            <input type="hidden" name="project" value=slug.to_string()/>
                            <label class="field">
                                <span>{say!(schedule.branch)}</span>
                                <select name="branch" required>
                                    {branches.into_iter().map(|branch| {
                                        let name = branch.to_string();
                                        view! { <option value=name.clone()>{name.clone()}</option> }
                                    }).collect_view()}
                                </select>
                                <small>{say!(schedule.branch_hint)}</small>
                                <Wrong text=of_field("branch")/>
                            </label>
                        }
                        .into_any(),
                        None => view! {
                            <label class="field">
                                <span>{say!(schedule.does)}</span>
                                <select name="task" required>
                                    {MaintenanceTask::ALL.iter().map(|task| view! {
                                        <option value=task.as_str()>{task_name(*task)}</option>
                                    }).collect_view()}
                                </select>
                                <small>{say!(schedule.task_hint)}</small>
                            </label>
                        }
                        .into_any(),
                    }}
                    {fields()}
                    <Foot yes=say!(schedule.create) page close pending=create.pending()/>
                </ActionForm>
            </Dialog>
        }
        .into_any(),
    }
}

#[component]
fn Wrong(text: Signal<Option<String>>) -> impl IntoView {
    move || text.get().map(|text| view! { <small class="wrong" role="alert">{text}</small> })
}

#[component]
fn Foot(
    yes: &'static str,
    page: String,
    close: Callback<()>,
    #[prop(into)] pending: Signal<bool>,
) -> impl IntoView {
    view! {
        <footer class="dialog-foot">
            <a class="button" href=page on:click=move |event| { event.prevent_default(); close.run(()) }>{say!(ui.cancel)}</a>
            <button class="button primary" type="submit" disabled=pending>{yes}</button>
        </footer>
    }
    .into_any()
}

/// What is typed is asked about once it stands still.
const STILL: Duration = Duration::from_millis(300);

/// The pattern in words and the next times, by the server's own reading of it.
#[component]
fn Preview(cron: RwSignal<String>, zone: RwSignal<String>) -> impl IntoView {
    let preview = RwSignal::new(None::<Result<SchedulePreview, Fault>>);
    let timer = StoredValue::new(None::<TimeoutHandle>);
    let stop = move || {
        if let Some(timer) = timer.try_update_value(Option::take).flatten() {
            timer.clear();
        }
    };
    Effect::new(move |first: Option<()>| {
        let typed = (cron.get(), zone.get());
        stop();
        let ask = move || {
            spawn_local(async move {
                let answer = api::preview(typed.0.clone(), typed.1.clone()).await;
                // What was typed meanwhile is asked about too.
                let still =
                    cron.try_get_untracked() == Some(typed.0) && zone.try_get_untracked() == Some(typed.1);
                if still {
                    preview.try_set(Some(answer));
                }
            });
        };
        match first {
            None => ask(),
            Some(()) => timer.set_value(set_timeout_with_handle(ask, STILL).ok()),
        }
    });
    on_cleanup(stop);
    let shown = move || {
        match preview.get()? {
        Ok(preview) => Some(
            view! {
                <p class="strong">{preview.reading}</p>
                <ul class="tabular">{preview.next.into_iter().map(|time| view! { <li>{time}</li> }).collect_view()}</ul>
            }
            .into_any(),
        ),
        Err(fault) => Some(view! { <p class="wrong">{words::sentence(&fault.0)}</p> }.into_any()),
    }
    };
    view! { <div class="preview needs-script" aria-live="polite" data-testid="preview">{shown}</div> }
        .into_any()
}

/// Where the browser is.
fn browser_zone() -> Option<String> {
    let format = js_sys::Intl::DateTimeFormat::new(&js_sys::Array::new(), &js_sys::Object::new());
    js_sys::Reflect::get(&format.resolved_options(), &"timeZone".into()).ok()?.as_string()
}

#[component]
pub fn Deletion(
    schedule: ScheduleView,
    action: ServerAction<DeleteSchedule>,
    page: String,
    close: Callback<()>,
) -> impl IntoView {
    let title = say!(schedule.delete_title, name = schedule.name).to_string();
    view! {
        <Dialog title on_close=close close_href=page.clone()>
            <ActionForm action attr:data-testid="delete-schedule">
                <input type="hidden" name="id" value=schedule.id.to_string()/>
                <p>{say!(schedule.delete_text)}</p>
                <Foot yes=say!(schedule.delete_yes) page close pending=action.pending()/>
            </ActionForm>
        </Dialog>
    }
    .into_any()
}
