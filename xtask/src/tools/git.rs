//! git, with the program that serves it over HTTP (in Debian both are in one package).

use super::{Tool, debian};
use crate::machine::output_of;
use crate::setup::Purpose;

pub const TOOL: Tool = Tool {
    name: "git",
    why: "holds the projects' repositories and serves pushes",
    purposes: &[Purpose::Up, Purpose::Test],
    is_there: |machine| {
        let programs = output_of(machine.command("git").arg("--exec-path"))?;
        std::path::Path::new(&programs).join("git-http-backend").exists().then_some(())?;
        output_of(machine.command("git").arg("--version"))
    },
    install: |machine| debian::install(machine, &["git"]),
};
