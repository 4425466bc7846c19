//! What OdooOps needs from the machine: each tool knows how to see itself and how to get itself. Order matters:
//! later ones may need earlier ones.

mod browser_target;
mod busybox;
mod cargo_deny;
mod cargo_install;
mod cargo_leptos;
mod chromium;
mod compiler;
pub mod debian;
mod debootstrap;
mod docker;
mod faketime;
mod git;
mod iproute;
mod nextest;
mod node;
mod npm_install;
mod postgres;
mod tailwind;
mod wasm_bindgen;
mod wasm_opt;

pub use chromium::path as chromium_path;
pub use npm_install::node_modules;

use crate::image;
use crate::machine::Machine;
use crate::setup::Purpose;
use anyhow::Result;

pub struct Tool {
    pub name: &'static str,
    /// One line: what for, and what it costs if that is much.
    pub why: &'static str,
    pub purposes: &'static [Purpose],
    /// The version, or where it is.
    pub is_there: fn(&Machine) -> Option<String>,
    pub install: fn(&Machine) -> Result<()>,
}

pub const ALL: &[Tool] = &[
    compiler::TOOL,
    git::TOOL,
    node::TOOL,
    postgres::TOOL,
    browser_target::TOOL,
    tailwind::TOOL,
    wasm_opt::TOOL,
    wasm_bindgen::TOOL,
    cargo_leptos::TOOL,
    docker::TOOL,
    faketime::TOOL,
    busybox::TOOL,
    iproute::TOOL,
    debootstrap::TOOL,
    image::TOOL,
    nextest::TOOL,
    chromium::TOOL,
    cargo_deny::TOOL,
];

pub fn needed_for(purposes: &[Purpose]) -> impl Iterator<Item = &'static Tool> {
    ALL.iter().filter(|tool| tool.purposes.iter().any(|purpose| purposes.contains(purpose)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_have_names_of_their_own_and_say_why() {
        for (index, tool) in ALL.iter().enumerate() {
            assert!(!tool.why.is_empty() && !tool.why.contains('\n'), "{}", tool.name);
            assert!(!tool.purposes.is_empty(), "{}", tool.name);
            assert!(ALL[..index].iter().all(|other| other.name != tool.name), "{}", tool.name);
        }
    }

    #[test]
    fn the_image_needs_no_rust_and_starting_needs_no_test_tools() {
        assert!(needed_for(&[Purpose::Image]).all(|tool| tool.name != "cargo-leptos"));
        assert!(needed_for(&[Purpose::Up]).all(|tool| tool.name != "Chromium"));
        assert!(needed_for(&[Purpose::Up]).any(|tool| tool.name == "Odoo 19 image"));
    }
}
