//! What is asked before a drop merges or touches production. The question is part of the address where the menu
//! leads there, so that it can be answered without script.

use super::{
    api::{self, read_target, write_target},
    state::BoardState,
};
use crate::{
    error::Fault,
    say,
    ui::{Dialog, Glyph, Icon, Skeleton},
    words,
};
use leptos::{either::Either, prelude::*};
use leptos_router::params::ParamsMap;
use odooops::{
    branch::{BranchCard, BranchName, MergePreview, Move, Stage, Target},
    id::BranchId,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    branch: BranchId,
    /// None: which branch is part of the question.
    target: Option<Target>,
}

impl Ask {
    pub fn of(branch: BranchId, target: Target) -> Self {
        Self { branch, target: Some(target) }
    }

    /// Merge it, but into which branch?
    pub fn any(branch: BranchId) -> Self {
        Self { branch, target: None }
    }

    pub fn href(&self) -> String {
        let onto = self.target.as_ref().map(|target| format!("&onto={}", escape(&write_target(target))));
        format!("?ask={}{}", self.branch, onto.unwrap_or_default())
    }

    pub fn of_query(query: &ParamsMap) -> Option<Self> {
        let branch = query.get("ask")?.parse().ok()?;
        let target = query.get("onto").and_then(|onto| read_target(&onto).ok());
        Some(Self { branch, target })
    }
}

/// Of what a branch name may hold, these mean something in a query.
fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('#', "%23").replace('+', "%2B").replace('=', "%3D")
}

/// The question in words, and what a yes posts.
struct Question {
    title: String,
    text: String,
    warning: Option<String>,
    yes: String,
    /// Branches to choose from; with one there is no choice.
    into: Vec<BranchName>,
    merges: bool,
    onto: Option<Target>,
}

fn question(state: BoardState, card: &BranchCard, ask: &Ask) -> Option<Question> {
    let from = card.name.to_string();
    let others = || state.names().into_iter().filter(|name| *name != card.name).collect::<Vec<_>>();
    let stage_of =
        |name: &BranchName| state.find_by_name(name).and_then(|id| state.find(id)).map(|card| card.stage);
    let meaning = match &ask.target {
        Some(target) => state.meaning(ask.branch, target).ok()?,
        None => Move::ChooseMerge { into: others() },
    };
    let simple = |title: String, text: String, yes: String| Question {
        title,
        text,
        warning: None,
        yes,
        into: Vec::new(),
        merges: false,
        onto: ask.target.clone(),
    };
    Some(match meaning {
        Move::Nothing => return None,
        Move::Restage { to: Stage::Production, .. } => simple(
            say!(board.ask.production_in_title, branch = from.clone()).to_string(),
            say!(board.ask.production_in, branch = from).to_string(),
            say!(board.ask.confirm_in).to_owned(),
        ),
        Move::Restage { .. } => simple(
            say!(board.ask.production_out_title, branch = from.clone()).to_string(),
            say!(board.ask.production_out, branch = from).to_string(),
            say!(board.ask.confirm_out).to_owned(),
        ),
        Move::Merge { into } => Question {
            title: say!(board.ask.merge_title, from = from.clone(), into = into.to_string()).to_string(),
            text: say!(board.ask.merge, from = from, into = into.to_string()).to_string(),
            warning: (stage_of(&into) == Some(Stage::Production))
                .then(|| say!(board.ask.production_merge, into = into.to_string()).to_string()),
            yes: say!(board.ask.confirm_merge, into = into.to_string()).to_string(),
            into: vec![into],
            merges: true,
            onto: ask.target.clone(),
        },
        Move::ChooseMerge { into } => Question {
            title: match ask.target {
                Some(_) => say!(board.ask.choose_title, branch = from).to_string(),
                None => say!(board.ask.any_title, branch = from).to_string(),
            },
            text: match ask.target {
                Some(_) => say!(board.ask.choose).to_owned(),
                None => say!(board.ask.any).to_owned(),
            },
            warning: None,
            yes: say!(board.ask.confirm_choose).to_owned(),
            into,
            merges: true,
            onto: ask.target.clone(),
        },
    })
}

#[component]
pub fn AskDialog() -> impl IntoView {
    let state = BoardState::get();
    move || {
        let ask = state.ask.get()?;
        // What was true when the question came up; a board that changes underneath is caught by the server.
        let card = untrack(|| state.find(ask.branch))?;
        let question = untrack(|| question(state, &card, &ask))?;
        Some(view! { <QuestionDialog card ask question/> })
    }
}

