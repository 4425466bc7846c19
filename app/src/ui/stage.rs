use super::{Glyph, Icon};
use crate::say;
use leptos::prelude::*;
use odooops::branch::Stage;

pub fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Production => say!(ui.stage.production),
        Stage::Staging => say!(ui.stage.staging),
        Stage::Development => say!(ui.stage.development),
    }
}

pub fn stage_icon(stage: Stage) -> Icon {
    match stage {
        Stage::Production => Icon::Globe,
        Stage::Staging => Icon::FlaskConical,
        Stage::Development => Icon::Code,
    }
}

/// Name, icon and edge of a stage: never its colour alone.
#[component]
pub fn StageMark(stage: Stage) -> impl IntoView {
    view! {
        <span class=format!("stage stage-{stage}")><Glyph icon=stage_icon(stage)/>{stage_name(stage)}</span>
    }
}

/// What rebuilding means for production.
#[component]
pub fn BeginsFresh() -> impl IntoView {
    view! { <p class="warning"><Glyph icon=Icon::TriangleAlert/>{say!(ui.rebuild_production.begins_fresh)}</p> }
}
