//! An environment: one running (or stopped) Odoo with a database of its own.

mod file_path;
#[cfg(feature = "native")]
pub mod files;
mod model;
#[cfg(feature = "native")]
pub mod query;
#[cfg(feature = "native")]
pub mod service;
#[cfg(feature = "native")]
pub mod shell;

pub use file_path::{FileEntry, FileKind, FileList, FilePath, FileRoot};
pub use model::*;
