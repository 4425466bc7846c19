//! PostgreSQL's server programs. OdooOps makes clusters of its own; the one Debian would make is not wanted.

use super::{Tool, debian};
use crate::machine::Machine;
use crate::postgres::programs;
use crate::setup::Purpose;
use anyhow::{Context, Result, bail};

pub const TOOL: Tool = Tool {
    name: "PostgreSQL server",
    why: "holds the truth, and the environments' databases",
    purposes: &[Purpose::Up, Purpose::Test, Purpose::Check],
    is_there: |_| programs().map(|programs| programs.display().to_string()),
    install,
};

fn install(machine: &Machine) -> Result<()> {
    debian::install(machine, &["postgresql-common"])?;
    let configuration = "/etc/postgresql-common/createcluster.conf";
    if std::path::Path::new(configuration).exists() {
        let mut command = machine.as_root("sed")?;
        let edit = "s/^#?[[:space:]]*create_main_cluster[[:space:]]*=.*/create_main_cluster = false/";
        command.args(["--in-place", "--regexp-extended", edit, configuration]);
        let status = command.status().context("cannot start sed")?;
        if !status.success() {
            bail!("cannot edit {configuration}: {status}");
        }
    }
    debian::install(machine, &["postgresql", "postgresql-client"])
}
