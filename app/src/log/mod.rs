//! Log lines as people read them.

pub mod api;
mod buffer;
mod viewer;

pub use buffer::{LINE_HEIGHT, LogBuffer, Window};
pub use viewer::LogViewer;
