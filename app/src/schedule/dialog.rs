//! Making and changing a schedule, with what its pattern means before it counts.

use super::{
    api::{self, ChangeSchedule, CreateSchedule, DeleteSchedule},
    row::task_name,
};
use crate::{
    error::Fault,
    say,
    ui::{Answer, Dialog, Question, Toasts, Warning},
    words,
};
use leptos::{
    form::ActionForm, leptos_dom::helpers::TimeoutHandle, prelude::*, server_fn::ServerFn, task::spawn_local,
};
use odooops::{
    Error,
    branch::BranchName,
    project::Slug,
    schedule::{MaintenanceTask, SchedulePreview, ScheduleView},
};
use std::time::Duration;

/// Where the words of a refusal belong.
const FIELDS: [&str; 4] = ["name", "cron", "time_zone", "branch"];

/// What is typed, and what the server said against it.
#[derive(Clone, Copy)]
struct Form {
    cron: RwSignal<String>,
    zone: RwSignal<String>,
    refused: Signal<Option<Error>>,
}

impl Form {
    fn of_field(self, field: &'static str) -> Signal<Option<String>> {
        Signal::derive(move || match self.refused.get() {
            Some(Error::Invalid { field: wrong, detail }) if wrong == field => Some(words::of_code(&detail)),
            _ => None,
        })
    }

    /// What is against none of the fields.
    fn elsewhere(self) -> Option<String> {
        let error = self.refused.get()?;
        let at_field = matches!(&error, Error::Invalid { field, .. } if FIELDS.contains(&field.as_str()));
        (!at_field).then(|| words::sentence(&error))
    }
}

/// The refusal of an action. Done, a few words are said, the list is loaded again, and the dialog closes.
fn answer_of<S>(
    action: ServerAction<S>,
    done: &'static str,
    again: Callback<()>,
    close: Callback<()>,
) -> Signal<Option<Error>>
where
    S: ServerFn<Error = Fault> + Clone + Send + Sync + 'static,
    S::Output: Clone + Send + Sync + 'static,
{
    let value = action.value();
    Effect::new(move |_| {
        if value.with(|value| matches!(value, Some(Ok(_)))) {
            Toasts::get().done(done.to_owned());
            again.run(());
            close.run(());
        }
    });
    Signal::derive(move || {
        value.with(|value| value.as_ref().and_then(|value| value.as_ref().err().map(|fault| fault.0.clone())))
    })
}

/// The actions of these dialogs are made with them: one that is opened again begins without the last one's refusal.
#[component]
pub fn NewDialog(
    slug: Option<Slug>,
    branches: Vec<BranchName>,
    page: String,
    close: Callback<()>,
    again: Callback<()>,
) -> impl IntoView {
    let create = ServerAction::<CreateSchedule>::new();
    let form = Form {
        cron: RwSignal::new("0 2 * * *".to_owned()),
        zone: RwSignal::new("UTC".to_owned()),
        refused: answer_of(create, say!(schedule.created), again, close),
    };
    Effect::new(move |_| {
        if let Some(own) = browser_zone() {
            form.zone.set(own);
        }
    });
    let nothing_to_build = slug.is_some() && branches.is_empty();
    let pending = Signal::derive(move || nothing_to_build || create.pending().get());
    view! {
        <Dialog title=say!(schedule.new) on_close=close close_href=page.clone()>
            <ActionForm action=create attr:data-testid="schedule-form">
                {match slug {
                    Some(slug) => view! {
                        <input type="hidden" name="project" value=slug.to_string()/>
                        <Branches branches wrong=form.of_field("branch")/>
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
                <Fields form name=String::new()/>
                <Answer yes=say!(schedule.create) page on_close=close pending/>
            </ActionForm>
        </Dialog>
    }
    .into_any()
}

#[component]
pub fn EditDialog(
    before: ScheduleView,
    page: String,
    close: Callback<()>,
    again: Callback<()>,
) -> impl IntoView {
    let change = ServerAction::<ChangeSchedule>::new();
    let form = Form {
        cron: RwSignal::new(before.cron),
        zone: RwSignal::new(before.time_zone),
        refused: answer_of(change, say!(schedule.changed), again, close),
    };
    let title = say!(schedule.edit_title, name = before.name.clone()).to_string();
    view! {
        <Dialog title on_close=close close_href=page.clone()>
            <ActionForm action=change attr:data-testid="schedule-form">
                <input type="hidden" name="id" value=before.id.to_string()/>
                <Fields form name=before.name/>
                <Answer yes=say!(schedule.save) page on_close=close pending=change.pending()/>
            </ActionForm>
        </Dialog>
    }
    .into_any()
}

#[component]
fn Branches(branches: Vec<BranchName>, wrong: Signal<Option<String>>) -> impl IntoView {
    if branches.is_empty() {
        return view! { <p class="strong" data-testid="no-branch">{say!(schedule.no_branch)}</p> }.into_any();
    }
    view! {
        <label class="field">
            <span>{say!(schedule.branch)}</span>
            <select name="branch" required>
                {branches.into_iter().map(|branch| {
                    let name = branch.to_string();
                    view! { <option value=name.clone()>{name.clone()}</option> }
                }).collect_view()}
            </select>
            <small>{say!(schedule.branch_hint)}</small>
            <Wrong text=wrong/>
        </label>
    }
    .into_any()
}

#[component]
fn Fields(form: Form, name: String) -> impl IntoView {
    let Form { cron, zone, .. } = form;
    view! {
        <label class="field">
            <span>{say!(schedule.name)}</span>
            <input name="name" required maxlength="100" autocomplete="off" value=name autofocus/>
            <Wrong text=form.of_field("name")/>
        </label>
        <label class="field">
            <span>{say!(schedule.cron)}</span>
            <input name="cron" class="mono" required maxlength="200" autocomplete="off" spellcheck="false"
                value=cron.get_untracked() prop:value=cron on:input=move |event| cron.set(event_target_value(&event))/>
            <small>{say!(schedule.cron_hint)}</small>
            <Wrong text=form.of_field("cron")/>
        </label>
        <label class="field">
            <span>{say!(schedule.time_zone)}</span>
            <input name="time_zone" required maxlength="64" autocomplete="off" spellcheck="false"
                value=zone.get_untracked() prop:value=zone on:input=move |event| zone.set(event_target_value(&event))/>
            <Wrong text=form.of_field("time_zone")/>
        </label>
        <Preview cron zone/>
        {move || form.elsewhere().map(|text| view! { <Warning text/> })}
    }
    .into_any()
}

#[component]
fn Wrong(text: Signal<Option<String>>) -> impl IntoView {
    move || text.get().map(|text| view! { <small class="wrong" role="alert">{text}</small> })
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
    page: String,
    close: Callback<()>,
    again: Callback<()>,
) -> impl IntoView {
    let action = ServerAction::<DeleteSchedule>::new();
    let title = say!(schedule.delete_title, name = schedule.name).to_string();
    view! {
        <Question title action yes=say!(schedule.delete_yes) done=say!(schedule.deleted) page
            testid="delete-schedule" on_close=close then=again>
            <input type="hidden" name="id" value=schedule.id.to_string()/>
            <p>{say!(schedule.delete_text)}</p>
        </Question>
    }
    .into_any()
}
