//! What can be done to a build. What is done to production is asked for twice, by an address of its own so that it is
//! asked for without script too.

use super::api::{CancelRun, RebuildRun, RetryRun};
use crate::{
    error::Fault,
    say,
    ui::{Ask, BeginsFresh, Glyph, Icon, Question, asked_by_address},
    words,
};
use leptos::{form::ActionForm, prelude::*, server_fn::ServerFn};
use odooops::{branch::Stage, environment::EnvironmentState, id::RunId, project::Slug, run::RunView};
use std::str::FromStr;

/// What production asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Cancel,
    Rebuild,
    Retry,
}

impl Deed {
    fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Rebuild => "rebuild",
            Self::Retry => "retry",
        }
    }
}

impl FromStr for Deed {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Cancel, Self::Rebuild, Self::Retry].into_iter().find(|deed| deed.as_str() == text).ok_or(())
    }
}

/// What came of the last thing that was done; of a cancel, nothing that is to be told.
type Answer = Result<Option<RunId>, Fault>;

#[derive(Clone, Copy)]
struct Deeds {
    cancel: ServerAction<CancelRun>,
    rebuild: ServerAction<RebuildRun>,
    retry: ServerAction<RetryRun>,
    asked: RwSignal<Option<Deed>>,
    newest: RwSignal<Option<Answer>>,
}

impl Deeds {
    /// Made for the page and not where they are shown: the refusal outlives the button.
    fn new() -> Self {
        let (cancel, rebuild, retry) = (ServerAction::new(), ServerAction::new(), ServerAction::new());
        let asked = RwSignal::new(asked_by_address("ask"));
        // What came back to who has no script. The question says it itself.
        let first = match asked.get_untracked() {
            Some(_) => None,
            None => answer(cancel.value().get_untracked(), |()| None)
                .or_else(|| answer(rebuild.value().get_untracked(), Some))
                .or_else(|| answer(retry.value().get_untracked(), Some)),
        };
        let newest = RwSignal::new(first);
        keep_newest(cancel, newest, |()| None);
        keep_newest(rebuild, newest, Some);
        keep_newest(retry, newest, Some);
        Self { cancel, rebuild, retry, asked, newest }
    }
}

fn answer<T>(value: Option<Result<T, Fault>>, made: fn(T) -> Option<RunId>) -> Option<Answer> {
    value.map(|answer| answer.map(made))
}

fn keep_newest<S>(
    action: ServerAction<S>,
    newest: RwSignal<Option<Answer>>,
    made: fn(S::Output) -> Option<RunId>,
) where
    S: ServerFn<Error = Fault> + Clone + Send + Sync + 'static,
    S::Output: Clone + Send + Sync + 'static,
{
    Effect::new(move |first: Option<()>| {
        let answer = answer(action.value().get(), made);
        if first.is_some() && answer.is_some() {
            newest.set(answer);
        }
    });
}

/// Connect, and what can be done to the build as it stands, with the refusal beside it.
#[component]
pub fn BuildActions(run: RwSignal<RunView>) -> impl IntoView {
    let url = Memo::new(move |_| {
        run.with(|run| {
            let environment = run.environment.as_ref()?;
            (environment.state == EnvironmentState::Running).then(|| environment.url.clone())
        })
    });
    let ended = Memo::new(move |_| run.with(|run| run.status.is_terminal()));
    let canceled = Memo::new(move |_| run.with(|run| run.cancel_requested_at.is_some()));
    let on_branch = Memo::new(move |_| run.with(|run| run.branch.is_some()));
    let deeds = Deeds::new();
    let slug = run.with_untracked(|run| run.project_slug.clone());
    view! {
        <div class="actions">
            {move || url.get().map(|url| view! {
                <a class="button primary" href=url target="_blank" rel="external noopener">
                    <Glyph icon=Icon::ExternalLink/>{say!(run.connect)}
                </a>
            })}
            {move || match ended.get() {
                false => (!canceled.get()).then(|| view! { <Cancel run deeds/> }.into_any()),
                true => Some(view! {
                    <Retry run deeds/>
                    {on_branch.get().then(|| view! { <Rebuild run deeds/> })}
                }
                .into_any()),
            }}
            <div class="action-answer" aria-live="polite">
                {move || deeds.newest.get().map(|answer| match answer {
                    Ok(None) => ().into_any(),
                    Ok(Some(new)) => view! {
                        <p class="muted" data-testid="rebuilt">
                            {say!(run.rebuilt)}" "<a class="link" href=build_href(&slug, new)>{say!(run.rebuilt_open)}</a>
                        </p>
                    }
                    .into_any(),
                    Err(fault) => view! { <p class="wrong" data-testid="refusal">{words::sentence(&fault.0)}</p> }.into_any(),
                })}
            </div>
        </div>
        {move || deeds.asked.get().map(|deed| view! { <ProductionDialog run deed deeds/> })}
    }
    .into_any()
}

fn build_href(slug: &Slug, run: RunId) -> String {
    format!("/projects/{slug}/builds/{run}")
}

fn is_production(run: RwSignal<RunView>) -> bool {
    run.with_untracked(|run| run.stage == Some(Stage::Production))
}

