//! The branches board.

pub mod api;
mod ask;
mod board;
mod card;
mod column;
mod drag;
mod keys;
mod menu;
mod page;
mod rebuild;
mod state;

pub use page::BoardPage;
