//! `cargo xtask doctor`: what is there and what is missing, without changing anything.

use crate::machine::{Machine, output_of};
use crate::tools;
use anyhow::Result;
use std::process::ExitCode;

pub fn run(machine: &Machine) -> Result<ExitCode> {
    println!("{}", machine_line(machine));
    let mut missing = 0;
    for tool in tools::ALL {
        match (tool.is_there)(machine) {
            Some(found) => println!("  ✓ {:<22} {found}", tool.name),
            None => {
                missing += 1;
                println!("  ✗ {:<22} {}", tool.name, tool.why);
            }
        }
    }
    if missing == 0 {
        println!("Nothing is missing: `cargo xtask up` starts OdooOps, `cargo xtask test` tests it.");
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{missing} missing: `cargo xtask up` and `cargo xtask test` install what they need, after asking."
    );
    Ok(ExitCode::FAILURE)
}

fn machine_line(machine: &Machine) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory_in(&text));
    let disk =
        output_of(machine.command("df").args(["--output=avail", "--block-size=1G"]).arg(&machine.cache));
    let disk =
        disk.and_then(|text| text.split_whitespace().last().map(str::to_owned)).unwrap_or("?".to_owned());
    let user = if machine.is_root() { "root" } else { "not root" };
    let memory = memory.map_or("?".to_owned(), |gigabytes| gigabytes.to_string());
    format!("This machine: {cores} cores, {memory} GB memory, {disk} GB free, {user}")
}

fn memory_in(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1_000_000)
}

#[cfg(test)]
mod tests {
    #[test]
    fn memory_is_read_in_gigabytes() {
        assert_eq!(super::memory_in("MemTotal:       24680000 kB\nMemFree: 1 kB\n"), Some(24));
        assert_eq!(super::memory_in("nothing"), None);
    }
}
