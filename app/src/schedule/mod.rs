//! Schedules: of a project, and of the platform.

pub mod api;
mod dialog;
mod page;
mod row;

pub use row::state_name;

pub use page::{PlatformSchedulesPage, ProjectSchedulesPage};
