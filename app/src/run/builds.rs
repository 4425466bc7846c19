//! The builds of a project as a grid: a row per branch, a cell per build, newest first. Arrow keys walk the cells.

use super::api;
use crate::{
    branch::api::board as load_board,
    error::Fault,
    live::{Live, Topic},
    say,
    ui::{
        Empty, Failure, Glyph, Lasting, Skeleton, TimeAgo, VerdictMark, stage_icon, stage_name, verdict_name,
    },
};
use leptos::{leptos_dom::helpers::TimeoutHandle, prelude::*};
use leptos_meta::Title;
use leptos_router::{LazyRoute, hooks::use_params_map, lazy_route};
use odooops::{
    Error,
    branch::{Board, Stage},
    id::RunId,
    project::Slug,
    run::RunSummary,
};
use std::{cell::RefCell, time::Duration};
use wasm_bindgen::JsCast;
use web_sys::{HtmlElement, KeyboardEvent};

pub struct BuildsPage;

#[lazy_route]
impl LazyRoute for BuildsPage {
    /// Nothing is asked for before the chunk is there: every page would carry the reader of the answer.
    fn data() -> Self {
        Self
    }

    fn view(_page: Self) -> AnyView {
        let params = use_params_map();
        let slug = Memo::new(move |_| params.read().get("slug").unwrap_or_default());
        let data: Resource<Loaded> = Resource::new(
            move || slug.get(),
            |slug| async move {
                let slug = Slug::parse(&slug).map_err(|_| Fault(Error::not_found("project")))?;
                // The board gives the order of the rows.
                Ok((load_board(slug.clone()).await?, api::runs(slug).await?))
            },
        );
        // Of its own, not read from the data: loading again must not subscribe again.
        let shown = RwSignal::new(None::<Board>);
        Effect::new(move |_| {
            if let Some(Ok((board, _))) = data.get()
                && shown
                    .with_untracked(|shown| shown.as_ref().is_none_or(|b| b.project_id != board.project_id))
            {
                shown.set(Some(board));
            }
        });
        let again = Again { data, timer: StoredValue::new(None) };
        Effect::new(move |_| {
            let Some(shown) = shown.get() else { return };
            let (project, shown) = (shown.project_id, RefCell::new(Some(shown)));
            Live::get().subscribe(Topic::Board(project), None, move |board: Board| {
                // The first word tells how it is now: mostly as the page shows it already.
                if shown.take().is_none_or(|shown| shown != board) {
                    again.soon();
                }
            });
            on_cleanup(move || again.stop());
        });
        let current = RwSignal::new(None);
        view! {
            <Title text=move || format!("{} · {}", say!(run.builds_title), slug.get())/>
            <div class="page">
                <header class="page-head">
                    <div>
                        <h1>{say!(run.builds_title)}</h1>
                        <p class="muted">{say!(run.builds_about)}</p>
                    </div>
                </header>
                <Transition fallback=|| view! { <Skeleton lines=8/> }>
                    {move || Suspend::new(async move {
                        match data.await {
                            Ok((_, runs)) if runs.is_empty() => view! { <NoBuilds slug=slug.get_untracked()/> }.into_any(),
                            Ok((board, runs)) => {
                                let more = runs.len() >= usize::try_from(api::LATEST).unwrap_or(usize::MAX);
                                view! {
                                    <Grid rows=rows(&board, runs) slug=board.slug current/>
                                    {more.then(|| view! { <p class="grid-note muted small">{latest()}</p> })}
                                }
                                .into_any()
                            }
                            Err(fault) => view! { <Failure error=fault.0/> }.into_any(),
                        }
                    })}
                </Transition>
            </div>
        }
        .into_any()
    }
}

type Loaded = Result<(Board, Vec<RunSummary>), Fault>;

/// Changes come in bursts: a build that starts is told several times.
const SETTLED: Duration = Duration::from_millis(500);

/// Loads the page's data again, once for all changes of half a second.
#[derive(Clone, Copy)]
struct Again {
    data: Resource<Loaded>,
    timer: StoredValue<Option<TimeoutHandle>>,
}

impl Again {
    fn soon(self) {
        if self.timer.with_value(Option::is_some) {
            return;
        }
        let load = move || {
            self.timer.set_value(None);
            self.data.refetch();
        };
        self.timer.set_value(set_timeout_with_handle(load, SETTLED).ok());
    }

    fn stop(self) {
        if let Some(timer) = self.timer.try_update_value(Option::take).flatten() {
            timer.clear();
        }
    }
}

fn latest() -> String {
    say!(run.latest, n = api::LATEST.to_string()).to_string()
}

#[component]
fn NoBuilds(slug: String) -> impl IntoView {
    view! {
        <Empty title=say!(run.builds_empty_title) text=say!(run.builds_empty)>
            <a class="button" href=format!("/projects/{slug}")>{say!(frame.board)}</a>
        </Empty>
    }
}

struct Row {
    name: String,
    stage: Option<Stage>,
    runs: Vec<RunSummary>,
}

/// In the order of the board; builds of branches that are gone come last.
fn rows(board: &Board, runs: Vec<RunSummary>) -> Vec<Row> {
    let mut rows: Vec<Row> = board
        .branches
        .iter()
        .map(|card| Row { name: card.name.to_string(), stage: Some(card.stage), runs: Vec::new() })
        .collect();
    for run in runs {
        let name = match &run.branch {
            Some(branch) => branch.to_string(),
            None => run.git_ref.trim_start_matches("refs/heads/").to_owned(),
        };
        match rows.iter_mut().find(|row| row.name == name) {
            Some(row) => row.runs.push(run),
            None => rows.push(Row { name, stage: None, runs: vec![run] }),
        }
    }
    rows.retain(|row| !row.runs.is_empty());
    rows
}

