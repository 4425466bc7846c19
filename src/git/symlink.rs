//! Symbolic links in a checkout. Git is told to write them as plain files (`core.symlinks=false`), so that no write
//! of its own can ever follow one. Links that stay inside the tree are common (OCA's `setup/` folders), so they are
//! made afterwards, by us, when every file is in place and every link was followed on paper. One link that leads
//! out, directly or through others, refuses the whole checkout.

use super::error::{GitError, Result};
use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    os::unix::fs::symlink,
    path::Path,
};

/// As many as Linux follows.
const HOPS: usize = 40;

/// All links of a checkout, submodules included: path to target. None as target is one that cannot be made.
#[derive(Debug, Default)]
pub(super) struct Links(BTreeMap<String, Option<String>>);

impl Links {
    pub fn add(&mut self, path: String, target: Option<String>) {
        self.0.insert(path, target);
    }

    /// Refuses when any leads out of the tree.
    pub fn check(&self) -> Result<()> {
        let paths: Vec<_> = self.0.keys().filter(|path| !self.stays_inside(path)).cloned().collect();
        if paths.is_empty() { Ok(()) } else { Err(GitError::SymlinkOutside { paths }) }
    }

    /// Walks the link as the kernel would, over the links of the tree. A loop never arrives anywhere, so it stays
    /// inside.
    fn stays_inside(&self, link: &str) -> bool {
        let mut place: Vec<&str> = Vec::new();
        let mut todo: Vec<&str> = link.split('/').rev().collect();
        let mut hops = 0;
        while let Some(part) = todo.pop() {
            match part {
                "" | "." => continue,
                ".." => {
                    if place.pop().is_none() {
                        return false;
                    }
                    continue;
                }
                part => place.push(part),
            }
            match self.0.get(&place.join("/")) {
                None => {}
                Some(None) => return false,
                Some(Some(target)) if target.starts_with('/') => return false,
                Some(Some(target)) => {
                    hops += 1;
                    if hops > HOPS {
                        return true;
                    }
                    place.pop();
                    todo.extend(target.split('/').rev());
                }
            }
        }
        true
    }

    /// Replaces the plain files that git wrote. Call after [`Links::check`], and when nothing else is written.
    pub fn make(&self, root: &Path) -> Result<()> {
        // The folder of a link is a real folder: a path below another link cannot be in the same tree.
        let mut real = HashSet::new();
        for (path, target) in &self.0 {
            let Some(target) = target else { continue };
            let at = root.join(path);
            if let Some(folder) = at.parent()
                && real.insert(folder.to_owned())
            {
                let kind = fs::symlink_metadata(folder).map_err(GitError::io(folder))?;
                if !kind.is_dir() {
                    return Err(GitError::SymlinkOutside { paths: vec![path.clone()] });
                }
            }
            match fs::remove_file(&at) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(GitError::io(&at)(error));
                }
                _ => symlink(target, &at).map_err(GitError::io(&at))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn links(list: &[(&str, &str)]) -> Links {
        Links(list.iter().map(|(path, target)| ((*path).to_owned(), Some((*target).to_owned()))).collect())
    }

    #[test]
    fn links_within_the_tree_pass() {
        links(&[
            ("setup/sale/odoo/addons/sale", "../../../../sale"),
            ("a", "b"),
            ("b", "c/d"),
            ("dangling", "not/there"),
            ("self", "self"),
            ("up", "."),
            ("x/y", "../x/./z//"),
            ("loop1", "loop2/.."),
            ("loop2", "loop1/.."),
        ])
        .check()
        .unwrap();
    }

    #[test]
    fn links_out_of_the_tree_are_named() {
        for (list, bad) in [
            (&[("a", "/etc/passwd")][..], "a"),
            (&[("a", "..")], "a"),
            (&[("a/b", "../..")], "a/b"),
            (&[("a/b/c", "../../../etc")], "a/b/c"),
            (&[("a", "b/../../etc")], "a"),
            // On paper p/q/l/../.. is p; in truth l is p, so this is the parent of the tree.
            (&[("p/q/l", ".."), ("m", "p/q/l/../../..")], "m"),
            (&[("p/q/l", "../.."), ("m", "p/q/l/..")], "m"),
            (&[("up", "."), ("m", "up/up/up/..")], "m"),
        ] {
            match links(list).check() {
                Err(GitError::SymlinkOutside { paths }) => {
                    assert!(paths.iter().any(|p| p == bad), "{paths:?}")
                }
                outcome => panic!("{list:?}: {outcome:?}"),
            }
        }
        let mut unreadable = Links::default();
        unreadable.add("x".to_owned(), None);
        assert!(unreadable.check().is_err());
    }

    proptest! {
        /// The kernel is the judge: whatever passes is made for real, in a tree of real folders, and followed.
        #[test]
        fn what_passes_stays_inside_for_the_kernel(
            list in proptest::collection::btree_map("[abc](/[abc]){0,2}", "(\\.\\.|[abc]|\\.)(/(\\.\\.|[abc])){0,4}", 1..6)
        ) {
            // A link has no entries below it.
            let list: BTreeMap<String, Option<String>> = list
                .iter()
                .filter(|(path, _)| !list.keys().any(|other| path.starts_with(&format!("{other}/"))))
                .map(|(path, target)| (path.clone(), Some(target.clone())))
                .collect();
            let links = Links(list);
            if links.check().is_ok() {
                let folder = tempfile::tempdir().unwrap();
                let root = folder.path().canonicalize().unwrap().join("tree");
                for path in links.0.keys() {
                    fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
                }
                links.make(&root).unwrap();
                for path in links.0.keys() {
                    if let Ok(arrived) = root.join(path).canonicalize() {
                        prop_assert!(arrived.starts_with(&root), "{path} leads to {arrived:?} in {links:?}");
                    }
                }
            }
        }
    }
}
