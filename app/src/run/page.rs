//! The page of one build. It is a chunk of its own: who looks at the board does not load the log viewer.

use super::api;
use super::{
    history::{self, Happened, History},
    parts::{BuildHead, Facts, Steps},
};
use crate::{
    error::Fault,
    live::{Live, Topic},
    log::{LogViewer, api::first_lines},
    say,
    ui::{Failure, Skeleton},
};
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::{LazyRoute, hooks::use_params_map, lazy_route};
use odooops::{
    Error,
    id::RunId,
    log::LogLine,
    run::{RunView, Verdict},
};

/// The build, its first lines when one may see them, and what happened to it.
type Loaded = Result<(RunView, Option<Vec<LogLine>>, Happened), Fault>;

pub struct BuildPage;

#[lazy_route]
impl LazyRoute for BuildPage {
    /// Nothing is asked for before the chunk is there: every page would carry the reader of the answer.
    fn data() -> Self {
        Self
    }

    fn view(_page: Self) -> AnyView {
        let params = use_params_map();
        let asked = Memo::new(move |_| {
            let params = params.read();
            (
                params.get("slug").unwrap_or_default(),
                params.get("run_id").and_then(|id| id.parse::<RunId>().ok()),
            )
        });
        let run: Resource<Loaded> = Resource::new(
            move || asked.get(),
            |(slug, id)| async move {
                match id {
                    Some(id) => load(&slug, id).await,
                    None => Err(Fault(Error::not_found("run"))),
                }
            },
        );
        view! {
            <div class="page">
                <Transition fallback=|| view! { <Skeleton/> }>
                    {move || Suspend::new(async move {
                        match run.await {
                            Ok((run, first, happened)) => view! { <Build run first happened/> }.into_any(),
                            Err(fault) => view! {
                                <Title text=say!(run.not_shown)/>
                                <Failure error=fault.0/>
                            }
                            .into_any(),
                        }
                    })}
                </Transition>
            </div>
        }
        .into_any()
    }
}

/// The build, and its log for those whose role shows it.
async fn load(slug: &str, id: RunId) -> Loaded {
    let run = api::run(id).await?;
    // Below another project's address there is no such build.
    if run.project_slug.as_str() != slug {
        return Err(Fault(Error::not_found("run")));
    }
    let happened = history::load(id).await?;
    Ok((run, first_lines(id).await?, happened))
}

#[component]
fn Build(run: RunView, first: Option<Vec<LogLine>>, happened: Happened) -> impl IntoView {
    let id = run.id;
    let commit: String = run.commit_sha.chars().take(8).collect();
    let run = RwSignal::new(run);
    Effect::new(move |_| {
        Live::get().subscribe(Topic::Run(id), None, move |now: RunView| run.set(now));
    });
    let failed = Signal::derive(move || run.with(|run| run.status.verdict() == Verdict::Red));
    let active = Signal::derive(move || run.with(|run| !run.status.is_terminal()));
    let total = run.with_untracked(|run| run.last_log_seq);
    view! {
        <Title text=say!(run.title, commit = commit).to_string()/>
        <BuildHead run/>
        <div class="build">
            {match first {
                Some(first) => view! { <LogViewer run=id first total failed active/> }.into_any(),
                None => view! { <p class="muted">{say!(run.no_log)}</p> }.into_any(),
            }}
            <aside class="build-side">
                <Steps run/>
                <Facts run/>
                <History run happened/>
            </aside>
        </div>
    }
    .into_any()
}
