//! The branches board's page: a chunk of its own, so that the list of projects comes without it.

use super::{api, board::BoardView};
use crate::{
    error::Fault,
    say,
    ui::{Failure, Skeleton},
};
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::{LazyRoute, hooks::use_params_map, lazy_route};
use odooops::{Error, project::Slug};

pub struct BoardPage;

#[lazy_route]
impl LazyRoute for BoardPage {
    /// Nothing is asked for before the chunk is there: every page would carry the reader of the answer.
    fn data() -> Self {
        Self
    }

    fn view(_page: Self) -> AnyView {
        let params = use_params_map();
        let slug = Memo::new(move |_| params.read().get("slug").unwrap_or_default());
        let board = Resource::new(
            move || slug.get(),
            |slug| async move {
                // What cannot be a slug names no project.
                let slug = Slug::parse(&slug).map_err(|_| Fault(Error::not_found("project")))?;
                api::board(slug).await
            },
        );
        view! {
            <Title text=move || format!("{} · {}", say!(board.title), slug.get())/>
            <div class="page">
                <Transition fallback=|| view! { <Skeleton lines=8/> }>
                    {move || Suspend::new(async move {
                        match board.await {
                            Ok(board) => view! { <BoardView board/> }.into_any(),
                            Err(fault) => view! { <Failure error=fault.0/> }.into_any(),
                        }
                    })}
                </Transition>
            </div>
        }
        .into_any()
    }
}
