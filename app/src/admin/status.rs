//! How the platform is: what is to be seen to, and the figures behind it.

use super::{
    api, fresh::keep_fresh, hosts::StateMark, parts::AdminPage, quarantine::QuarantineView,
    reconcilers::Reconcilers, words,
};
use crate::{
    error::Fault,
    live::Topic,
    say,
    schedule::state_name,
    ui::{Failure, Glyph, Icon, Skeleton, TimeAgo},
};
use leptos::prelude::*;
use leptos_router::{LazyRoute, hooks::use_query_map, lazy_route};
use odooops::{
    reconcile::{DryRun, Quarantined},
    status::{Status, Stuck, StuckRun},
};

pub struct StatusPage;

/// The status, and what is in quarantine.
type Loaded = (Status, Vec<Quarantined>);

async fn load() -> Result<Loaded, Fault> {
    Ok((api::status().await?, api::quarantine().await?))
}

/// With the dry runs that the address asks for, so that they are seen without script.
async fn load_first(dry_runs: Option<String>) -> Result<(Loaded, Vec<DryRun>), Fault> {
    let loaded = load().await?;
    let dry_runs = match dry_runs {
        Some(ids) => api::dry_run(ids).await?,
        None => Vec::new(),
    };
    Ok((loaded, dry_runs))
}

#[lazy_route]
impl LazyRoute for StatusPage {
    fn data() -> Self {
        Self
    }

    fn view(_page: Self) -> AnyView {
        let asked = use_query_map().read_untracked().get("dry-run");
        let status = Resource::new(move || asked.clone(), load_first);
        view! {
            <AdminPage title=say!(admin.status.title) about=say!(admin.status.about)>
                <Suspense fallback=|| view! { <Skeleton lines=10/> }>
                    {move || Suspend::new(async move {
                        match status.await {
                            Ok((loaded, dry_runs)) => view! { <StatusView loaded dry_runs/> }.into_any(),
                            Err(fault) => view! { <Failure error=fault.0/> }.into_any(),
                        }
                    })}
                </Suspense>
            </AdminPage>
        }
        .into_any()
    }
}

#[component]
fn StatusView(loaded: Loaded, dry_runs: Vec<DryRun>) -> impl IntoView {
    let loaded = RwSignal::new(loaded);
    let again = keep_fresh(loaded, Topic::Platform, load);
    let status = Memo::new(move |_| loaded.with(|(status, _)| status.clone()));
    let problems = Memo::new(move |_| status.with(|status| status.problems.clone()));
    let stuck = Memo::new(move |_| status.with(|status| status.queue.stuck.clone()));
    let quarantined = Memo::new(move |_| loaded.with(|(_, quarantined)| quarantined.clone()));
    view! {
        {move || match problems.with(Vec::is_empty) {
            true => view! {
                <p class="verdict-line good" role="status" data-testid="well"><Glyph icon=Icon::Check/>{say!(admin.status.well)}</p>
            }
            .into_any(),
            false => view! {
                <section class="verdict-line bad" role="status" data-testid="problems">
                    <Glyph icon=Icon::TriangleAlert/>
                    <ul>{problems.get().iter().map(|problem| view! { <li>{words::problem(problem)}</li> }).collect_view()}</ul>
                </section>
            }
            .into_any(),
        }}
        {move || view! { <Figures status=status.get()/> }}
        {move || (!stuck.with(Vec::is_empty)).then(|| view! { <StuckRuns runs=stuck.get()/> })}
        <Reconcilers status again dry_runs/>
        <QuarantineView quarantined again/>
        {move || view! { <Workers status=status.get()/> }}
        {move || view! { <Partitions status=status.get()/> }}
    }
    .into_any()
}

#[component]
fn Figures(status: Status) -> impl IntoView {
    let pg = status.postgres;
    let (queue, schema) = (status.queue, status.migrations);
    let size = words::bytes(pg.size_bytes);
    let used = say!(
        admin.status.connections,
        used = pg.connections.to_string(),
        max = pg.max_connections.to_string()
    )
    .to_string();
    let schema_note = if schema.applied >= schema.known {
        say!(admin.status.schema_current)
    } else {
        say!(admin.status.schema_old)
    };
    view! {
        <dl class="tiles" data-testid="figures">
            <div class="tile">
                <dt>{say!(admin.status.postgres)}</dt>
                <dd>{pg.version}</dd>
                <dd class="note">{size}" · "{used}</dd>
                <dd class="note">{say!(admin.status.started)}" "<TimeAgo at=pg.started_at/></dd>
            </div>
            <div class="tile">
                <dt>{say!(admin.status.schema)}</dt>
                <dd>{schema.applied}</dd>
                <dd class="note">{schema_note}</dd>
            </div>
            <div class="tile">
                <dt>{say!(admin.status.queue)}</dt>
                <dd><a class="link" href="/admin/queue">{say!(admin.status.waiting, n = queue.waiting.to_string()).to_string()}</a></dd>
                <dd class="note">{say!(admin.status.running, n = queue.running.to_string(), later = queue.later.to_string()).to_string()}</dd>
                {queue.oldest_waiting_since.map(|at| view! { <dd class="note">{say!(admin.status.oldest)}" "<TimeAgo at/></dd> })}
            </div>
            <div class="tile">
                <dt>{say!(admin.status.quarantine)}</dt>
                <dd>{status.quarantined}</dd>
                <dd class="note">{say!(admin.status.quarantine_note)}</dd>
            </div>
        </dl>
    }
    .into_any()
}

