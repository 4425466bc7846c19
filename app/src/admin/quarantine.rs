//! Data without an owner, out of the way until it is put back or deleted.

use super::{
    api::{DeleteQuarantined, RestoreQuarantined},
    parts::Outcome,
    words,
};
use crate::{
    say,
    ui::{Ask, Glyph, Icon, Question, StageMark, TimeAgo, asked_by_address},
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
    let restore = ServerAction::<RestoreQuarantined>::new();
    // The list as it was when the question came up: one that changes underneath must not take away what is typed.
    let about = move || {
        let asked = asked.get()?;
        quarantined.with_untracked(|all| all.iter().find(|one| one.id == asked).cloned())
    };
    view! {
        <section class="admin-section" aria-labelledby="quarantine-title">
            <h2 id="quarantine-title">{say!(admin.quarantine.title)}</h2>
            <p class="muted small">{say!(admin.quarantine.about)}</p>
            <Outcome action=restore done=say!(admin.quarantine.restoring) then=again/>
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
        {move || about().map(|one| view! { <DeleteDialog one close again/> })}
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
    let (restore_label, delete_label) = (
        words::named(say!(admin.quarantine.restore), &one.original_name),
        words::named(say!(admin.quarantine.delete), &one.original_name),
    );
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
                    <button class="button" type="submit" aria-label=restore_label>{say!(admin.quarantine.restore)}</button>
                </ActionForm>
                <Ask asked about=id href=format!("/admin?delete={id}") label=delete_label>{say!(admin.quarantine.delete)}</Ask>
            </td>
        </tr>
    }
    .into_any()
}

#[component]
fn DeleteDialog(one: Quarantined, close: Callback<()>, again: Callback<()>) -> impl IntoView {
    let action = ServerAction::<DeleteQuarantined>::new();
    let name = one.original_name;
    let title = say!(admin.quarantine.delete_title, name = name.clone()).to_string();
    let repeat = say!(admin.quarantine.repeat, name = name.clone()).to_string();
    view! {
        <Question title action yes=say!(admin.quarantine.delete_yes) done=say!(admin.quarantine.deleting)
            page="/admin" testid="delete-quarantined" on_close=close then=again>
            <input type="hidden" name="id" value=one.id.to_string()/>
            <p>{say!(admin.quarantine.delete_text, kind = kind_name(one.kind).to_ascii_lowercase(), host = one.host).to_string()}</p>
            {one.production.then(|| view! {
                <p class="warning"><Glyph icon=Icon::TriangleAlert/>{say!(admin.quarantine.production)}</p>
            })}
            <label class="field">
                <span>{repeat}</span>
                <input name="name" class="mono" required autocomplete="off" spellcheck="false" autofocus/>
            </label>
        </Question>
    }
    .into_any()
}
