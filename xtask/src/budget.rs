//! What a page costs a visitor: the WebAssembly it loads before it is alive, as it travels (brotli).
//!
//! The browser part is split: `<name>.<hash>.wasm` is the part every page starts with, the first page nothing more.
//! Lazy pages load further parts; a manifest beside them says which.

use crate::build::{self, OUTPUT_NAME};
use crate::machine::Machine;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// For the first page. What is heavier is refused by the check.
pub const GOAL: u64 = 300_000;

#[derive(Debug, PartialEq, Eq)]
pub struct Weights {
    pub first_page: u64,
    pub lazy: Vec<LazyPage>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct LazyPage {
    pub name: String,
    /// What comes beside the first part, when nothing of it is there yet.
    pub own: u64,
    pub parts: usize,
}

impl Weights {
    pub fn meets_goal(&self) -> bool {
        self.first_page <= GOAL
    }

    pub fn lines(&self) -> Vec<String> {
        let first = format!(
            "first page: {:.1} kB of wasm (brotli), goal at most {:.0} kB: {}",
            kilobytes(self.first_page),
            kilobytes(GOAL),
            if self.meets_goal() { "met" } else { "missed" },
        );
        let lazy = self.lazy.iter().map(|page| {
            let all = kilobytes(self.first_page + page.own);
            let own = kilobytes(page.own);
            format!("{}: {all:.1} kB in all, {own:.1} kB of it in {} lazy parts", page.name, page.parts)
        });
        std::iter::once(first).chain(lazy).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes of files, shown with one decimal")]
fn kilobytes(bytes: u64) -> f64 {
    bytes as f64 / 1000.0
}

pub fn measure(machine: &Machine) -> Result<Weights> {
    weigh(&build::release_browser_part(machine)?.join("pkg"))
}

/// The build left a compressed copy beside each file, the one that is sent.
fn weigh(pkg: &Path) -> Result<Weights> {
    let (mut sizes, mut manifests) = (BTreeMap::new(), Vec::new());
    for entry in std::fs::read_dir(pkg).with_context(|| format!("cannot read {}", pkg.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(part) = name.strip_suffix(".wasm.br") {
            sizes.insert(part.to_owned(), entry.metadata()?.len());
        } else if name.starts_with("__wasm_split_manifest.") && name.ends_with(".json") {
            manifests.push(std::fs::read_to_string(entry.path())?);
        }
    }
    let first: Vec<u64> = sizes.iter().filter(|(name, _)| is_first(name)).map(|(_, size)| *size).collect();
    let ([first_page], [manifest]) = (first.as_slice(), manifests.as_slice()) else {
        bail!(
            "expected one compressed first part and one manifest in {}, found {} and {}",
            pkg.display(),
            first.len(),
            manifests.len()
        );
    };
    Ok(Weights { first_page: *first_page, lazy: lazy_pages(manifest, &sizes)? })
}

/// `{"__board_page_view_<hash>": ["chunk_4.<hash>", ...], ...}`
fn lazy_pages(manifest: &str, sizes: &BTreeMap<String, u64>) -> Result<Vec<LazyPage>> {
    let manifest: BTreeMap<String, BTreeSet<String>> =
        serde_json::from_str(manifest).context("the manifest of the lazy parts does not read")?;
    let page = |(function, parts): (String, BTreeSet<String>)| {
        let size = |part: &String| {
            sizes.get(part).with_context(|| format!("{function} needs {part}, which was not built"))
        };
        let own = parts.iter().map(size).sum::<Result<u64>>()?;
        Ok(LazyPage { name: title(&function), own, parts: parts.len() })
    };
    manifest.into_iter().map(page).collect()
}

/// `odooops`, or `odooops.<hash>`.
fn is_first(part: &str) -> bool {
    let (name, hash) = part.split_once('.').unwrap_or((part, ""));
    name == OUTPUT_NAME && !hash.contains('.')
}

/// `__board_page_view_1389` -> `board page`
fn title(function: &str) -> String {
    let name = function.trim_start_matches('_');
    let name = name.rsplit_once('_').map_or(name, |(name, _hash)| name);
    name.strip_suffix("_view").unwrap_or(name).replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"{"__board_page_view_138":["chunk_4.a","split___board_page_view_138.b"],
                               "__build_page_view_169":["chunk_4.a","split___build_page_view_169.c"]}"#;

    fn site(sizes: &[(&str, u64)], manifest: Option<&str>) -> Result<tempfile::TempDir> {
        let pkg = tempfile::tempdir()?;
        for (name, size) in sizes {
            std::fs::File::create(pkg.path().join(name))?.set_len(*size)?;
        }
        if let Some(manifest) = manifest {
            std::fs::write(pkg.path().join("__wasm_split_manifest.d.json"), manifest)?;
        }
        Ok(pkg)
    }

    fn whole(first: u64) -> Result<tempfile::TempDir> {
        let sizes = [
            ("odooops.x_-Y.wasm", 900_000),
            ("odooops.x_-Y.wasm.br", first),
            ("odooops.x_-Y.wasm.gz", 1),
            ("odooops.z.js.br", 8_000),
            ("chunk_4.a.wasm.br", 10_000),
            ("split___board_page_view_138.b.wasm.br", 100_000),
            ("split___build_page_view_169.c.wasm.br", 60_500),
        ];
        site(&sizes, Some(MANIFEST))
    }

    #[test]
    fn each_page_counts_what_it_loads_as_it_travels() -> Result<()> {
        let weights = weigh(whole(200_000)?.path())?;
        let page = |name: &str, own| LazyPage { name: name.to_owned(), own, parts: 2 };
        let lazy = vec![page("board page", 110_000), page("build page", 70_500)];
        assert_eq!(weights, Weights { first_page: 200_000, lazy });
        let lines = weights.lines();
        assert!(lines[0].contains("200.0 kB") && lines[0].ends_with("met"), "{}", lines[0]);
        assert_eq!(lines[2], "build page: 270.5 kB in all, 70.5 kB of it in 2 lazy parts");
        Ok(())
    }

    #[test]
    fn one_byte_too_many_misses_the_goal() -> Result<()> {
        let weights = weigh(whole(GOAL + 1)?.path())?;
        assert!(!weights.meets_goal());
        assert!(weights.lines()[0].ends_with("missed"));
        assert!(weigh(whole(GOAL)?.path())?.meets_goal());
        Ok(())
    }

    #[test]
    fn a_build_that_cannot_be_weighed_is_refused() -> Result<()> {
        let one = [("odooops.a.wasm.br", 1)];
        assert!(weigh(site(&one, None)?.path()).is_err(), "no manifest");
        assert!(weigh(site(&one, Some("{}"))?.path()).is_ok());
        assert!(weigh(site(&[], Some("{}"))?.path()).is_err(), "no first part");
        assert!(weigh(site(&[("odooopsy.a.wasm.br", 1)], Some("{}"))?.path()).is_err(), "another's");
        let two = [("odooops.a.wasm.br", 1), ("odooops.b.wasm.br", 1)];
        assert!(weigh(site(&two, Some("{}"))?.path()).is_err(), "two first parts");
        assert!(weigh(site(&[("odooops.a.wasm", 1)], Some("{}"))?.path()).is_err(), "not compressed");
        assert!(weigh(site(&one, Some(MANIFEST))?.path()).is_err(), "a lazy part is missing");
        Ok(())
    }
}
