use super::*;
use crate::git::testing::{Entry, Fixture};

fn all() -> CheckoutLimits {
    CheckoutLimits::default()
}

fn file_url(repo: &Repository) -> String {
    format!("file://{}", repo.path().display())
}

fn gitmodules(entries: &[(&str, &str)]) -> String {
    entries
        .iter()
        .map(|(path, url)| format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n"))
        .collect()
}

#[tokio::test]
async fn files_are_written_as_committed() {
    let fixture = Fixture::new().await;
    let repo = fixture.bare("plain").await;
    let files = [
        ("sale_x/__manifest__.py", "{'name': 'X'}"),
        ("sale_x/größe.txt", "ä"),
        // Attributes of the tree neither hide files nor change them.
        (".gitattributes", "hidden.txt export-ignore\n* filter=evil ident\n"),
        ("hidden.txt", "$Format:%H$"),
    ];
    let commit = fixture.commit(&repo, "main", &files, "files").await;
    let folder = fixture.path().join("out");
    let done = repo.check_out(&commit, &folder, None, all()).await.unwrap();
    assert_eq!((done.files, done.submodules.len()), (4, 0));
    for (path, text) in files {
        assert_eq!(fs::read_to_string(folder.join(path)).unwrap(), text, "{path}");
    }
    assert!(!folder.join(".git").exists());
    assert_eq!(fs::read_dir(repo.path().join("ops")).unwrap().count(), 0, "the index is removed");
    let again = repo.check_out(&commit, &folder, None, all()).await;
    assert!(matches!(again, Err(GitError::NotEmpty { .. })), "{again:?}");
}

#[tokio::test]
async fn links_inside_are_made_and_links_outside_refuse_the_commit() {
    let fixture = Fixture::new().await;
    let repo = fixture.bare("links").await;
    let inside = [
        Entry::File("sale_x/__manifest__.py", "{}"),
        Entry::Link("setup/sale_x/odoo/addons/sale_x", "../../../../sale_x"),
    ];
    let good = fixture.commit_on(&repo, None, &inside, "inside").await;
    let folder = fixture.path().join("good");
    repo.check_out(&good, &folder, None, all()).await.unwrap();
    let through = folder.join("setup/sale_x/odoo/addons/sale_x/__manifest__.py");
    assert_eq!(fs::read_to_string(through).unwrap(), "{}");

    for (n, target) in ["/etc/passwd", "../../outside", "sale_x/../../etc"].iter().enumerate() {
        let bad = fixture.commit_on(&repo, Some(&good), &[Entry::Link("evil", target)], "outside").await;
        let folder = fixture.path().join(format!("bad-{n}"));
        let outcome = repo.check_out(&bad, &folder, None, all()).await;
        let Err(error @ GitError::SymlinkOutside { .. }) = outcome else { panic!("{target}: {outcome:?}") };
        assert_eq!(error.to_string(), "the commit holds a symbolic link that points out of the tree: evil");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing was written");
    }
}

#[tokio::test]
async fn limits_hold() {
    let fixture = Fixture::new().await;
    let repo = fixture.bare("large").await;
    let commit = fixture.commit(&repo, "main", &[("a", "12345"), ("b", "12345")], "ten bytes").await;
    for limits in [CheckoutLimits { files: 1, ..all() }, CheckoutLimits { bytes: 9, ..all() }] {
        let outcome = repo.check_out(&commit, &fixture.path().join("out"), None, limits).await;
        assert!(matches!(outcome, Err(GitError::TooLarge { .. })), "{outcome:?}");
    }
    let unknown = CommitSha::parse(&"c".repeat(40)).unwrap();
    let outcome = repo.check_out(&unknown, &fixture.path().join("out"), None, all()).await;
    assert!(matches!(outcome, Err(GitError::CommitUnknown { .. })), "{outcome:?}");
}

#[tokio::test]
async fn submodules_nest_and_relative_urls_resolve() {
    let fixture = Fixture::with_file().await;
    let (main, outer, inner) =
        (fixture.bare("main").await, fixture.bare("outer").await, fixture.bare("inner").await);
    let inner_commit = fixture.commit(&inner, "main", &[("mod/__manifest__.py", "{}")], "inner").await;
    // Not a head any more: only its hash leads there.
    fixture.commit(&inner, "main", &[("mod/__manifest__.py", "{'x': 1}")], "newer").await;
    let relative = format!("../{}", inner.path().file_name().unwrap().to_str().unwrap());
    let modules = gitmodules(&[("deep/inner", &relative)]);
    let entries = [Entry::File(".gitmodules", &modules), Entry::Submodule("deep/inner", &inner_commit)];
    let outer_commit = fixture.commit_on(&outer, None, &entries, "outer").await;
    let head = crate::branch::BranchName::parse("main").unwrap();
    outer.update_branch(&head, Some(&outer_commit), None, "test").await.unwrap();
    let modules = gitmodules(&[("oca/outer", &file_url(&outer))]);
    let entries = [
        Entry::File(".gitmodules", &modules),
        Entry::Submodule("oca/outer", &outer_commit),
        Entry::Link("mod", "oca/outer/deep/inner/mod"),
    ];
    let commit = fixture.commit_on(&main, None, &entries, "main").await;
    let folder = fixture.path().join("out");
    let done = main.check_out(&commit, &folder, None, all()).await.unwrap();
    let paths: Vec<_> = done.submodules.iter().map(|s| s.path.as_str()).collect();
    assert_eq!(paths, ["oca/outer", "oca/outer/deep/inner"]);
    assert_eq!(fs::read_to_string(folder.join("mod/__manifest__.py")).unwrap(), "{}");

    let shallow = CheckoutLimits { depth: 1, ..all() };
    let outcome = main.check_out(&commit, &fixture.path().join("shallow"), None, shallow).await;
    assert!(matches!(outcome, Err(GitError::SubmoduleRefused { .. })), "{outcome:?}");
}

#[tokio::test]
async fn submodules_that_may_not_be_fetched_say_why() {
    let fixture = Fixture::new().await;
    let repo = fixture.bare("main").await;
    let commit = fixture.commit(&repo, "main", &[("a", "1")], "any").await;
    let marker = fixture.path().join("pwned");
    for (url, part) in [
        (file_url(&repo), "file URLs are not allowed"),
        (format!("ext::touch {}", marker.display()), "a character that no URL has"),
        ("ext::touch".to_owned(), "transport helpers are not allowed"),
        ("https://127.0.0.1:9/x.git".to_owned(), "not a public address"),
        ("../other.git".to_owned(), "it is relative"),
        ("-upload-pack=touch".to_owned(), "starts with a dash"),
    ] {
        let modules = gitmodules(&[("sub", &url)]);
        let entries = [Entry::File(".gitmodules", &modules), Entry::Submodule("sub", &commit)];
        let with = fixture.commit_on(&repo, None, &entries, "with").await;
        let folder = fixture.path().join("out");
        let error = repo.check_out(&with, &folder, None, all()).await.unwrap_err().to_string();
        assert!(error.starts_with("submodule sub") && error.contains(part), "{url}: {error}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
    assert!(!marker.exists());
    let without = fixture.commit_on(&repo, None, &[Entry::Submodule("sub", &commit)], "without").await;
    let outcome = repo.check_out(&without, &fixture.path().join("out"), None, all()).await;
    let Err(GitError::SubmoduleRefused { reason, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(reason, ".gitmodules names no URL for it");
}

#[test]
fn hostile_submodule_paths_are_refused() {
    for bad in ["", "/a", "a//b", "../a", "a/..", ".git", "a/.GIT/hooks", ".git. ", "git~1", "a\\b", "."] {
        assert!(!harmless(bad), "{bad:?}");
    }
    for good in ["a", "oca/web", ".github", "a.git", "a b"] {
        assert!(harmless(good), "{good:?}");
    }
}
