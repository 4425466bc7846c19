//! The browser the tests drive: the system's, because Playwright's own cannot be downloaded everywhere.

use super::{Tool, debian};
use crate::setup::Purpose;

pub const PATHS: [&str; 3] = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

pub const TOOL: Tool = Tool {
    name: "Chromium",
    why: "the browser of the browser tests",
    purposes: &[Purpose::Test],
    is_there: |_| path().map(str::to_owned),
    install: |machine| debian::install(machine, &["chromium"]),
};

pub fn path() -> Option<&'static str> {
    PATHS.into_iter().find(|path| std::path::Path::new(path).exists())
}
