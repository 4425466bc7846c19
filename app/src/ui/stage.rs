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

/// Production is asked for twice: its build begins with a fresh database.
pub fn may_rebuild(stage: Option<Stage>) -> bool {
    stage != Some(Stage::Production)
        || window().confirm_with_message(say!(ui.rebuild_production)).unwrap_or_default()
}
