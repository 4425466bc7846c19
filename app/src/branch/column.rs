use super::{
    api::write_target,
    card::Card,
    keys,
    state::{BoardState, meaning_words},
};
use crate::{
    say,
    ui::{Glyph, stage_icon, stage_name},
};
use leptos::prelude::*;
use odooops::branch::{Stage, Target};

#[component]
pub fn Column(stage: Stage) -> impl IntoView {
    let state = BoardState::get();
    let target = Target::Stage { stage };
    let ids = Memo::new(move |_| state.ids_in(stage));
    let meaning = {
        let target = target.clone();
        Memo::new(move |_| {
            let dragged = state.drag.with(|drag| drag.as_ref().map(|drag| drag.id))?;
            Some(state.meaning(dragged, &target))
        })
    };
    let over = {
        let target = target.clone();
        Memo::new(move |_| {
            state.drag.with(|drag| drag.as_ref().is_some_and(|drag| drag.over.as_ref() == Some(&target)))
        })
    };
    // A card that is moved in the document loses the focus: it gets it back.
    Effect::new(move |_| {
        ids.track();
        request_animation_frame(move || keys::restore_focus(state));
    });
    let (about, builds, empty) = match stage {
        Stage::Production => {
            (say!(board.about_production), say!(board.builds_production), say!(board.empty_production))
        }
        Stage::Staging => (say!(board.about_staging), say!(board.builds_staging), say!(board.empty_staging)),
        Stage::Development => {
            (say!(board.about_development), say!(board.builds_development), say!(board.empty_development))
        }
    };
    // A refusal is long: the card in hand carries it, here it would push everything down.
    let line = move || match meaning.get() {
        None => about.to_owned(),
        Some(Err(_)) => say!(board.means.refused).to_owned(),
        Some(meaning) => meaning_words(&meaning),
    };
    view! {
        <section class=format!("column stage-{stage}") class:over=over aria-labelledby=format!("column-{stage}")
            class:refused=move || meaning.with(|meaning| matches!(meaning, Some(Err(_))))
            data-drop=write_target(&target) data-testid=format!("column-{stage}")>
            <header class="column-head">
                <div class="column-name">
                    <Glyph icon=stage_icon(stage)/>
                    <h2 id=format!("column-{stage}")>{stage_name(stage)}</h2>
                    <span class="count" data-testid="count">{move || ids.with(Vec::len)}</span>
                </div>
                <p class="column-line" title=builds>{line}</p>
            </header>
            <ul class="cards">
                <For each=move || ids.get() key=|id| *id let:id><Card id/></For>
            </ul>
            {move || ids.with(Vec::is_empty).then(|| view! { <p class="column-empty">{empty}</p> })}
        </section>
    }
    .into_any()
}
