//! `cargo xtask bench`: runs the benchmarks. Each is a program that prints its figures beside the goal, met or
//! missed. A missed figure is shown, and is no failure.

use crate::budget;
use crate::build::{self, Console, Profile};
use crate::machine::Machine;
use crate::setup::{Consent, Purpose, prepare};
use crate::tools;
use anyhow::{Context, Result, bail, ensure};
use std::path::PathBuf;
use std::process::ExitCode;

struct Bench {
    name: &'static str,
    what: &'static str,
    kind: Kind,
}

enum Kind {
    /// A binary of this name in the workspace `bench/`, which is given `OPS_BIN` and `OPS_SITE_ROOT`.
    Program,
    Wasm,
}

const ALL: [Bench; 7] = [
    Bench { name: "push", what: "from push to a green build, beside the same raw Odoo", kind: Kind::Program },
    Bench {
        name: "board",
        what: "from push to card, and from a move to the board of somebody who watches",
        kind: Kind::Program,
    },
    Bench { name: "idle", what: "resident memory of serve, work and proxy at rest", kind: Kind::Program },
    Bench { name: "wasm", what: "what pages load", kind: Kind::Wasm },
    Bench { name: "proxy", what: "what the proxy adds to a request", kind: Kind::Program },
    Bench {
        name: "logs",
        what: "from a container's output to the database and to who watches",
        kind: Kind::Program,
    },
    Bench {
        name: "queue",
        what: "lives of runs a second, beside PostgreSQL's ceiling, graphile_worker and pg-boss",
        kind: Kind::Program,
    },
];

/// What a benchmark compares with comes from npm, and where Node.js finds it.
const PEERS: [(&str, &str); 1] = [("queue", "pg-boss@10")];

/// `arguments` are those of the one program that is named.
pub fn run(machine: &Machine, consent: Consent, names: &[String], arguments: &[String]) -> Result<ExitCode> {
    let chosen = choose(names)?;
    let takes_arguments = matches!(chosen[..], [Bench { kind: Kind::Program, .. }]);
    ensure!(
        arguments.is_empty() || takes_arguments,
        "name the one benchmark that takes `{}`",
        arguments.join(" ")
    );
    prepare(machine, consent, &[Purpose::Up, Purpose::Test])?;
    let mut ran = true;
    for bench in chosen {
        println!("\n{}: {}", bench.name, bench.what);
        ran &= match bench.kind {
            Kind::Wasm => {
                for line in budget::measure(machine)?.lines() {
                    println!("  {line}");
                }
                true
            }
            // Built when it is first needed, and found by its stamp from then on.
            Kind::Program => {
                let console = build::console(machine, Profile::Release)?;
                program(machine, &console, bench.name, arguments)?
            }
        };
    }
    Ok(if ran { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn choose(names: &[String]) -> Result<Vec<&'static Bench>> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    names.iter().map(|name| find(name)).collect()
}

fn find(name: &str) -> Result<&'static Bench> {
    let known = ALL.iter().map(|bench| bench.name).collect::<Vec<_>>().join(", ");
    match ALL.iter().find(|bench| bench.name == name) {
        Some(bench) => Ok(bench),
        None => bail!("there is no benchmark `{name}`; there are {known}"),
    }
}

/// A workspace of its own, with other dependency versions than the product's.
pub const MANIFEST: &str = "bench/Cargo.toml";

pub fn target_directory(machine: &Machine) -> PathBuf {
    machine.cache.join("target-bench")
}

fn program(machine: &Machine, console: &Console, name: &str, arguments: &[String]) -> Result<bool> {
    let mut command = machine.command("cargo");
    command.args(["run", "--release", "--quiet", "--manifest-path", MANIFEST, "--bin", name, "--"]);
    command.args(arguments);
    console.apply(&mut command);
    command.env("CARGO_TARGET_DIR", target_directory(machine));
    for (_, peer) in PEERS.iter().filter(|(of, _)| *of == name) {
        command.env("NODE_PATH", tools::node_modules(machine, peer)?);
    }
    // Its figures are its output, so it writes to the terminal itself.
    let status = command.status().with_context(|| format!("cannot start the benchmark {name}"))?;
    if !status.success() {
        println!("  ✗ {name} did not run ({status})");
    }
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_means_all_and_a_wrong_one_says_which_there_are() -> Result<()> {
        assert_eq!(choose(&[])?.len(), ALL.len());
        assert_eq!(choose(&["idle".to_owned()])?[0].name, "idle");
        let error = choose(&["speed".to_owned()]).err().context("a wrong name is refused")?;
        assert!(error.to_string().contains("push, board, idle, wasm"));
        Ok(())
    }
}
