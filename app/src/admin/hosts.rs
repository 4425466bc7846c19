//! The machines that environments run on, and the workers that speak for them.

use super::{
    api::{self, DrainWorker, ForgetWorker, InviteHost, RevokeHost},
    fresh::keep_fresh,
    parts::{AdminPage, Outcome},
    words,
};
use crate::{
    error::Fault,
    live::Topic,
    say,
    ui::{
        Answer, Ask, CopyButton, Dialog, Empty, Failure, Glyph, Icon, Question, Skeleton, TimeAgo, Told,
        asked_by_address,
    },
};
use leptos::{form::ActionForm, prelude::*};
use leptos_router::{LazyRoute, hooks::use_query_map, lazy_route, params::ParamsMap};
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
        let adding = RwSignal::new(use_query_map().read_untracked().get("new").is_some());
        view! {
            <AdminPage title=say!(admin.hosts.title) about=say!(admin.hosts.about)
                action=move || view! { <Add hosts adding/> }>
                <Suspense fallback=|| view! { <Skeleton lines=6/> }>
                    {move || Suspend::new(async move {
                        match hosts.await {
                            Ok(hosts) => view! { <Hosts hosts adding/> }.into_any(),
                            Err(fault) => view! { <Failure error=fault.0/> }.into_any(),
                        }
                    })}
                </Suspense>
            </AdminPage>
        }
        .into_any()
    }
}

/// For those who see the hosts.
#[component]
fn Add(hosts: Resource<Result<Vec<HostView>, Fault>>, adding: RwSignal<bool>) -> impl IntoView {
    let link = move || {
        view! {
            <a class="button primary" href="/admin/hosts?new" data-testid="add-host"
                on:click=move |event| { event.prevent_default(); adding.set(true) }>
                <Glyph icon=Icon::Plus/>{say!(admin.hosts.add)}
            </a>
        }
    };
    view! { <Suspense>{move || Suspend::new(async move { hosts.await.is_ok().then(link) })}</Suspense> }
}

#[component]
fn Hosts(hosts: Vec<HostView>, adding: RwSignal<bool>) -> impl IntoView {
    let hosts = RwSignal::new(hosts);
    let again = keep_fresh(hosts, Topic::Platform, api::hosts);
    let drain = ServerAction::<DrainWorker>::new();
    let asked = RwSignal::new(asked_by_address::<HostId>("revoke"));
    let close = Callback::new(move |()| asked.set(None));
    let forgetting = RwSignal::new(asked_by_address::<String>("forget"));
    let keep = Callback::new(move |()| forgetting.set(None));
    // The address may name anything.
    let forgotten = move || {
        let name = forgetting.get()?;
        hosts.with_untracked(|hosts| hosts.iter().flat_map(forgettable).any(|it| it == name)).then_some(name)
    };
    let about = move || {
        let asked = asked.get()?;
        hosts.with_untracked(|hosts| hosts.iter().find(|host| host.id == asked).cloned())
    };
    view! {
        <Outcome action=drain done=say!(admin.hosts.told) then=again/>
        <Show when=move || hosts.with(Vec::is_empty)>
            <Empty title=say!(admin.hosts.empty_title) text=say!(admin.hosts.empty)>""</Empty>
        </Show>
        <ul class="hosts" data-testid="hosts">
            <For each=move || hosts.with(|hosts| hosts.iter().map(|host| host.id).collect::<Vec<_>>())
                key=|id| *id let:id>
                <Host id hosts drain asked forgetting/>
            </For>
        </ul>
        {move || adding.get().then(|| view! { <AddHost close=Callback::new(move |()| adding.set(false))/> })}
        {move || about().map(|host| view! { <Revocation host close again/> })}
        {move || forgotten().map(|name| view! { <Forgetting name close=keep again/> })}
    }
    .into_any()
}

