//! What the first page costs a visitor: the WebAssembly it loads before it is alive, as it travels (brotli).
//!
//! The browser part is split: `<name>.<hash>.wasm` is the part every page starts with, the others are parts of
//! lazy routes, loaded when somebody goes there.

use crate::build::{self, OUTPUT_NAME};
use crate::machine::{Machine, output_of};
use anyhow::{Context, Result, bail};
use std::path::Path;

pub const GOAL: u64 = 300_000;
/// What a check refuses. The goal is not met yet; until it is, the page may get lighter but not heavier, and this
/// number only falls.
pub const LIMIT: u64 = 530_000;

#[derive(Debug, PartialEq, Eq)]
pub struct Weight {
    pub first_page: u64,
    pub lazy: u64,
    pub lazy_parts: usize,
}

impl Weight {
    pub fn meets_goal(&self) -> bool {
        self.first_page <= GOAL
    }

    pub fn within_limit(&self) -> bool {
        self.first_page <= LIMIT
    }

    pub fn sentence(&self) -> String {
        format!(
            "first page's wasm {:.1} kB brotli, goal at most {:.0} kB: {}; {:.1} kB more in {} lazy parts",
            kilobytes(self.first_page),
            kilobytes(GOAL),
            if self.meets_goal() { "met" } else { "missed" },
            kilobytes(self.lazy),
            self.lazy_parts
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes of files, shown with one decimal")]
fn kilobytes(bytes: u64) -> f64 {
    bytes as f64 / 1000.0
}

pub fn measure(machine: &Machine) -> Result<Weight> {
    let pkg = build::release_browser_part(machine)?.join("pkg");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&pkg).with_context(|| format!("cannot read {}", pkg.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        if name.ends_with(".wasm") {
            files.push((name, brotli_size(machine, &path)?));
        }
    }
    weigh(&files)
}

fn weigh(files: &[(String, u64)]) -> Result<Weight> {
    let (first, lazy): (Vec<_>, Vec<_>) = files.iter().partition(|(name, _)| is_first(name));
    if first.len() != 1 {
        bail!("expected one first part of the browser's program, found {}: {files:?}", first.len());
    }
    let sum = |files: &[&(String, u64)]| files.iter().map(|(_, size)| size).sum();
    Ok(Weight { first_page: sum(&first), lazy: sum(&lazy), lazy_parts: lazy.len() })
}

/// `odooops.wasm`, or `odooops.<hash>.wasm`.
fn is_first(name: &str) -> bool {
    let Some(middle) = name.strip_prefix(OUTPUT_NAME).and_then(|rest| rest.strip_suffix("wasm")) else {
        return false;
    };
    middle == "." || (middle.starts_with('.') && middle.ends_with('.') && middle.matches('.').count() == 2)
}

/// Node has brotli and is here for Tailwind; a brotli of our own would make xtask slow to build.
fn brotli_size(machine: &Machine, file: &Path) -> Result<u64> {
    let program = "const { readFileSync } = require('fs'); const { brotliCompressSync } = require('zlib'); \
                   process.stdout.write(String(brotliCompressSync(readFileSync(process.argv[1])).length))";
    let mut command = machine.command("node");
    command.args(["-e", program, "--"]).arg(file);
    let text = output_of(&mut command).with_context(|| format!("cannot compress {}", file.display()))?;
    text.parse().with_context(|| format!("node printed {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(sizes: &[(&str, u64)]) -> Vec<(String, u64)> {
        sizes.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect()
    }

    #[test]
    fn lazy_parts_do_not_count_for_the_first_page() -> Result<()> {
        let files = files(&[
            ("odooops.a1B-_c.wasm", 200_000),
            ("split_LogView.x.wasm", 90_000),
            ("chunk_0.wasm", 20_000),
        ]);
        let weight = weigh(&files)?;
        assert_eq!(weight, Weight { first_page: 200_000, lazy: 110_000, lazy_parts: 2 });
        assert!(weight.meets_goal());
        Ok(())
    }

    #[test]
    fn one_byte_too_many_misses_the_goal() -> Result<()> {
        let weight = weigh(&files(&[("odooops.wasm", GOAL + 1)]))?;
        assert!(!weight.meets_goal());
        assert!(weight.sentence().contains("missed"));
        assert!(weigh(&files(&[("odooops.wasm", GOAL)]))?.meets_goal());
        Ok(())
    }

    #[test]
    fn a_build_without_a_first_part_or_with_two_is_refused() {
        assert!(weigh(&files(&[("split_x.wasm", 1)])).is_err());
        assert!(weigh(&files(&[("odooops.a.wasm", 1), ("odooops.b.wasm", 1)])).is_err());
        assert!(weigh(&files(&[("odooopsy.a.wasm", 1)])).is_err());
    }

    #[test]
    fn brotli_sizes_are_those_of_the_compressed_bytes() -> Result<()> {
        let machine = Machine::look()?;
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("zeros");
        std::fs::write(&file, vec![0_u8; 100_000])?;
        let size = brotli_size(&machine, &file)?;
        assert!((1..200).contains(&size), "{size}");
        Ok(())
    }
}
