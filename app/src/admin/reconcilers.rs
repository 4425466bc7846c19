//! What each host's reconcilers found, and the word that lets a host act again after the ops database was restored.

use super::{
    api::{self, ConfirmHost, RequestDryRun},
    confirm::{Answer, Ask, asked_by_address},
    parts::Outcome,
};
use crate::{
    say,
    ui::{Dialog, Glyph, Icon, TimeAgo},
};
use leptos::{form::ActionForm, prelude::*, task::spawn_local};
use leptos_router::hooks::use_query_map;
use odooops::{
    id::HostId,
    reconcile::{DryRun, Finding, HostEpoch, HostReport, Mode, Report, Standing},
    status::Status,
};
use std::time::Duration;

#[component]
pub fn Reconcilers(status: Memo<Status>, again: Callback<()>, dry_runs: Vec<DryRun>) -> impl IntoView {
    let hosts = Memo::new(move |_| status.with(|status| status.epochs.clone()));
    let reports = Memo::new(move |_| status.with(|status| status.reconcilers.clone()));
    let asked = RwSignal::new(asked_by_address::<HostId>("confirm"));
    let close = Callback::new(move |()| asked.set(None));
    let confirm = ServerAction::<ConfirmHost>::new();
    let answered = Callback::new(move |()| {
        asked.set(None);
        again.run(());
    });
    let about =
        move || hosts.with(|hosts| hosts.iter().find(|host| Some(host.host_id) == asked.get()).cloned());
    view! {
        <section class="admin-section" aria-labelledby="reconcilers-title">
            <div class="section-head">
                <div>
                    <h2 id="reconcilers-title">{say!(admin.reconcile.title)}</h2>
                    <p class="muted small">{say!(admin.reconcile.about)}</p>
                </div>
                <DryRuns first=dry_runs/>
            </div>
            <Outcome action=confirm done=say!(admin.reconcile.confirmed) then=answered/>
            <Show when=move || hosts.with(Vec::is_empty)><p class="muted">{say!(admin.reconcile.none)}</p></Show>
            <For each=move || hosts.get() key=|host| (host.host_id, host.standing as u8) let:host>
                <HostReports host reports asked/>
            </For>
        </section>
        {move || about().map(|host| view! { <ConfirmDialog host reports action=confirm close/> })}
    }
    .into_any()
}

#[component]
fn HostReports(
    host: HostEpoch,
    reports: Memo<Vec<HostReport>>,
    asked: RwSignal<Option<HostId>>,
) -> impl IntoView {
    let id = host.host_id;
    let own = move || {
        let of = |reports: &Vec<HostReport>| {
            reports.iter().filter(|r| r.host_id == id).cloned().collect::<Vec<_>>()
        };
        reports.with(of)
    };
    let why = match host.standing {
        Standing::Agrees => None,
        Standing::Behind => Some(say!(admin.reconcile.behind)),
        Standing::Unknown => Some(say!(admin.reconcile.unknown)),
        Standing::Foreign => Some(say!(admin.reconcile.foreign)),
    };
    let can_confirm = host.standing.can_be_confirmed();
    view! {
        <section class="panel reconcilers" data-host=host.host.clone()>
            <h3>{host.host.clone()}</h3>
            {why.map(|why| view! {
                <div class="warning" data-testid="only-reports">
                    <Glyph icon=Icon::TriangleAlert/>
                    <p class="grow">{why}</p>
                    {can_confirm.then(|| view! {
                        <Ask asked about=id href=format!("/admin?confirm={id}")>{say!(admin.reconcile.confirm)}</Ask>
                    })}
                </div>
            })}
            {move || own().is_empty().then(|| view! { <p class="muted">{say!(admin.reconcile.not_yet)}</p> })}
            <div class="table-frame bare" hidden=move || own().is_empty()>
                <table class="table">
                    <thead><tr>
                        <th scope="col">{say!(admin.reconcile.name)}</th>
                        <th scope="col">{say!(admin.reconcile.round)}</th>
                        <th scope="col" class="number">{say!(admin.reconcile.looked_at)}</th>
                        <th scope="col" class="number">{say!(admin.reconcile.acted)}</th>
                        <th scope="col" class="number">{say!(admin.reconcile.would)}</th>
                        <th scope="col">{say!(admin.reconcile.mode)}</th>
                    </tr></thead>
                    <tbody>{move || own().into_iter().map(|report| view! { <ReportRow report/> }).collect_view()}</tbody>
                </table>
            </div>
        </section>
    }
    .into_any()
}

#[component]
fn ReportRow(report: HostReport) -> impl IntoView {
    let HostReport { finished_at, report, .. } = report;
    let mode = match report.mode {
        Mode::Act => view! { {say!(admin.reconcile.acts)} }.into_any(),
        Mode::Report => view! { <span class="amber">{say!(admin.reconcile.reports)}</span> }.into_any(),
    };
    let failed = report.error.is_some();
    view! {
        <tr class:failed=failed>
            <td data-label=say!(admin.reconcile.name)>{report.name.replace('_', " ")}</td>
            <td data-label=say!(admin.reconcile.round)><TimeAgo at=finished_at/></td>
            <td data-label=say!(admin.reconcile.looked_at) class="number">{report.looked_at}</td>
            <td data-label=say!(admin.reconcile.acted) class="number">{report.acted}</td>
            <td data-label=say!(admin.reconcile.would) class="number">{report.would}</td>
            <td data-label=say!(admin.reconcile.mode)>
                <span class="stacked">
                    <span>{mode}</span>
                    {report.error.map(|error| view! { <span class="wrong small">{error}</span> })}
                    {report.reason.map(|reason| view! { <span class="muted small">{reason}</span> })}
                </span>
            </td>
        </tr>
    }
    .into_any()
}

