//! debootstrap makes the root file system of the Odoo image. Only needed where the image has to be built.

use super::{Tool, debian};
use crate::image;
use crate::machine::Machine;
use crate::setup::Purpose;

pub const TOOL: Tool = Tool {
    name: "debootstrap",
    why: "builds the Odoo image from Debian's packages where no registry has it",
    purposes: &[Purpose::Image, Purpose::Up, Purpose::Test],
    is_there,
    install: |machine| debian::install(machine, &["debootstrap"]),
};

fn is_there(machine: &Machine) -> Option<String> {
    match machine.find("debootstrap") {
        Some(path) => Some(path.display().to_string()),
        None => image::is_there(machine).map(|_| "not needed: the image is there".to_owned()),
    }
}
