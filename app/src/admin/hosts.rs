//! The machines that environments run on, and the workers that speak for them.

use super::{
    api::{self, DrainWorker},
    fresh::keep_fresh,
    parts::{AdminPage, Outcome},
    words,
};
use crate::{
    say,
    ui::{Empty, Failure, Skeleton, TimeAgo},
};
use leptos::{form::ActionForm, prelude::*};
use leptos_router::{LazyRoute, lazy_route};
use odooops::{
    host::{HostState, HostView, WorkerView},
    id::HostId,
};

pub struct HostsPage;

#[lazy_route]
impl LazyRoute for HostsPage {
    fn data() -> Self {
        Self
    }

    fn view(_page: Self) -> AnyView {
        let hosts = Resource::new(|| (), |()| api::hosts());
        view! {
            <AdminPage title=say!(admin.hosts.title) about=say!(admin.hosts.about)>
                <Suspense fallback=|| view! { <Skeleton lines=6/> }>
                    {move || Suspend::new(async move {
                        match hosts.await {
                            Ok(hosts) => view! { <Hosts hosts/> }.into_any(),
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
fn Hosts(hosts: Vec<HostView>) -> impl IntoView {
    let hosts = RwSignal::new(hosts);
    let again = keep_fresh(hosts, api::hosts);
    let drain = ServerAction::<DrainWorker>::new();
    view! {
        <Outcome action=drain done=say!(admin.hosts.told) then=again/>
        <Show when=move || hosts.with(Vec::is_empty)>
            <Empty title=say!(admin.hosts.empty_title) text=say!(admin.hosts.empty)>{()}</Empty>
        </Show>
        <ul class="hosts" data-testid="hosts">
            <For each=move || hosts.with(|hosts| hosts.iter().map(|host| host.id).collect::<Vec<_>>())
                key=|id| *id let:id>
                <Host id hosts drain/>
            </For>
        </ul>
    }
    .into_any()
}

#[component]
fn Host(id: HostId, hosts: RwSignal<Vec<HostView>>, drain: ServerAction<DrainWorker>) -> impl IntoView {
    let host = Memo::new(move |_| hosts.with(|hosts| hosts.iter().find(|host| host.id == id).cloned()));
    let state = Memo::new(move |_| host.with(|host| host.as_ref().map(|host| host.state)));
    let name = host.with_untracked(|host| host.as_ref().map(|host| host.name.clone()));
    // The buttons change with the state only: heartbeats leave the focus where it is.
    let workers = Memo::new(move |_| {
        let of = |host: &HostView| {
            host.workers.iter().map(|worker| (worker.id.clone(), worker.draining_since.is_some())).collect()
        };
        host.with(|host| host.as_ref().map(of)).unwrap_or_else(Vec::new)
    });
    view! {
        <li class="host panel" data-host=name.clone()>
            <header class="host-head">
                <h2>{name.clone()}</h2>
                {move || state.get().map(|state| view! { <StateMark state/> })}
                <div class="host-actions">
                    {move || workers.get().into_iter().map(|(worker, draining)| view! {
                        <Drain worker draining named={workers.with(Vec::len) > 1} action=drain/>
                    }).collect_view()}
                </div>
            </header>
            {move || host.get().map(|host| view! { <Facts host/> })}
        </li>
    }
    .into_any()
}

/// A dot of the state's colour, and its name.
#[component]
pub fn StateMark(state: HostState) -> impl IntoView {
    view! { <span class=format!("state state-{state}")>{words::host_state(state)}</span> }
}

#[component]
fn Drain(worker: String, draining: bool, named: bool, action: ServerAction<DrainWorker>) -> impl IntoView {
    let (text, why) = match draining {
        false => (say!(admin.hosts.drain), say!(admin.hosts.drain_why)),
        true => (say!(admin.hosts.undrain), say!(admin.hosts.undrain_why)),
    };
    let text = if named { format!("{text} {worker}") } else { text.to_owned() };
    view! {
        <ActionForm action>
            <input type="hidden" name="worker" value=worker/>
            <input type="hidden" name="drain" value=(!draining).to_string()/>
            <button class="button small-button" type="submit" title=why>{text}</button>
        </ActionForm>
    }
    .into_any()
}

#[component]
fn Facts(host: HostView) -> impl IntoView {
    let labels = host.labels.clone();
    let worker = host.worker().cloned();
    view! {
        <p class="chips">
            {match labels.is_empty() {
                true => view! { <span class="muted small">{say!(admin.hosts.no_labels)}</span> }.into_any(),
                false => labels.into_iter().map(|label| view! { <span class="chip mono">{label}</span> }).collect_view().into_any(),
            }}
        </p>
        {match worker {
            Some(worker) => view! { <Machine worker host/> }.into_any(),
            None => view! { <p class="muted">{say!(admin.hosts.no_worker)}</p> }.into_any(),
        }}
    }
    .into_any()
}

#[component]
fn Machine(worker: WorkerView, host: HostView) -> impl IntoView {
    let runs = say!(admin.hosts.of, used = worker.running.to_string(), total = worker.capacity.to_string())
        .to_string();
    let room = move |free: Option<i64>, total: Option<i64>| match (free, total) {
        (Some(free), Some(total)) if total > 0 => {
            let used = (total - free).max(0);
            let text =
                say!(admin.hosts.of, used = words::bytes(used), total = words::bytes(total)).to_string();
            view! { <Room text share={percent(used, total)}/> }.into_any()
        }
        _ => view! { <span class="muted">{say!(admin.hosts.not_told)}</span> }.into_any(),
    };
    view! {
        <dl class="host-facts">
            <div><dt>{say!(admin.hosts.runs)}</dt><dd><Room text=runs share={percent(worker.running, i64::from(worker.capacity))}/></dd></div>
            <div><dt>{say!(admin.hosts.memory)}</dt><dd>{room(worker.memory_free_bytes, worker.memory_total_bytes)}</dd></div>
            <div><dt>{say!(admin.hosts.disk)}</dt><dd>{room(worker.disk_free_bytes, worker.disk_total_bytes)}</dd></div>
            <div><dt>{say!(admin.hosts.cpus)}</dt><dd class="tabular">{worker.cpus.map_or_else(|| "–".to_owned(), |cpus| cpus.to_string())}</dd></div>
            <div><dt>{say!(admin.hosts.environments)}</dt><dd class="tabular">{host.environments}</dd></div>
            <div><dt>{say!(admin.hosts.heartbeat)}</dt><dd><TimeAgo at=worker.last_heartbeat_at/></dd></div>
        </dl>
        <p class="muted small host-foot">
            <code>{worker.id}</code>" · "{say!(admin.hosts.version, version = worker.version).to_string()}" · "
            {say!(admin.hosts.takes, kinds = worker.kinds.join(", ")).to_string()}
            {worker.draining_since.map(|since| view! { " · "{say!(admin.hosts.draining_since)}" "<TimeAgo at=since/> })}
            {host.revoked_at.map(|at| view! { " · "{say!(admin.hosts.revoked_since)}" "<TimeAgo at/> })}
        </p>
    }
    .into_any()
}

fn percent(used: i64, total: i64) -> i64 {
    used.saturating_mul(100).checked_div(total).unwrap_or(0).clamp(0, 100)
}

/// How much of something is taken: in words, and as a bar.
#[component]
fn Room(text: String, share: i64) -> impl IntoView {
    view! {
        <span class="tabular">{text}</span>
        <span class="bar room" class:full={share >= 90} aria-hidden="true"><span style=format!("width:{share}%")></span></span>
    }
}
