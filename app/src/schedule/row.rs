use super::{
    api::Schedules,
    page::{Deeds, Open},
};
use crate::{
    admin::words::named,
    say,
    ui::{Menu, TimeAgo, VerdictMark},
};
use leptos::{form::ActionForm, prelude::*};
use odooops::schedule::{MaintenanceTask, ScheduleRun, ScheduleRunState, ScheduleView};

pub fn task_name(task: MaintenanceTask) -> &'static str {
    match task {
        MaintenanceTask::Retention => say!(schedule.task.retention),
        MaintenanceTask::Reconcile => say!(schedule.task.reconcile),
    }
}

pub fn state_name(state: ScheduleRunState) -> &'static str {
    match state {
        ScheduleRunState::Queued => say!(schedule.state.queued),
        ScheduleRunState::Skipped => say!(schedule.state.skipped),
        ScheduleRunState::Waiting => say!(schedule.state.waiting),
        ScheduleRunState::Running => say!(schedule.state.running),
        ScheduleRunState::Succeeded => say!(schedule.state.succeeded),
        ScheduleRunState::Failed => say!(schedule.state.failed),
    }
}

/// What it does, in a few words.
fn does(schedule: &ScheduleView) -> String {
    match (&schedule.branch, schedule.task) {
        (Some(branch), _) => say!(schedule.builds, branch = branch.to_string()).to_string(),
        (None, Some(task)) => task_name(task).to_owned(),
        (None, None) => say!(schedule.branch_gone).to_owned(),
    }
}

type Moving = (Option<String>, Option<String>, Option<ScheduleRun>);

/// What of a schedule changes by itself.
fn moving(schedule: &ScheduleView) -> Moving {
    (schedule.error.clone(), schedule.next_due_local.clone(), schedule.last.clone())
}

/// By what its row stays the same one.
pub fn row_key(schedule: &ScheduleView) -> String {
    format!(
        "{:?}",
        (
            schedule.id,
            &schedule.name,
            schedule.enabled,
            &schedule.cron,
            &schedule.time_zone,
            &schedule.reading,
            &schedule.branch,
            schedule.task
        )
    )
}

#[component]
pub fn Row(
    schedule: ScheduleView,
    shown: RwSignal<Schedules>,
    of_platform: bool,
    may_change: Memo<bool>,
    deeds: Deeds,
    page: String,
) -> impl IntoView {
    let (id, enabled) = (schedule.id, schedule.enabled);
    let does = does(&schedule);
    // What changes by itself: the rest of the row stays, and a menu that is open in it.
    let now =
        Memo::new(move |_| shown.with(|shown| shown.schedules.iter().find(|one| one.id == id).map(moving)));
    let next = move || match now
        .get()
        .map(|(error, next, _)| (enabled, error, next))
        .unwrap_or((enabled, None, None))
    {
        (false, ..) => view! { <span class="chip">{say!(schedule.stopped)}</span> }.into_any(),
        (true, Some(error), _) => view! { <span class="wrong">{error}</span> }.into_any(),
        (true, None, Some(next)) => view! { <span class="tabular">{next}</span> }.into_any(),
        (true, None, None) => view! { <span class="muted">{say!(schedule.soon)}</span> }.into_any(),
    };
    let project = schedule.project_slug.clone().filter(|_| of_platform).map(|slug| {
        let name = schedule.project_name.clone().unwrap_or_else(|| slug.to_string());
        view! { <a class="link small" href=format!("/projects/{slug}/schedules")>{name}</a> }
    });
    let slug = schedule.project_slug;
    let slug = slug.map(|slug| slug.to_string());
    let last = move || {
        let (.., last) = now.get()?;
        let last = last?;
        Some(view! { <Last last slug=slug.clone()/> })
    };
    let (built_in, page) = (schedule.built_in, StoredValue::new(page));
    let label = say!(schedule.menu, name = schedule.name.clone()).to_string();
    let name = schedule.name.clone();
    let run_label = StoredValue::new(named(say!(schedule.run_now), &name));
    view! {
        <tr data-schedule=name>
            <td data-label=say!(schedule.name)>
                <span class="stacked">
                    <span class="strong">{schedule.name}</span>
                    <span class="muted small">{does}</span>
                    {project}
                </span>
            </td>
            <td data-label=say!(schedule.when)>
                <span class="stacked">
                    <span>{schedule.reading.unwrap_or_default()}</span>
                    <span class="muted small"><code>{schedule.cron}</code>" · "{schedule.time_zone}</span>
                </span>
            </td>
            <td data-label=say!(schedule.next)>{next}</td>
            <td data-label=say!(schedule.last)>{move || match last() {
                Some(last) => last.into_any(),
                None => view! { <span class="muted">{say!(schedule.never)}</span> }.into_any(),
            }}</td>
            <td class="row-actions">
                <Show when=move || may_change.get()>
                    <ActionForm action=deeds.run>
                        <input type="hidden" name="id" value=id.to_string()/>
                        <button class="button small-button" type="submit" aria-label=run_label.get_value()>{say!(schedule.run_now)}</button>
                    </ActionForm>
                    <Menu label=label.clone()>
                        <ActionForm action=deeds.enable>
                            <input type="hidden" name="id" value=id.to_string()/>
                            <input type="hidden" name="enabled" value=(!enabled).to_string()/>
                            <button class="menu-item" type="submit">
                                {if enabled { say!(schedule.stop) } else { say!(schedule.go_on) }}
                            </button>
                        </ActionForm>
                        <a class="menu-item" href=page.with_value(|page| format!("{page}?edit={id}"))
                            on:click=move |event| { event.prevent_default(); deeds.open.set(Some(Open::Edit(id))) }>
                            {say!(schedule.edit)}
                        </a>
                        {(!built_in).then(|| view! {
                            <a class="menu-item" href=page.with_value(|page| format!("{page}?delete={id}"))
                                on:click=move |event| { event.prevent_default(); deeds.open.set(Some(Open::Delete(id))) }>
                                {say!(schedule.delete)}
                            </a>
                        })}
                    </Menu>
                </Show>
            </td>
        </tr>
    }
    .into_any()
}

/// A link to the run, where there is one; else what came of it.
#[component]
fn Last(last: ScheduleRun, slug: Option<String>) -> impl IntoView {
    let run = last.run_id.zip(slug).map(|(run, slug)| {
        let verdict = last.run_status.map(|status| view! { <VerdictMark verdict={status.verdict()} small=true/> });
        view! {
            <a class="link run-name" href=format!("/projects/{slug}/builds/{run}")>{verdict}{say!(schedule.run)}</a>
        }
    });
    let state = match run {
        Some(run) => run.into_any(),
        None => view! { <span>{state_name(last.state)}</span> }.into_any(),
    };
    view! {
        <span class="stacked">
            {state}
            <span class="muted small"><TimeAgo at=last.due_at/>
                {(last.missed > 0).then(|| view! { " · "{say!(schedule.missed, n = last.missed.to_string()).to_string()} })}
            </span>
            {last.error.map(|error| view! { <span class="wrong small">{error}</span> })}
        </span>
    }
    .into_any()
}