/// Makes a token and shows, once, what to run on the other machine.
#[component]
fn AddHost(close: Callback<()>) -> impl IntoView {
    let invite = ServerAction::<InviteHost>::new();
    let value = invite.value();
    // The token is shown once and to nobody without script: for them it must not be made.
    let alive = RwSignal::new(false);
    Effect::new(move |_| alive.set(true));
    let pending = Signal::derive(move || !alive.get() || invite.pending().get());
    let form = move || {
        view! {
            <ActionForm action=invite attr:data-testid="invite">
                <p>{say!(admin.hosts.add_text)}</p>
                <label class="field">
                    <span>{say!(admin.hosts.add_name)}</span>
                    <input name="name" class="mono" maxlength="63" autocomplete="off" spellcheck="false" autofocus/>
                    <small>{say!(admin.hosts.add_name_hint)}</small>
                </label>
                <label class="field">
                    <span>{say!(admin.hosts.add_labels)}</span>
                    <input name="labels" class="mono" autocomplete="off" spellcheck="false"/>
                    <small>{say!(admin.hosts.add_labels_hint)}</small>
                </label>
                <Told action=invite then=Callback::new(|()| ())/>
                <p class="muted without-script">{say!(admin.hosts.add_by_command)}" "<code>"ops worker token"</code></p>
                <div class="needs-script">
                    <Answer yes=say!(admin.hosts.add_yes) page="/admin/hosts" on_close=close pending/>
                </div>
            </ActionForm>
        }
    };
    view! {
        <Dialog title=say!(admin.hosts.add) on_close=close close_href="/admin/hosts">
            {move || match value.get() {
                Some(Ok(made)) => {
                    let command = made.command();
                    view! {
                        <p>{say!(admin.hosts.added_text)}</p>
                        <div class="command" data-testid="join-command">
                            <pre>{command.clone()}</pre>
                            <CopyButton text=command label=say!(admin.hosts.copy)/>
                        </div>
                        <p class="muted small added-note">{say!(admin.hosts.added_note, at = words::moment(made.expires_at)).to_string()}</p>
                        <footer class="dialog-foot">
                            <button type="button" class="button primary" on:click=move |_| close.run(())>{say!(ui.close)}</button>
                        </footer>
                    }
                    .into_any()
                }
                _ => form().into_any(),
            }}
        </Dialog>
    }
    .into_any()
}

/// How much of production stands on it decides how hard it asks.
#[component]
fn Revocation(host: HostView, close: Callback<()>, again: Callback<()>) -> impl IntoView {
    let action = ServerAction::<RevokeHost>::new();
    let HostView { name, environments, production_environments: production, .. } = host;
    let title = say!(admin.hosts.revoke_title, name = name.clone()).to_string();
    let stops = match environments {
        0 => say!(admin.hosts.revoke_none).to_owned(),
        1 => say!(admin.hosts.revoke_one).to_owned(),
        n => say!(admin.hosts.revoke_many, n = n.to_string()).to_string(),
    };
    let of_production = match production {
        1 => say!(admin.hosts.revoke_production_one).to_owned(),
        n => say!(admin.hosts.revoke_production_many, n = n.to_string()).to_string(),
    };
    let repeat = say!(admin.quarantine.repeat, name = name.clone()).to_string();
    view! {
        <Question title action yes=say!(admin.hosts.revoke_yes) done=say!(admin.hosts.revoked)
            page="/admin/hosts" testid="revoke" on_close=close then=again>
            <input type="hidden" name="name" value=name/>
            <p>{say!(admin.hosts.revoke_text)}" "<strong>{stops}</strong></p>
            {(production > 0).then(|| view! {
                <p class="warning"><Glyph icon=Icon::TriangleAlert/>{of_production}</p>
            })}
            <p>{say!(admin.hosts.revoke_warning)}</p>
            {(production > 0).then(|| view! {
                <label class="field">
                    <span>{repeat}</span>
                    <input name="repeat" class="mono" required autocomplete="off" spellcheck="false" autofocus/>
                </label>
            })}
        </Question>
    }
    .into_any()
}

/// What of a host may be forgotten: workers, or the host itself that has none.
fn forgettable(host: &HostView) -> Vec<String> {
    let workers = host.workers.iter().filter(|worker| worker.forgettable).map(|worker| worker.id.clone());
    workers.chain(host.forgettable.then(|| host.name.clone())).collect()
}

#[component]
fn Forgetting(name: String, close: Callback<()>, again: Callback<()>) -> impl IntoView {
    let action = ServerAction::<ForgetWorker>::new();
    let title = say!(admin.hosts.forget_title, name = name.clone()).to_string();
    view! {
        <Question title action yes=say!(admin.hosts.forget_yes) done=say!(admin.hosts.forgotten)
            page="/admin/hosts" testid="forget" on_close=close then=again>
            <input type="hidden" name="worker" value=name/>
            <p>{say!(admin.hosts.forget_text)}</p>
        </Question>
    }
    .into_any()
}

