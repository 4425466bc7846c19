//! The schedules of a project, and all of them for the platform's administrators. Chunks of their own.

use super::{
    api::{self, EnableSchedule, RunSchedule, Schedules},
    dialog::{Deletion, EditDialog, NewDialog},
    row::{Row, row_key},
};
use crate::{
    admin::{AdminPage, Outcome, keep_fresh},
    error::Fault,
    live::Topic,
    say,
    ui::{Empty, Failure, Glyph, Icon, Skeleton, Toasts},
};
use leptos::prelude::*;
use leptos_router::{
    LazyRoute,
    hooks::{use_params_map, use_query_map},
    lazy_route,
};
use odooops::{Error, id::ScheduleId, project::Slug};

pub struct PlatformSchedulesPage;

#[lazy_route]
impl LazyRoute for PlatformSchedulesPage {
    fn data() -> Self {
        Self
    }

    fn view(_page: Self) -> AnyView {
        view! { <Page slug=Signal::stored(Ok(None)) about=say!(schedule.about_platform)/> }.into_any()
    }
}

pub struct ProjectSchedulesPage;

#[lazy_route]
impl LazyRoute for ProjectSchedulesPage {
    fn data() -> Self {
        Self
    }

    fn view(_page: Self) -> AnyView {
        let params = use_params_map();
        let slug = Memo::new(move |_| {
            let slug = params.read().get("slug").unwrap_or_default();
            // What cannot be a slug names no project.
            Slug::parse(&slug).map(Some).map_err(|_| Fault(Error::not_found("project")))
        });
        view! { <Page slug=slug.into() about=say!(schedule.about)/> }.into_any()
    }
}

type Loaded = Result<(Option<Slug>, Schedules), Fault>;

#[component]
fn Page(slug: Signal<Result<Option<Slug>, Fault>>, about: &'static str) -> impl IntoView {
    let loaded: Resource<Loaded> = Resource::new(
        move || slug.get(),
        |slug| async move {
            let slug = slug?;
            Ok((slug.clone(), api::schedules(slug).await?))
        },
    );
    let open = RwSignal::new(open_by_address());
    view! {
        <AdminPage title=say!(schedule.title) about action=move || view! { <Add loaded open/> }>
            <Suspense fallback=|| view! { <Skeleton lines=6/> }>
                {move || Suspend::new(async move {
                    match loaded.await {
                        Ok((slug, first)) => view! { <List slug first open/> }.into_any(),
                        Err(fault) => view! { <Failure error=fault.0/> }.into_any(),
                    }
                })}
            </Suspense>
        </AdminPage>
    }
    .into_any()
}

/// For those who may.
#[component]
fn Add(loaded: Resource<Loaded>, open: RwSignal<Option<Open>>) -> impl IntoView {
    let link = move |slug: Option<Slug>| {
        view! {
            <a class="button primary" href=format!("{}?new", page_of(slug.as_ref())) data-testid="new-schedule"
                on:click=move |event| { event.prevent_default(); open.set(Some(Open::New)) }>
                <Glyph icon=Icon::Plus/>{say!(schedule.new)}
            </a>
        }
    };
    view! {
        <Suspense>
            {move || Suspend::new(async move {
                let (slug, first) = loaded.await.ok()?;
                first.may_change.then(|| link(slug))
            })}
        </Suspense>
    }
}

fn page_of(slug: Option<&Slug>) -> String {
    slug.map_or_else(|| "/admin/schedules".to_owned(), |slug| format!("/projects/{slug}/schedules"))
}

/// What a dialog is open about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    New,
    Edit(ScheduleId),
    Delete(ScheduleId),
}

/// The address may ask, so that it works without script.
fn open_by_address() -> Option<Open> {
    let query = use_query_map();
    let query = query.read_untracked();
    let id = |name| query.get(name)?.parse().ok();
    if query.get("new").is_some() {
        return Some(Open::New);
    }
    id("edit").map(Open::Edit).or_else(|| id("delete").map(Open::Delete))
}

/// What can be done to a schedule.
#[derive(Clone, Copy)]
pub struct Deeds {
    pub run: ServerAction<RunSchedule>,
    pub enable: ServerAction<EnableSchedule>,
    pub open: RwSignal<Option<Open>>,
}

#[component]
fn List(slug: Option<Slug>, first: Schedules, open: RwSignal<Option<Open>>) -> impl IntoView {
    // The platform's own news are for its administrators only.
    let topic = first.project_id.map_or(Topic::Platform, Topic::Board);
    let shown = RwSignal::new(first);
    let asked = slug.clone();
    let again = keep_fresh(shown, topic, move || api::schedules(asked.clone()));
    let page = page_of(slug.as_ref());
    let deeds = Deeds { run: ServerAction::new(), enable: ServerAction::new(), open };
    let close = Callback::new(move |()| open.set(None));
    tell_of_run(deeds.run, again);
    let may_change = Memo::new(move |_| shown.with(|shown| shown.may_change));
    let find = move |id: ScheduleId| {
        shown.with_untracked(|shown| shown.schedules.iter().find(|one| one.id == id).cloned())
    };
    let of_platform = slug.is_none();
    let dialog_page = page.clone();
    let dialog = move || {
        let (page, slug) = (dialog_page.clone(), slug.clone());
        Some(match open.get()? {
            Open::New => {
                let branches = shown.with_untracked(|shown| shown.branches.clone());
                view! { <NewDialog slug branches page close again/> }.into_any()
            }
            Open::Edit(id) => {
                let before = find(id)?;
                view! { <EditDialog before page close again/> }.into_any()
            }
            Open::Delete(id) => {
                let schedule = find(id)?;
                view! { <Deletion schedule page close again/> }.into_any()
            }
        })
    };
    view! {
        <Outcome action=deeds.enable done=say!(schedule.changed) then=again/>
        <Show when=move || shown.with(|shown| shown.schedules.is_empty())>
            <Empty title=say!(schedule.empty_title) text=say!(schedule.empty)>""</Empty>
        </Show>
        <div class="table-frame overflowing" hidden=move || shown.with(|shown| shown.schedules.is_empty())>
            <table class="table" data-testid="schedules">
                <thead><tr>
                    <th scope="col">{say!(schedule.name)}</th>
                    <th scope="col">{say!(schedule.when)}</th>
                    <th scope="col">{say!(schedule.next)}</th>
                    <th scope="col">{say!(schedule.last)}</th>
                    <th scope="col"><span class="sr-only">{say!(admin.actions)}</span></th>
                </tr></thead>
                <tbody>
                    // A row that did not change stays, with the focus in it.
                    <For each=move || shown.with(|shown| shown.schedules.clone()) key=row_key let:one>
                        <Row schedule=one shown of_platform may_change deeds page=page.clone()/>
                    </For>
                </tbody>
            </table>
        </div>
        {dialog}
    }
    .into_any()
}

/// Asked for and nothing came of it is no error, and has a reason.
fn tell_of_run(run: ServerAction<RunSchedule>, again: Callback<()>) {
    Effect::new(move |_| {
        let Some(answer) = run.value().get() else { return };
        match answer {
            Ok(done) => match done.error {
                Some(why) => Toasts::get().failed(say!(schedule.skipped).to_owned(), why),
                None => Toasts::get().done(say!(schedule.running).to_owned()),
            },
            Err(fault) => {
                Toasts::get().failed(say!(schedule.skipped).to_owned(), crate::words::sentence(&fault.0));
            }
        }
        again.run(());
    });
}
