//! The demo project's files: two small modules of our own.

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/demo/", $path)).as_slice())),*]
    };
}

/// Path in the repository, and content. Every file of the folder `demo/`: a test compares.
pub fn files() -> &'static [(&'static str, &'static [u8])] {
    FILES
}

const FILES: &[(&str, &[u8])] = files![
    "README.md",
    "library/__init__.py",
    "library/__manifest__.py",
    "library/demo/library_book_demo.xml",
    "library/models/__init__.py",
    "library/models/library_book.py",
    "library/security/ir.model.access.csv",
    "library/security/library_groups.xml",
    "library/tests/__init__.py",
    "library/tests/test_library_book.py",
    "library/views/library_book_views.xml",
    "library/views/library_menus.xml",
    "library_loan/__init__.py",
    "library_loan/__manifest__.py",
    "library_loan/demo/library_loan_demo.xml",
    "library_loan/models/__init__.py",
    "library_loan/models/library_book.py",
    "library_loan/models/library_loan.py",
    "library_loan/security/ir.model.access.csv",
    "library_loan/tests/__init__.py",
    "library_loan/tests/test_library_loan.py",
    "library_loan/views/library_book_views.xml",
    "library_loan/views/library_loan_views.xml",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::odoo::addons::Addons;
    use std::{collections::BTreeMap, path::Path};

    #[test]
    fn every_file_of_the_folder_is_listed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
        let entries = walkdir::WalkDir::new(&root).into_iter().map(Result::unwrap);
        let on_disk: BTreeMap<String, Vec<u8>> = entries
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| {
                let path = entry.path().strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                (path, std::fs::read(entry.path()).unwrap())
            })
            .filter(|(path, _)| !path.contains("__pycache__"))
            .collect();
        let listed: BTreeMap<String, Vec<u8>> =
            files().iter().map(|(path, content)| ((*path).to_owned(), content.to_vec())).collect();
        assert_eq!(on_disk.keys().collect::<Vec<_>>(), listed.keys().collect::<Vec<_>>());
        assert_eq!(on_disk, listed);
    }

    #[test]
    fn two_modules_without_a_warning() {
        let addons = Addons::find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("demo")).unwrap();
        assert_eq!(addons.to_install().collect::<Vec<_>>(), ["library", "library_loan"]);
        assert_eq!(addons.to_test().count(), 2);
        assert!(addons.warnings.is_empty());
    }
}