#[component]
fn Host(
    id: HostId,
    hosts: RwSignal<Vec<HostView>>,
    drain: ServerAction<DrainWorker>,
    asked: RwSignal<Option<HostId>>,
    forgetting: RwSignal<Option<String>>,
) -> impl IntoView {
    let host = Memo::new(move |_| hosts.with(|hosts| hosts.iter().find(|host| host.id == id).cloned()));
    let state = Memo::new(move |_| host.with(|host| host.as_ref().map(|host| host.state)));
    let name = host.with_untracked(|host| host.as_ref().map(|host| host.name.clone()));
    let revoke_label =
        StoredValue::new(words::named(say!(admin.hosts.revoke), name.as_deref().unwrap_or_default()));
    let revocable = Memo::new(move |_| {
        let joined = |host: &HostView| host.joined_at.is_some() && host.revoked_at.is_none();
        host.with(|host| host.as_ref().is_some_and(joined))
    });
    // The buttons change with the state only: heartbeats leave the focus where it is. One that is silent or revoked
    // hears nothing of it.
    let workers = Memo::new(move |_| {
        let of = |host: &HostView| {
            let hears = |worker: &&WorkerView| {
                matches!(worker.state, HostState::Alive | HostState::Draining)
                    && worker.stopping_since.is_none()
            };
            host.workers
                .iter()
                .filter(hears)
                .map(|worker| (worker.id.clone(), worker.draining_since.is_some()))
                .collect()
        };
        host.with(|host| host.as_ref().map(of)).unwrap_or_else(Vec::new)
    });
    let gone = Memo::new(move |_| host.with(|host| host.as_ref().map(forgettable)).unwrap_or_default());
    view! {
        <li class="host panel" data-host=name.clone()>
            <header class="host-head">
                <h2>{name.clone()}</h2>
                {move || state.get().map(|state| view! { <StateMark state/> })}
                <div class="host-actions">
                    {move || workers.get().into_iter().map(|(worker, draining)| view! {
                        <Drain worker draining named={workers.with(Vec::len) > 1} action=drain/>
                    }).collect_view()}
                    {move || gone.get().into_iter().map(|name| {
                        let text = match gone.with(Vec::len) {
                            1 => say!(admin.hosts.forget).to_owned(),
                            _ => format!("{} {name}", say!(admin.hosts.forget)),
                        };
                        let label = words::named(say!(admin.hosts.forget), &name);
                        let mut about = ParamsMap::new();
                        about.insert("forget", name.clone());
                        let href = format!("/admin/hosts{}", about.to_query_string());
                        view! { <Ask asked=forgetting about=name href label small=true>{text}</Ask> }
                    }).collect_view()}
                    <Show when=move || revocable.get()>
                        <Ask asked about=id href=format!("/admin/hosts?revoke={id}") label=revoke_label.get_value() small=true>{say!(admin.hosts.revoke)}</Ask>
                    </Show>
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
    let label = (!named).then(|| words::named(text, &worker));
    let text = if named { format!("{text} {worker}") } else { text.to_owned() };
    view! {
        <ActionForm action>
            <input type="hidden" name="worker" value=worker/>
            <input type="hidden" name="drain" value=(!draining).to_string()/>
            <button class="button small-button" type="submit" title=why aria-label=label>{text}</button>
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
            view! { <Room text share={percent(used, total)} scarce=true/> }.into_any()
        }
        _ => view! { <span class="muted">{say!(admin.hosts.not_told)}</span> }.into_any(),
    };
    view! {
        <dl class="host-facts">
            <div><dt>{say!(admin.hosts.runs)}</dt><dd><Room text=runs share={percent(worker.running, i64::from(worker.capacity))} scarce=false/></dd></div>
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
            {worker.stopping_since.map(|since| view! { " · "{say!(admin.hosts.stopping_since)}" "<TimeAgo at=since/> })}
            {host.revoked_at.map(|at| view! { " · "{say!(admin.hosts.revoked_since)}" "<TimeAgo at/> })}
        </p>
    }
    .into_any()
}

fn percent(used: i64, total: i64) -> i64 {
    used.saturating_mul(100).checked_div(total).unwrap_or(0).clamp(0, 100)
}

/// How much of something is taken: in words, and as a bar. What is scarce warns when little is left; places for runs
/// are there to be taken.
#[component]
fn Room(text: String, share: i64, scarce: bool) -> impl IntoView {
    view! {
        <span class="tabular">{text}</span>
        <span class="bar room" class:full={scarce && share >= 90} aria-hidden="true"><span style=format!("width:{share}%")></span></span>
    }
}
