//! What the board knows: the server's last word, and over it the moves that the server has not answered yet.
//!
//! Cards are kept by id. A new board from the server changes only the signals of the cards that differ, so that
//! nothing else on the page moves; while a card is being dragged new boards wait.

use super::{api, ask::Ask, drag::Drag};
use crate::{say, ui::Toasts, ui::stage_name, words};
use leptos::{prelude::*, task::spawn_local};
use odooops::{
    Detail,
    branch::{Board, BranchCard, BranchName, Move, Moved, Piece, Stage, Target, decide_drop},
    id::{BranchId, ProjectId},
    project::Slug,
};
use std::collections::HashMap;

#[derive(Clone, Copy)]
pub struct BoardState {
    board: RwSignal<Board>,
    /// Moves shown before the server confirms them.
    moving: RwSignal<HashMap<BranchId, Stage>>,
    /// A board that came while something was being dragged.
    waiting: StoredValue<Option<Board>>,
    /// How many boards the live connection brought.
    heard: StoredValue<u64>,
    pub drag: RwSignal<Option<Drag>>,
    pub ask: RwSignal<Option<Ask>>,
    /// The production branch whose rebuilding is asked about.
    pub rebuilding: RwSignal<Option<BranchId>>,
    /// Read out to those who do not see the board.
    pub said: RwSignal<String>,
    /// What of a card has the focus, as a selector.
    pub focused: StoredValue<Option<String>>,
}

impl BoardState {
    pub fn new(board: Board) -> Self {
        Self {
            board: RwSignal::new(board),
            moving: RwSignal::new(HashMap::new()),
            waiting: StoredValue::new(None),
            heard: StoredValue::new(0),
            drag: RwSignal::new(None),
            ask: RwSignal::new(None),
            rebuilding: RwSignal::new(None),
            said: RwSignal::new(String::new()),
            focused: StoredValue::new(None),
        }
    }

    pub fn get() -> Self {
        expect_context()
    }

    pub fn project_id(self) -> ProjectId {
        self.board.with_untracked(|board| board.project_id)
    }

    pub fn slug(self) -> Slug {
        self.board.with_untracked(|board| board.slug.clone())
    }

    /// The repository that developers clone and push to.
    pub fn source(self) -> String {
        self.board.with_untracked(|board| board.remote_url.clone().unwrap_or_else(|| board.clone_url.clone()))
    }

    /// Why the last fetch of the repository that the project follows failed.
    pub fn fetch_error(self) -> Option<String> {
        self.board.with(|board| board.fetch_error.clone())
    }

    pub fn is_empty(self) -> bool {
        self.board.with(|board| board.branches.is_empty())
    }

    /// A board from the live connection.
    pub fn receive(self, board: Board) {
        self.heard.update_value(|heard| *heard += 1);
        self.show(board);
    }

    /// Asks for the board, for when the live connection is down. An answer that took longer than the live
    /// connection's next word may be older than it, and is dropped: had it been newer, what made it so would be told
    /// over the live connection too.
    async fn ask_again(self) {
        // The page may have been left meanwhile.
        let Some(slug) = self.board.try_with_untracked(|board| board.slug.clone()) else { return };
        let heard = self.heard.try_get_value();
        let board = api::board(slug).await;
        if let Ok(board) = board
            && self.heard.try_get_value() == heard
        {
            self.show(board);
        }
    }

    /// After something was done to the board.
    pub fn refresh(self) {
        spawn_local(self.ask_again());
    }

    fn show(self, board: Board) {
        if self.drag.with_untracked(Option::is_some) {
            self.waiting.set_value(Some(board));
            return;
        }
        if self.board.with_untracked(|known| *known != board) {
            self.board.set(board);
        }
    }

    /// Lets a board in that waited for the end of a drag.
    pub fn settle(self) {
        if let Some(board) = self.waiting.try_update_value(Option::take).flatten() {
            self.show(board);
        }
    }

    fn stage(moving: &HashMap<BranchId, Stage>, card: &BranchCard) -> Stage {
        moving.get(&card.id).copied().unwrap_or(card.stage)
    }

    /// The cards of a column, in the server's order.
    pub fn ids_in(self, stage: Stage) -> Vec<BranchId> {
        let moving = self.moving.read();
        let board = self.board.read();
        board.branches.iter().filter(|card| Self::stage(&moving, card) == stage).map(|card| card.id).collect()
    }

    /// What a card shows: its own changes, and no others. None once the branch is gone.
    pub fn card(self, id: BranchId) -> Memo<Option<BranchCard>> {
        Memo::new(move |_| {
            let moving = self.moving.read();
            let board = self.board.read();
            let card = board.branches.iter().find(|card| card.id == id)?;
            Some(BranchCard { stage: Self::stage(&moving, card), ..card.clone() })
        })
    }

    pub fn find(self, id: BranchId) -> Option<BranchCard> {
        let moving = self.moving.read_untracked();
        let board = self.board.read_untracked();
        let card = board.branches.iter().find(|card| card.id == id)?;
        Some(BranchCard { stage: Self::stage(&moving, card), ..card.clone() })
    }

    pub fn find_by_name(self, name: &BranchName) -> Option<BranchId> {
        self.board
            .with_untracked(|board| board.branches.iter().find(|card| card.name == *name).map(|card| card.id))
    }

    pub fn names(self) -> Vec<BranchName> {
        self.board.with(|board| board.branches.iter().map(|card| card.name.clone()).collect())
    }

