//! The page of one build. It is a chunk of its own: who looks at the board does not load the log viewer.

use super::api;
use crate::{
    error::Fault,
    say,
    ui::{Failure, Skeleton, VerdictMark},
};
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::{LazyRoute, hooks::use_params_map, lazy_route};
use odooops::{Error, id::RunId, run::RunView};

/// What the page needs, asked for while its chunk is still on the way.
#[derive(Clone)]
pub struct BuildPage {
    run: Resource<Result<RunView, Fault>>,
}

#[lazy_route]
impl LazyRoute for BuildPage {
    fn data() -> Self {
        let params = use_params_map();
        let id = Memo::new(move |_| params.read().get("run_id").and_then(|id| id.parse::<RunId>().ok()));
        let run = Resource::new(
            move || id.get(),
            |id| async move {
                match id {
                    Some(id) => api::run(id).await,
                    None => Err(Fault(Error::not_found("run"))),
                }
            },
        );
        Self { run }
    }

    fn view(this: Self) -> AnyView {
        view! {
            <div class="page">
                <Transition fallback=|| view! { <Skeleton/> }>
                    {move || Suspend::new(async move {
                        match this.run.await {
                            Ok(run) => view! { <Build run/> }.into_any(),
                            Err(fault) => view! { <Failure error=fault.0/> }.into_any(),
                        }
                    })}
                </Transition>
            </div>
        }
        .into_any()
    }
}

#[component]
fn Build(run: RunView) -> impl IntoView {
    let commit: String = run.commit_sha.chars().take(8).collect();
    view! {
        <Title text=say!(run.title, commit = commit.clone()).to_string()/>
        <header class="page-head" data-testid="build">
            <h1><VerdictMark verdict=run.status.verdict()/>{say!(run.title, commit = commit).to_string()}</h1>
            <p class="muted">{run.commit_subject}</p>
        </header>
    }
}
