//! What each host's reconcilers found, and the word that lets a host act again after the ops database was restored.

use super::{
    api::ConfirmHost,
    dry_run::{DryRuns, Findings},
    words,
};
use crate::{
    say,
    ui::{Ask, Glyph, Icon, Question, TimeAgo, asked_by_address},
};
use leptos::prelude::*;
use odooops::{
    id::HostId,
    reconcile::{DryRun, HostEpoch, HostReport, Mode, Standing},
    status::Status,
};

#[component]
pub fn Reconcilers(status: Memo<Status>, again: Callback<()>, dry_runs: Vec<DryRun>) -> impl IntoView {
    let hosts = Memo::new(move |_| status.with(|status| status.epochs.clone()));
    let reports = Memo::new(move |_| status.with(|status| status.reconcilers.clone()));
    let asked = RwSignal::new(asked_by_address::<HostId>("confirm"));
    let close = Callback::new(move |()| asked.set(None));
    // As it was when the question came up.
    let about = move || {
        let asked = asked.get()?;
        hosts.with_untracked(|hosts| hosts.iter().find(|host| host.host_id == asked).cloned())
    };
    view! {
        <section class="admin-section" aria-labelledby="reconcilers-title">
            <div class="section-head">
                <div>
                    <h2 id="reconcilers-title">{say!(admin.reconcile.title)}</h2>
                    <p class="muted small">{say!(admin.reconcile.about)}</p>
                </div>
                <DryRuns first=dry_runs/>
            </div>
            <Show when=move || hosts.with(Vec::is_empty)><p class="muted">{say!(admin.reconcile.none)}</p></Show>
            <For each=move || hosts.get() key=|host| (host.host_id, host.standing as u8) let:host>
                <HostReports host reports asked/>
            </For>
        </section>
        {move || about().map(|host| view! { <ConfirmDialog host reports close again/> })}
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
                        <Ask asked about=id href=format!("/admin?confirm={id}")
                            label=words::named(say!(admin.reconcile.confirm), &host.host)>{say!(admin.reconcile.confirm)}</Ask>
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
    close: Callback<()>,
    again: Callback<()>,
) -> impl IntoView {
    let action = ServerAction::<ConfirmHost>::new();
    let id = host.host_id;
    let own = reports.with_untracked(|reports| {
        let own = reports.iter().filter(|report| report.host_id == id);
        own.flat_map(|report| report.report.findings.clone()).collect::<Vec<_>>()
    });
    let would: i32 = reports.with_untracked(|reports| {
        reports.iter().filter(|report| report.host_id == id).map(|report| report.report.would).sum()
    });
    let text = say!(admin.reconcile.confirm_text, host = host.host.clone()).to_string();
    let title = say!(admin.reconcile.confirm_title, host = host.host).to_string();
    view! {
        <Question title action yes=say!(admin.reconcile.confirm_yes) done=say!(admin.reconcile.confirmed)
            page="/admin" testid="confirm-host" on_close=close then=again>
            <input type="hidden" name="host" value=id.to_string()/>
            <p>{text}</p>
            <p class="strong">{say!(admin.reconcile.confirm_would, n = would.to_string()).to_string()}</p>
            {(!own.is_empty()).then(|| view! { <Findings findings=own/> })}
            <p class="warning"><Glyph icon=Icon::TriangleAlert/>{say!(admin.reconcile.confirm_warning)}</p>
        </Question>
    }
    .into_any()
}