    /// What dropping a branch there means, by the rules that the server applies too.
    pub fn meaning(self, id: BranchId, target: &Target) -> Result<Move, Detail> {
        let moving = self.moving.read();
        let board = self.board.read();
        let pieces: Vec<_> = board
            .branches
            .iter()
            .map(|card| Piece { name: &card.name, stage: Self::stage(&moving, card) })
            .collect();
        let at = board.branches.iter().position(|card| card.id == id);
        match at.and_then(|at| pieces.get(at)) {
            Some(piece) => decide_drop(&pieces, piece, target),
            None => Err(Detail::new("branch.unknown")),
        }
    }

    /// A drop, or the same by menu: done at once where it is harmless, asked where it merges or touches
    /// production, explained where it is refused.
    pub fn drop_on(self, id: BranchId, target: Target) {
        let Some(card) = self.find(id) else { return };
        match self.meaning(id, &target) {
            Ok(Move::Nothing) => {}
            Ok(Move::Restage { to, .. }) if to != Stage::Production && card.stage != Stage::Production => {
                self.carry_out(id, target, None);
            }
            Ok(_) => self.ask.set(Some(Ask::of(id, target))),
            Err(detail) => {
                let why = words::of_code(&detail);
                self.said.set(why.clone());
                Toasts::get()
                    .failed(say!(board.failed.moved, branch = card.name.to_string()).to_string(), why);
            }
        }
    }

    /// Shows the move, tells the server, and takes it back with the reason when the server refuses.
    pub fn carry_out(self, id: BranchId, target: Target, choice: Option<BranchName>) {
        let Some(card) = self.find(id) else { return };
        let toasts = Toasts::get();
        if let Ok(Move::Restage { to, .. }) = self.meaning(id, &target) {
            self.moving.update(|moving| {
                moving.insert(id, to);
            });
        }
        let (slug, name) = (self.slug(), card.name);
        spawn_local(async move {
            let answer = api::move_branch(slug, id, api::write_target(&target), choice).await;
            // Also when refused: the refusal says that somebody else was faster, then this shows it.
            self.ask_again().await;
            self.moving.try_update(|moving| moving.remove(&id));
            match answer {
                Ok(moved) => toasts.done(outcome(&name, &moved)),
                Err(fault) => toasts.failed(
                    say!(board.failed.moved, branch = name.to_string()).to_string(),
                    words::sentence(&fault.0),
                ),
            }
        });
    }

    pub fn rebuild(self, id: BranchId) {
        let Some(card) = self.find(id) else { return };
        let toasts = Toasts::get();
        let (slug, name) = (self.slug(), card.name.to_string());
        spawn_local(async move {
            match api::rebuild(slug, id).await {
                Ok(_) => toasts.done(say!(board.done.rebuild, branch = name).to_string()),
                Err(fault) => toasts
                    .failed(say!(board.failed.rebuilt, branch = name).to_string(), words::sentence(&fault.0)),
            }
            self.ask_again().await;
        });
    }

    pub fn set_build_on_push(self, id: BranchId, build: bool) {
        let Some(card) = self.find(id) else { return };
        let toasts = Toasts::get();
        let (slug, name) = (self.slug(), card.name.to_string());
        spawn_local(async move {
            match api::set_build_on_push(slug, id, build).await {
                Ok(()) if build => toasts.done(say!(board.done.loud, branch = name).to_string()),
                Ok(()) => toasts.done(say!(board.done.quiet, branch = name).to_string()),
                Err(fault) => {
                    toasts
                        .failed(say!(board.failed.set, branch = name).to_string(), words::sentence(&fault.0));
                }
            }
            self.ask_again().await;
        });
    }
}

fn outcome(branch: &BranchName, moved: &Moved) -> String {
    let from = branch.to_string();
    match moved {
        Moved::Nothing => say!(board.done.nothing, branch = from).to_string(),
        Moved::Restaged { to, run: Some(_) } => {
            say!(board.done.restaged_built, branch = from, stage = stage_name(*to)).to_string()
        }
        Moved::Restaged { to, run: None } => {
            say!(board.done.restaged, branch = from, stage = stage_name(*to)).to_string()
        }
        Moved::Merged { into, changed: false, .. } => {
            say!(board.done.merged_nothing, from = from, into = into.to_string()).to_string()
        }
        Moved::Merged { into, run: Some(_), .. } => {
            say!(board.done.merged, from = from, into = into.to_string()).to_string()
        }
        Moved::Merged { into, run: None, .. } => {
            say!(board.done.merged_quiet, from = from, into = into.to_string()).to_string()
        }
    }
}

/// What a drop means, in a few words. The refusal is longer: it says why.
pub fn meaning_words(meaning: &Result<Move, Detail>) -> String {
    use odooops::branch::OnPush;
    match meaning {
        Ok(Move::Nothing) => say!(board.means.nothing).to_owned(),
        Ok(Move::Restage { to: Stage::Staging, .. }) => say!(board.means.staging).to_owned(),
        Ok(Move::Restage { to: Stage::Production, .. }) => say!(board.means.production).to_owned(),
        Ok(Move::Restage { to: Stage::Development, on_push: OnPush::Nothing }) => {
            say!(board.means.development_quiet).to_owned()
        }
        Ok(Move::Restage { to: Stage::Development, .. }) => say!(board.means.development).to_owned(),
        Ok(Move::Merge { into }) => say!(board.means.merge, branch = into.to_string()).to_string(),
        Ok(Move::ChooseMerge { .. }) => say!(board.means.choose).to_owned(),
        Err(detail) => words::of_code(detail),
    }
}