/// One cell is reached by Tab, the others from there by arrow keys: without script all of them by Tab.
#[derive(Clone, Copy)]
struct Roving {
    /// The cell that had the focus last.
    current: RwSignal<Option<RunId>>,
    first: Option<RunId>,
    alive: RwSignal<bool>,
}

impl Roving {
    fn skips(self, run: RunId) -> bool {
        self.alive.get() && self.current.get().or(self.first) != Some(run)
    }
}

#[component]
fn Grid(rows: Vec<Row>, slug: Slug, current: RwSignal<Option<RunId>>) -> impl IntoView {
    let runs = || rows.iter().flat_map(|row| &row.runs).map(|run| run.id);
    if current.get_untracked().is_some_and(|current| !runs().any(|run| run == current)) {
        current.set(None);
    }
    let roving = Roving { current, first: runs().next(), alive: RwSignal::new(false) };
    Effect::new(move |_| roving.alive.set(true));
    let rows = rows
        .into_iter()
        .enumerate()
        .map(|(at, row)| {
            let cells = row
                .runs
                .into_iter()
                .enumerate()
                .map(|(column, run)| view! { <td><Cell run slug=slug.clone() row=at column branch=row.name.clone() roving/></td> })
                .collect_view();
            view! {
                <tr>
                    <th scope="row">
                        <span class="grid-branch" title=row.name.clone()>{row.name.clone()}</span>
                        {row.stage.map(|stage| view! {
                            <span class=format!("stage small stage-{stage}")><Glyph icon=stage_icon(stage)/>{stage_name(stage)}</span>
                        })}
                    </th>
                    {cells}
                </tr>
            }
        })
        .collect_view();
    view! {
        <div class="grid-scroll" tabindex="-1">
            <table class="grid" on:keydown=walk data-testid="builds"><tbody>{rows}</tbody></table>
        </div>
    }
    .into_any()
}

#[component]
fn Cell(
    run: RunSummary,
    slug: Slug,
    row: usize,
    column: usize,
    branch: String,
    roving: Roving,
) -> impl IntoView {
    let id = run.id;
    let verdict = run.status.verdict();
    let commit: String = run.commit_sha.chars().take(8).collect();
    let label =
        say!(run.cell, verdict = verdict_name(verdict), commit = commit.clone(), branch = branch).to_string();
    view! {
        <a class="cell" href=format!("/projects/{slug}/builds/{}", run.id) data-cell=format!("{row}:{column}")
            aria-label=label title=run.commit_subject.unwrap_or_default()
            tabindex=move || roving.skips(id).then_some("-1") on:focus=move |_| roving.current.set(Some(id))>
            <VerdictMark verdict/>
            <code>{commit}</code>
            <span class="cell-times muted small">
                <TimeAgo at=run.queued_at/>
                {run.started_at.map(|from| view! { <Lasting from to=run.finished_at/> })}
            </span>
        </a>
    }
    .into_any()
}

/// Arrow keys move the focus from cell to cell.
fn walk(event: KeyboardEvent) {
    let (down, right) = match event.key().as_str() {
        "ArrowUp" => (-1, 0),
        "ArrowDown" => (1, 0),
        "ArrowLeft" => (0, -1),
        "ArrowRight" => (0, 1),
        _ => return,
    };
    let here = document().active_element().and_then(|element| element.get_attribute("data-cell"));
    let Some((row, column)) = here.as_deref().and_then(|here| here.split_once(':')) else { return };
    let (Ok(row), Ok(column)) = (row.parse::<i64>(), column.parse::<i64>()) else { return };
    // A shorter row is entered at its end.
    let candidates =
        (0..=column + right).rev().map(|column| format!("[data-cell='{}:{column}']", row + down));
    let next = candidates.filter_map(|selector| document().query_selector(&selector).ok().flatten()).next();
    if let Some(next) = next.and_then(|next| next.dyn_into::<HtmlElement>().ok()) {
        event.prevent_default();
        next.focus().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(branch: &str, known: bool) -> RunSummary {
        let at = chrono::DateTime::from_timestamp(0, 0).unwrap();
        RunSummary {
            id: odooops::id::RunId(uuid::Uuid::nil()),
            kind: odooops::run::RunKind::Build,
            status: odooops::run::RunStatus::Succeeded,
            branch: known.then(|| odooops::branch::BranchName::parse(branch).unwrap()),
            git_ref: format!("refs/heads/{branch}"),
            commit_sha: "0".repeat(40),
            commit_subject: None,
            step: None,
            queued_at: at,
            started_at: None,
            finished_at: None,
            error_message: None,
        }
    }

    #[test]
    fn builds_of_deleted_branches_keep_a_row() {
        let board = Board {
            project_id: odooops::id::ProjectId(uuid::Uuid::nil()),
            slug: Slug::parse("demo").unwrap(),
            name: "Demo".to_owned(),
            clone_url: String::new(),
            remote_url: None,
            fetch_error: None,
            branches: Vec::new(),
        };
        let rows = rows(&board, vec![run("a", false), run("b", false), run("a", false)]);
        let seen: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.runs.len())).collect();
        assert_eq!(seen, [("a", 2), ("b", 1)]);
    }
}