/// What a yes means, and what the host would do after it.
#[component]
fn ConfirmDialog(
    host: HostEpoch,
    reports: Memo<Vec<HostReport>>,
    action: ServerAction<ConfirmHost>,
    close: Callback<()>,
) -> impl IntoView {
    let id = host.host_id;
    let own = reports.with_untracked(|reports| {
        let own = reports.iter().filter(|report| report.host_id == id);
        own.flat_map(|report| report.report.findings.clone()).collect::<Vec<_>>()
    });
    let would: i32 = reports.with_untracked(|reports| {
        reports.iter().filter(|report| report.host_id == id).map(|report| report.report.would).sum()
    });
    let text = say!(admin.reconcile.confirm_text, host = host.host.clone()).to_string();
    view! {
        <Dialog title=say!(admin.reconcile.confirm_title, host = host.host).to_string() on_close=close close_href="/admin">
            <ActionForm action attr:data-testid="confirm-host">
                <input type="hidden" name="host" value=id.to_string()/>
                <p>{text}</p>
                <p class="strong">{say!(admin.reconcile.confirm_would, n = would.to_string()).to_string()}</p>
                {(!own.is_empty()).then(|| view! { <Findings findings=own/> })}
                <p class="warning"><Glyph icon=Icon::TriangleAlert/>{say!(admin.reconcile.confirm_warning)}</p>
                <Answer yes=say!(admin.reconcile.confirm_yes) page="/admin" on_close=close pending=action.pending()/>
            </ActionForm>
        </Dialog>
    }
    .into_any()
}

#[component]
fn Findings(findings: Vec<Finding>) -> impl IntoView {
    view! {
        <ul class="findings">
            {findings.into_iter().map(|finding| view! {
                <li><strong>{finding.what}</strong>" "<code>{finding.object}</code><span class="muted small">{finding.why}</span></li>
            }).collect_view()}
        </ul>
    }
    .into_any()
}

const ASK_AGAIN: Duration = Duration::from_millis(700);

/// Asks the hosts what they would remove now, and shows what they answer.
#[component]
fn DryRuns(first: Vec<DryRun>) -> impl IntoView {
    let request = ServerAction::<RequestDryRun>::new();
    let ids = RwSignal::new(use_query_map().read_untracked().get("dry-run"));
    let runs = RwSignal::new(first);
    let close = Callback::new(move |()| {
        ids.set(None);
        runs.set(Vec::new());
    });
    Effect::new(move |_| {
        if let Some(Ok(asked)) = request.value().get() {
            runs.set(Vec::new());
            ids.set(Some(asked.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")));
        }
    });
    // Until every host has answered, or the question is put away.
    Effect::new(move |_| {
        let Some(asked) = ids.get() else { return };
        let tick = move || {
            let asked = asked.clone();
            let open = runs
                .with_untracked(|runs| runs.is_empty() || runs.iter().any(|run| run.answered_at.is_none()));
            if open {
                spawn_local(async move {
                    if let Ok(now) = api::dry_run(asked.clone()).await
                        && ids.try_get_untracked().flatten() == Some(asked)
                    {
                        runs.set(now);
                    }
                });
            }
        };
        let tick = set_interval_with_handle(tick, ASK_AGAIN).ok();
        on_cleanup(move || {
            if let Some(tick) = tick {
                tick.clear();
            }
        });
    });
    view! {
        <ActionForm action=request>
            <button class="button" type="submit" disabled=request.pending()>{say!(admin.reconcile.dry_run)}</button>
        </ActionForm>
        <Outcome action=request done=say!(admin.reconcile.asked) then=Callback::new(|()| ())/>
        {move || ids.get().is_some().then(|| view! {
            <Dialog title=say!(admin.reconcile.dry_run_title) on_close=close close_href="/admin">
                <div class="dry-runs" aria-live="polite" data-testid="dry-run">
                    {move || runs.get().into_iter().map(|run| view! { <Answered run/> }).collect_view()}
                </div>
            </Dialog>
        })}
    }
    .into_any()
}

#[component]
fn Answered(run: DryRun) -> impl IntoView {
    let failed: Vec<_> = run
        .reports
        .iter()
        .filter_map(|report: &Report| report.error.as_ref().map(|error| format!("{}: {error}", report.name)))
        .collect();
    let findings: Vec<_> = run.reports.into_iter().flat_map(|report| report.findings).collect();
    let body = match (run.answered_at, findings.is_empty() && failed.is_empty()) {
        (None, _) => view! { <p class="muted">{say!(admin.reconcile.waiting)}</p> }.into_any(),
        (_, true) => view! { <p class="muted">{say!(admin.reconcile.nothing)}</p> }.into_any(),
        _ => view! {
            {failed.into_iter().map(|text| view! { <p class="wrong">{text}</p> }).collect_view()}
            <Findings findings/>
        }
        .into_any(),
    };
    view! { <section><h3>{run.host}</h3>{body}</section> }
}