#[component]
fn QuestionDialog(card: BranchCard, ask: Ask, question: Question) -> impl IntoView {
    let state = BoardState::get();
    let board = format!("/projects/{}", state.slug());
    let close = Callback::new(move |()| state.ask.set(None));
    let chosen = RwSignal::new(question.into.first().cloned());
    // The drop says where to, or the choice does: as the branch that receives it, or as the target itself.
    let free = question.onto.is_none();
    let choice_name = if free { "onto" } else { "choice" };
    let onto = question.onto.clone();
    let yes = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        state.ask.set(None);
        let chosen = chosen.get_untracked();
        let target = onto.clone().or_else(|| chosen.clone().map(|name| Target::Branch { name }));
        if let Some(target) = target {
            state.carry_out(ask.branch, target, if free { None } else { chosen });
        }
    };
    let value = move |name: &BranchName| {
        if free { write_target(&Target::Branch { name: name.clone() }) } else { name.to_string() }
    };
    let several = question.into.len() > 1 || free;
    let options = question.into.clone();
    let pick = move |event| {
        let text = event_target_value(&event);
        chosen.set(BranchName::parse(text.strip_prefix("branch:").unwrap_or(&text)).ok());
    };
    view! {
        <Dialog title=question.title on_close=close close_href=board.clone()>
            <form method="post" action="/api/console/branch/move" on:submit=yes data-testid="ask">
                <input type="hidden" name="project" value=state.slug().to_string()/>
                <input type="hidden" name="branch" value=card.id.to_string()/>
                {question.onto.as_ref().map(|onto| view! {
                    <input type="hidden" name="onto" value=write_target(onto)/>
                })}
                <p>{question.text}</p>
                {question.warning.map(|warning| view! {
                    <p class="warning"><Glyph icon=Icon::TriangleAlert/>{warning}</p>
                })}
                {several.then(|| view! {
                    <label class="field">
                        <span>{say!(board.ask.target)}</span>
                        <select name=choice_name on:change=pick>
                            {options.iter().map(|name| view! {
                                <option value=value(name)>{name.to_string()}</option>
                            }).collect_view()}
                        </select>
                    </label>
                })}
                {question.merges.then(|| view! { <Preview from=card.id chosen/> })}
                <footer class="dialog-foot">
                    <a class="button" href=board
                        on:click=move |event| { event.prevent_default(); close.run(()) }>{say!(ui.cancel)}</a>
                    <button class="button primary" type="submit">{question.yes}</button>
                </footer>
            </form>
        </Dialog>
    }
    .into_any()
}

/// What git says the merge would bring.
#[component]
fn Preview(from: BranchId, chosen: RwSignal<Option<BranchName>>) -> impl IntoView {
    let state = BoardState::get();
    let preview = Resource::new(
        move || chosen.get().and_then(|name| state.find_by_name(&name)),
        move |into| async move {
            match into {
                Some(into) => Some(api::preview_merge(from, into).await),
                None => None,
            }
        },
    );
    let shown = move |preview: Result<MergePreview, Fault>| match preview {
        Ok(preview) => Either::Left(view! { <Merge preview into=chosen.get_untracked()/> }),
        Err(fault) => Either::Right(view! { <p class="warning">{words::sentence(&fault.0)}</p> }),
    };
    view! {
        <div class="preview" aria-live="polite">
            <Transition fallback=|| view! { <Skeleton/> }>
                {move || Suspend::new(async move { preview.await.map(shown) })}
            </Transition>
        </div>
    }
    .into_any()
}

#[component]
fn Merge(preview: MergePreview, into: Option<BranchName>) -> impl IntoView {
    let into = into.map(|into| into.to_string()).unwrap_or_default();
    if preview.commits_total == 0 {
        return Either::Left(
            view! { <p class="muted">{say!(board.ask.no_commits, into = into).to_string()}</p> },
        );
    }
    let modules: Vec<String> = preview
        .modules
        .iter()
        .map(|module| match module.new {
            true => format!("{} ({})", module.name, say!(board.ask.module_new)),
            false => module.name.clone(),
        })
        .collect();
    let conflicts = preview.conflicts;
    Either::Right(view! {
        <dl class="facts">
            <dt>{say!(board.ask.commits)}</dt>
            <dd class="tabular">{preview.commits_total}</dd>
            <dt>{say!(board.ask.files)}</dt>
            <dd class="tabular">{preview.files_total}</dd>
            {(!modules.is_empty()).then(|| view! {
                <dt>{say!(board.ask.modules)}</dt><dd><code>{modules.join(", ")}</code></dd>
            })}
        </dl>
        <ul class="commits">
            {preview.commits.into_iter().take(5).map(|commit| view! {
                <li><code>{commit.sha.short().to_owned()}</code><span class="truncate">{commit.subject}</span></li>
            }).collect_view()}
        </ul>
        {(!conflicts.is_empty()).then(|| view! {
            <div class="warning">
                <p>{say!(board.ask.conflicts)}</p>
                <ul>{conflicts.into_iter().map(|c| view! { <li><code title=c.message>{c.path}</code></li> }).collect_view()}</ul>
            </div>
        })}
    })
}
