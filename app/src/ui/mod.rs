//! The design system. Everything here knows looks and behaviour, nothing of projects or builds.

mod avatar;
mod button;
mod confirm;
mod dialog;
mod failure;
mod icon;
mod into_view;
mod menu;
mod skeleton;
mod stage;
mod theme;
mod time;
mod toast;
mod verdict;

pub use avatar::Avatar;
pub use button::{CopyButton, copy};
pub use confirm::{Answer, Ask, Question, Told, Warning, asked_by_address};
pub use dialog::Dialog;
pub use failure::{Empty, Failure, Refusal};
pub use icon::{Glyph, Icon};
pub use into_view::{arrive, branch_anchor, bring_into_view};
pub use menu::Menu;
pub use skeleton::Skeleton;
pub use stage::{BeginsFresh, StageMark, stage_icon, stage_name};
pub use theme::{ThemeSwitch, theme_of_request};
pub use time::{Lasting, Now, TimeAgo, duration};
pub use toast::{ToastList, Toasts};
pub use verdict::{VerdictMark, verdict_name};
