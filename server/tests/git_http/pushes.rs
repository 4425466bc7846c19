use super::platform::{Platform, git};
use rand::RngCore;
use std::fs;

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_recorded_and_can_be_cloned() {
    let platform = Platform::start().await;
    let (_, token) = platform.person("dev", Some("developer")).await;
    let work = platform.work("work", &token);
    // Does not compress: the pack is sent in chunks, without a length.
    let mut noise = vec![0; 2 << 20];
    rand::rng().fill_bytes(&mut noise);
    let first = work.commit("noise.bin", &noise);
    let said = work.ok(&["push", "origin", "main"]);
    assert!(
        said.contains(&format!(
            "main {} is being built: http://localhost:3000/projects/demo/builds/",
            &first[..8]
        )),
        "{said}"
    );
    assert_eq!(platform.board().await, [("main".to_owned(), first.clone(), 1)]);

    let second = work.commit("small.txt", "x");
    work.ok(&["push", "origin", "main", "main:refs/heads/feature/x", "HEAD:refs/tags/v1"]);
    let board = platform.board().await;
    let shown: Vec<_> = board.iter().map(|(name, sha, _)| (name.as_str(), sha.as_str())).collect();
    assert_eq!(shown, [("feature/x", second.as_str()), ("main", second.as_str())]);

    let cloned = git(platform.folder.path(), &["clone", "--quiet", &platform.url(&token), "cloned"]);
    assert!(cloned.status.success(), "{cloned:?}");
    assert_eq!(fs::read(platform.folder.path().join("cloned/noise.bin")).unwrap(), noise);

    work.ok(&["push", "origin", ":feature/x"]);
    assert_eq!(platform.board().await.len(), 1);
    // The hooks, which are other processes, know from where it was pushed.
    let audited = sqlx::query_scalar!(
        r#"select distinct action || ' ' || coalesce(address, '?') as "row!" from ops.audit_log order by 1"#
    );
    let audited = audited.fetch_all(&platform.owner).await.unwrap();
    assert_eq!(audited, ["branch.delete 127.0.0.1", "branch.push 127.0.0.1"]);
}

/// A clone checks out a branch that exists, whatever the first one was called.
#[tokio::test(flavor = "multi_thread")]
async fn the_default_branch_exists() {
    let platform = Platform::start().await;
    let (_, token) = platform.person("dev", Some("developer")).await;
    let work = platform.work("work", &token);
    work.commit("a", "1");
    work.ok(&["push", "--quiet", "origin", "main:refs/heads/19.0"]);
    let cloned = git(platform.folder.path(), &["clone", "--quiet", &platform.url(&token), "cloned"]);
    assert!(cloned.status.success() && cloned.stderr.is_empty(), "{cloned:?}");
    assert!(platform.folder.path().join("cloned/a").exists());
}

/// With many wants the client compresses its request.
#[tokio::test(flavor = "multi_thread")]
async fn many_branches_are_cloned_by_a_compressed_request() {
    let platform = Platform::start().await;
    let (_, token) = platform.person("dev", Some("developer")).await;
    let work = platform.work("work", &token);
    let mut refspecs = Vec::new();
    for n in 0..60 {
        let commit = work.commit("file", n.to_string());
        refspecs.push(format!("{commit}:refs/heads/branch-{n}"));
    }
    let mut args = vec!["push", "--quiet", "origin"];
    args.extend(refspecs.iter().map(String::as_str));
    work.ok(&args);
    assert_eq!(platform.board().await.len(), 60);
    for version in ["0", "2"] {
        let to = format!("cloned-{version}");
        let config = format!("protocol.version={version}");
        let cloned =
            git(platform.folder.path(), &["-c", &config, "clone", "--quiet", &platform.url(&token), &to]);
        assert!(cloned.status.success(), "{cloned:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn production_only_grows_and_development_may_be_rewritten() {
    let platform = Platform::start().await;
    let (_, token) = platform.person("admin", Some("admin")).await;
    let work = platform.work("work", &token);
    work.commit("a", "1");
    work.ok(&["push", "--quiet", "origin", "main", "main:dev"]);
    platform.stage("main", "production").await;
    work.ok(&["commit", "--quiet", "--amend", "-m", "rewritten"]);
    let said = work.fails(&["push", "--force", "origin", "main"]);
    assert!(said.contains("refs/heads/main is refused: the production branch cannot be rewritten"), "{said}");
    let said = work.fails(&["push", "origin", ":main"]);
    assert!(said.contains("the production branch cannot be deleted"), "{said}");
    work.ok(&["push", "--force", "--quiet", "origin", "main:dev"]);
    let later = work.commit("a", "2");
    let before = platform.board().await;
    work.fails(&["push", "--force", "origin", "main", "main:dev"]);
    assert_eq!(platform.board().await, before, "a push is refused as a whole");
    assert!(before.iter().all(|(_, sha, _)| *sha != later));
}
