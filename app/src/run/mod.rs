//! Builds: the grid of a project, and the page of one.

mod actions;
pub mod api;
mod builds;
mod history;
mod page;
mod parts;

pub use builds::BuildsPage;
pub use page::BuildPage;

use crate::say;
use odooops::run::Step;

/// A step as people read it while it runs.
pub fn step_name(step: Step) -> &'static str {
    match step {
        Step::Sources => say!(run.step.sources),
        Step::Image => say!(run.step.image),
        Step::Database => say!(run.step.database),
        Step::Install => say!(run.step.install),
        Step::Start => say!(run.step.start),
        Step::Gate => say!(run.step.gate),
        Step::Route => say!(run.step.route),
    }
}
