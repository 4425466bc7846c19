//! Tailwind makes the stylesheet. cargo-leptos would download it otherwise.

use super::{Tool, npm_install};
use crate::machine::output_of;
use crate::setup::Purpose;

pub const TOOL: Tool = Tool {
    name: "Tailwind 4",
    why: "makes the console's stylesheet",
    purposes: &[Purpose::Up, Purpose::Test, Purpose::Check],
    is_there: |machine| {
        let help = output_of(machine.command(machine.find("tailwindcss")?).arg("--help"))?;
        let version = help.split_whitespace().find(|word| word.starts_with('v'))?;
        version.starts_with("v4.").then(|| version.to_owned())
    },
    install: |machine| npm_install::install(machine, &["tailwindcss@4", "@tailwindcss/cli@4"]),
};