#[component]
fn StuckRuns(runs: Vec<StuckRun>) -> impl IntoView {
    let why = |why| match why {
        Stuck::LeaseOver => say!(admin.status.lease_over),
        Stuck::NotCanceled => say!(admin.status.not_canceled),
    };
    view! {
        <section class="admin-section" aria-labelledby="stuck-title">
            <h2 id="stuck-title">{say!(admin.status.stuck)}</h2>
            <div class="table-frame">
                <table class="table" data-testid="stuck">
                    <thead><tr>
                        <th scope="col">{say!(admin.status.run)}</th>
                        <th scope="col">{say!(admin.status.project)}</th>
                        <th scope="col">{say!(admin.status.worker)}</th>
                        <th scope="col">{say!(admin.status.why)}</th>
                    </tr></thead>
                    <tbody>
                    {runs.into_iter().map(|run| view! {
                        <tr>
                            <td data-label=say!(admin.status.run)><a class="link mono" href=format!("/projects/{}/builds/{}", run.project, run.id)>{run.kind.as_str()}" "{run.id.to_string()}</a></td>
                            <td data-label=say!(admin.status.project)>{run.project.to_string()}</td>
                            <td data-label=say!(admin.status.worker)>{run.worker_id}</td>
                            <td data-label=say!(admin.status.why)>{why(run.why)}", "<TimeAgo at=run.since/></td>
                        </tr>
                    }).collect_view()}
                    </tbody>
                </table>
            </div>
        </section>
    }
    .into_any()
}

#[component]
fn Workers(status: Status) -> impl IntoView {
    view! {
        <section class="admin-section" aria-labelledby="workers-title">
            <h2 id="workers-title"><a class="link" href="/admin/hosts">{say!(admin.status.workers)}</a></h2>
            {status.workers.is_empty().then(|| view! { <p class="muted">{say!(admin.status.no_workers)}</p> })}
            <ul class="lines" data-testid="workers">
                {status.workers.into_iter().map(|worker| view! {
                    <li>
                        <StateMark state=worker.state/>
                        <code class="truncate">{worker.id}</code>
                        <span class="muted tabular">
                            {say!(admin.status.runs_of, running = worker.running.to_string(), capacity = worker.capacity.to_string()).to_string()}
                        </span>
                        <span class="muted">{say!(admin.status.heard)}" "<TimeAgo at=worker.last_heartbeat_at/></span>
                    </li>
                }).collect_view()}
            </ul>
        </section>
    }
    .into_any()
}

#[component]
fn Partitions(status: Status) -> impl IntoView {
    view! {
        <section class="admin-section" aria-labelledby="partitions-title">
            <h2 id="partitions-title">{say!(admin.status.partitions)}</h2>
            <p class="muted small">
                {say!(admin.status.partitions_about)}" "
                {match status.retention {
                    Some(last) => view! {
                        {say!(admin.status.retention, state = state_name(last.state).to_ascii_lowercase()).to_string()}" "<TimeAgo at=last.due_at/>"."
                    }
                    .into_any(),
                    None => view! { {say!(admin.status.no_retention)} }.into_any(),
                }}
            </p>
            <div class="table-frame">
                <table class="table">
                    <thead><tr>
                        <th scope="col">{say!(admin.status.table)}</th>
                        <th scope="col" class="number">{say!(admin.status.parts)}</th>
                        <th scope="col" class="number">{say!(admin.status.size)}</th>
                        <th scope="col" class="number">{say!(admin.status.beside)}</th>
                    </tr></thead>
                    <tbody>
                        {status.partitions.into_iter().map(|table| view! {
                            <tr>
                                <td data-label=say!(admin.status.table)><code>{table.table}</code></td>
                                <td data-label=say!(admin.status.parts) class="number">{table.partitions}</td>
                                <td data-label=say!(admin.status.size) class="number">{words::bytes(table.size_bytes)}</td>
                                <td data-label=say!(admin.status.beside) class="number">{table.rows_in_default}</td>
                            </tr>
                        }).collect_view()}
                    </tbody>
                </table>
            </div>
        </section>
    }
    .into_any()
}