#[component]
fn AskFirst(run: RwSignal<RunView>, deed: Deed, deeds: Deeds, children: Children) -> impl IntoView {
    let page = run.with_untracked(|run| build_href(&run.project_slug, run.id));
    let why = match deed {
        Deed::Cancel => say!(run.cancel_why),
        Deed::Rebuild => say!(run.rebuild_why),
        Deed::Retry => say!(run.retry_why),
    };
    view! {
        <Ask asked=deeds.asked about=deed href=format!("{page}?ask={}", deed.as_str()) title=why>{children()}</Ask>
    }
}

#[component]
fn Cancel(run: RwSignal<RunView>, deeds: Deeds) -> impl IntoView {
    let id = run.with_untracked(|run| run.id);
    if is_production(run) {
        return view! { <AskFirst run deed=Deed::Cancel deeds>{say!(run.cancel_ask)}</AskFirst> }.into_any();
    }
    view! {
        <ActionForm action=deeds.cancel>
            <input type="hidden" name="id" value=id.to_string()/>
            <button class="button" type="submit" disabled=deeds.cancel.pending()>{say!(run.cancel)}</button>
        </ActionForm>
    }
    .into_any()
}

#[component]
fn Rebuild(run: RwSignal<RunView>, deeds: Deeds) -> impl IntoView {
    let id = run.with_untracked(|run| run.id);
    if is_production(run) {
        return view! {
            <AskFirst run deed=Deed::Rebuild deeds><Glyph icon=Icon::RefreshCw/>{say!(ui.rebuild_production.ask)}</AskFirst>
        }
        .into_any();
    }
    view! {
        <ActionForm action=deeds.rebuild>
            <input type="hidden" name="id" value=id.to_string()/>
            <button class="button" type="submit" title=say!(run.rebuild_why) disabled=deeds.rebuild.pending()>
                <Glyph icon=Icon::RefreshCw/>{say!(run.rebuild)}
            </button>
        </ActionForm>
    }
    .into_any()
}

/// The same commit once more, where Rebuild takes the branch's latest.
#[component]
fn Retry(run: RwSignal<RunView>, deeds: Deeds) -> impl IntoView {
    let id = run.with_untracked(|run| run.id);
    if is_production(run) {
        return view! { <AskFirst run deed=Deed::Retry deeds>{say!(run.retry_ask)}</AskFirst> }.into_any();
    }
    view! {
        <ActionForm action=deeds.retry>
            <input type="hidden" name="id" value=id.to_string()/>
            <button class="button" type="submit" title=say!(run.retry_why) disabled=deeds.retry.pending()>
                {say!(run.retry)}
            </button>
        </ActionForm>
    }
    .into_any()
}

/// What the answer means for production. An address may ask what is over meanwhile: then nothing is asked.
#[component]
fn ProductionDialog(run: RwSignal<RunView>, deed: Deed, deeds: Deeds) -> impl IntoView {
    let now = run.get_untracked();
    let possible = match deed {
        Deed::Cancel => !now.status.is_terminal() && now.cancel_requested_at.is_none(),
        Deed::Rebuild => now.status.is_terminal() && now.branch.is_some(),
        Deed::Retry => now.status.is_terminal(),
    };
    if !possible || now.stage != Some(Stage::Production) {
        return ().into_any();
    }
    let page = build_href(&now.project_slug, now.id);
    let close = Callback::new(move |()| deeds.asked.set(None));
    let branch = now.branch.as_ref().map_or_else(|| now.git_ref.clone(), ToString::to_string);
    let hidden = view! { <input type="hidden" name="id" value=now.id.to_string()/> };
    match deed {
        Deed::Cancel => {
            let action = ServerAction::<CancelRun>::new();
            let text = say!(ui.cancel_production, branch = branch).to_string();
            view! {
                <Question title=say!(run.cancel_title) action yes=say!(run.cancel) done=say!(run.canceling)
                    page testid="ask-production" on_close=close then=Callback::new(|()| ())>
                    {hidden}<p>{text}</p>
                </Question>
            }
            .into_any()
        }
        Deed::Rebuild => {
            let action = ServerAction::<RebuildRun>::new();
            let then =
                Callback::new(move |()| deeds.newest.set(answer(action.value().get_untracked(), Some)));
            view! {
                <Question title=say!(ui.rebuild_production.title) action yes=say!(ui.rebuild_production.yes) done=say!(run.rebuilt)
                    page testid="ask-production" on_close=close then>
                    {hidden}<p>{say!(ui.rebuild_production.text)}</p><BeginsFresh/>
                </Question>
            }
            .into_any()
        }
        Deed::Retry => {
            let action = ServerAction::<RetryRun>::new();
            let then =
                Callback::new(move |()| deeds.newest.set(answer(action.value().get_untracked(), Some)));
            view! {
                <Question title=say!(run.retry_title) action yes=say!(run.retry_yes) done=say!(run.rebuilt)
                    page testid="ask-production" on_close=close then>
                    {hidden}<p>{say!(run.retry_text)}</p><BeginsFresh/>
                </Question>
            }
            .into_any()
        }
    }
}
