//! Data without an owner, out of the way until it is put back or deleted.

use super::{
    api::{DeleteQuarantined, RestoreQuarantined},
    confirm::{Answer, Ask, asked_by_address},
    parts::Outcome,
    words,
};
use crate::{
    say,
    ui::{Dialog, Glyph, Icon, StageMark, TimeAgo},
};
use leptos::{form::ActionForm, prelude::*};
use odooops::{
    branch::Stage,
    id::QuarantineId,
    reconcile::{QuarantineKind, Quarantined},
};

#[component]
pub fn QuarantineView(quarantined: Memo<Vec<Quarantined>>, again: Callback<()>) -> impl IntoView {
    let asked = RwSignal::new(asked_by_address::<QuarantineId>("delete"));
    let close = Callback::new(move |()| asked.set(None));
    let answered = Callback::new(move |()| {
        asked.set(None);
        again.run(());
    });
    let restore = ServerAction::<RestoreQuarantined>::new();
    let delete = ServerAction::<DeleteQuarantined>::new();
    let about = move || quarantined.with(|all| all.iter().find(|one| Some(one.id) == asked.get()).cloned());
    view! {
        <section class="admin-section" aria-labelledby="quarantine-title">
            <h2 id="quarantine-title">{say!(admin.quarantine.title)}</h2>
            <p class="muted small">{say!(admin.quarantine.about)}</p>
            <Outcome action=restore done=say!(admin.quarantine.restoring) then=answered/>
            <Outcome action=delete done=say!(admin.quarantine.deleting) then=answered/>
            <Show when=move || quarantined.with(Vec::is_empty)><p class="muted">{say!(admin.quarantine.empty)}</p></Show>
            <div class="table-frame" hidden=move || quarantined.with(Vec::is_empty)>
                <table class="table" data-testid="quarantine">
                    <thead><tr>
                        <th scope="col">{say!(admin.quarantine.what)}</th>
                        <th scope="col">{say!(admin.quarantine.host)}</th>
                        <th scope="col">{say!(admin.quarantine.since)}</th>
                        <th scope="col">{say!(admin.quarantine.end)}</th>
                        <th scope="col"><span class="sr-only">{say!(admin.actions)}</span></th>
                    </tr></thead>
                    <tbody>
                        // A row that did not change stays, with the focus in it.
                        <For each=move || quarantined.get()
                            key=|one| (one.id, one.delete_requested_at, one.restore_requested_at, one.error.clone())
                            let:one>
                            <Row one restore asked/>
                        </For>
                    </tbody>
                </table>
            </div>
        </section>
        {move || about().map(|one| view! { <DeleteDialog one action=delete close/> })}
    }
    .into_any()
}

fn kind_name(kind: QuarantineKind) -> &'static str {
    match kind {
        QuarantineKind::Database => say!(admin.quarantine.kind.database),
        QuarantineKind::Directory => say!(admin.quarantine.kind.directory),
        QuarantineKind::Volume => say!(admin.quarantine.kind.volume),
    }
}

#[component]
fn Row(
    one: Quarantined,
    restore: ServerAction<RestoreQuarantined>,
    asked: RwSignal<Option<QuarantineId>>,
) -> impl IntoView {
    let id = one.id;
    let end = match (one.restore_requested_at, one.delete_requested_at, one.delete_after) {
        (Some(_), ..) => say!(admin.quarantine.being_restored).to_owned(),
        (_, Some(_), _) => say!(admin.quarantine.being_deleted).to_owned(),
        (.., Some(at)) => say!(admin.quarantine.deleted_after, at = words::moment(at)).to_string(),
        _ => say!(admin.quarantine.by_hand).to_owned(),
    };
    let size = one.size_bytes.map(words::bytes);
    view! {
        <tr>
            <td data-label=say!(admin.quarantine.what)>
                <span class="stacked">
                    <span>{kind_name(one.kind)}" "<code>{one.original_name}</code>{size.map(|size| view! { " · "{size} })}</span>
                    {one.production.then(|| view! { <StageMark stage=Stage::Production/> })}
                    <span class="muted small">{one.reason}</span>
                    {one.error.map(|error| view! { <span class="wrong small">{error}</span> })}
                </span>
            </td>
            <td data-label=say!(admin.quarantine.host)>{one.host}</td>
            <td data-label=say!(admin.quarantine.since)><TimeAgo at=one.quarantined_at/></td>
            <td data-label=say!(admin.quarantine.end)>{end}</td>
            <td class="row-actions">
                <ActionForm action=restore>
                    <input type="hidden" name="id" value=id.to_string()/>
                    <button class="button" type="submit">{say!(admin.quarantine.restore)}</button>
                </ActionForm>
                <Ask asked about=id href=format!("/admin?delete={id}")>{say!(admin.quarantine.delete)}</Ask>
            </td>
        </tr>
    }
    .into_any()
}

#[component]
fn DeleteDialog(
    one: Quarantined,
    action: ServerAction<DeleteQuarantined>,
    close: Callback<()>,
) -> impl IntoView {
    let name = one.original_name;
    let title = say!(admin.quarantine.delete_title, name = name.clone()).to_string();
    let repeat = say!(admin.quarantine.repeat, name = name.clone()).to_string();
    view! {
        <Dialog title=title on_close=close close_href="/admin">
            <ActionForm action attr:data-testid="delete-quarantined">
                <input type="hidden" name="id" value=one.id.to_string()/>
                <p>{say!(admin.quarantine.delete_text, kind = kind_name(one.kind).to_lowercase(), host = one.host).to_string()}</p>
                {one.production.then(|| view! {
                    <p class="warning"><Glyph icon=Icon::TriangleAlert/>{say!(admin.quarantine.production)}</p>
                })}
                <label class="field">
                    <span>{repeat}</span>
                    <input name="name" class="mono" required autocomplete="off" spellcheck="false"/>
                </label>
                <Answer yes=say!(admin.quarantine.delete_yes) page="/admin" on_close=close pending=action.pending()/>
            </ActionForm>
        </Dialog>
    }
    .into_any()
}
