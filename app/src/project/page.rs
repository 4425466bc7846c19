use super::{api, create::CreateProjectDialog};
use crate::{
    live::{Live, Topic},
    say,
    ui::{Empty, Failure, Glyph, Icon, Skeleton, TimeAgo},
};
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_query_map;
use odooops::project::ProjectSummary;

#[component]
pub fn ProjectsPage() -> impl IntoView {
    let projects = Resource::new(|| (), |()| api::projects());
    Effect::new(move |_| Live::get().subscribe(Topic::Projects, None, move |()| projects.refetch()));
    let creating = RwSignal::new(use_query_map().read_untracked().get("new").is_some());
    let close = Callback::new(move |()| creating.set(false));
    view! {
        <Title text=say!(project.title)/>
        <div class="page">
            <header class="page-head">
                <div>
                    <h1>{say!(project.title)}</h1>
                    <p class="muted">{say!(project.about)}</p>
                </div>
                <NewProject creating/>
            </header>
            <Transition fallback=|| view! { <Skeleton lines=5/> }>
                {move || Suspend::new(async move {
                    match projects.await {
                        Ok(projects) if projects.is_empty() => view! { <NoProjects creating/> }.into_any(),
                        Ok(projects) => view! {
                            <ul class="projects">
                                {projects.into_iter().map(|project| view! { <Project project/> }).collect_view()}
                            </ul>
                        }
                        .into_any(),
                        Err(fault) => view! { <Failure error=fault.0/> }.into_any(),
                    }
                })}
            </Transition>
            {move || creating.get().then(|| view! { <CreateProjectDialog on_close=close/> })}
        </div>
    }
    .into_any()
}

#[component]
fn NewProject(creating: RwSignal<bool>) -> impl IntoView {
    view! {
        <a class="button primary" href="/?new" data-testid="new-project"
            on:click=move |event| { event.prevent_default(); creating.set(true) }>
            <Glyph icon=Icon::Plus/>{say!(project.new)}
        </a>
    }
}

#[component]
fn NoProjects(creating: RwSignal<bool>) -> impl IntoView {
    view! {
        <Empty title=say!(project.empty_title) text=say!(project.empty)><NewProject creating/></Empty>
    }
}

#[component]
fn Project(project: ProjectSummary) -> impl IntoView {
    let source = match &project.remote_url {
        Some(url) => say!(project.fetched_from, url = url.clone()).to_string(),
        None => say!(project.own_repository).to_owned(),
    };
    let figure = |name: &'static str, count: i64| {
        view! { <div class:zero={count == 0}><dt>{name}</dt><dd class="tabular">{count}</dd></div> }
    };
    let activity = match project.last_activity_at {
        Some(at) => view! { <TimeAgo at/> }.into_any(),
        None => say!(project.never).into_any(),
    };
    view! {
        <li class="project" data-testid="project">
            <div class="project-head">
                <h2><a class="stretched" href=format!("/projects/{}", project.slug)>{project.name}</a></h2>
                <span class="muted small">{say!(project.series, series = project.odoo_series).to_string()}</span>
            </div>
            <p class="muted small truncate"><code>{project.slug.to_string()}</code>" · "<span title=source.clone()>{source.clone()}</span></p>
            <dl class="figures">
                {figure(say!(project.branches), project.branches)}
                {figure(say!(project.running), project.running_environments)}
                {figure(say!(project.building), project.active_runs)}
                <div><dt>{say!(project.activity)}</dt><dd>{activity}</dd></div>
            </dl>
        </li>
    }
    .into_any()
}
