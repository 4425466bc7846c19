use super::platform::Platform;
use odooops::{
    Error,
    branch::{BranchName, CommitSha},
    git::{self, GitUrl},
    id::{BranchId, ProjectId},
    project::{self, Slug, service::NewProject},
};
use std::path::Path;

async fn branch(platform: &Platform, name: &str) -> BranchId {
    sqlx::query_scalar!(
        "select id from ops.branches where project_id = $1 and name = $2 and deleted_at is null",
        platform.project.0,
        name
    )
    .fetch_one(&platform.owner)
    .await
    .unwrap()
    .into()
}

/// Git has a head that nobody recorded, and lost one that the board still shows.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_hook_lost_is_found_once() {
    let platform = Platform::start().await;
    let (_, token) = platform.person("dev", Some("developer")).await;
    let work = platform.work("work", &token);
    let first = work.commit("a", "1");
    let second = work.commit("a", "2");
    work.ok(&["push", "--quiet", "origin", "main", "main:gone"]);
    let repository = platform.repositories.of(platform.project);
    let sha = |text: &str| CommitSha::parse(text).unwrap();
    let name = |text: &str| BranchName::parse(text).unwrap();
    repository.update_branch(&name("gone"), None, Some(&sha(&second)), "test").await.unwrap();
    repository.update_branch(&name("new"), Some(&sha(&first)), None, "test").await.unwrap();
    let admin = platform.administrator().await;
    let runs = git::reconcile(&platform.pool, &platform.repositories, &admin).await.unwrap();
    assert_eq!(runs.len(), 1);
    let board = platform.board().await;
    assert_eq!(board, [("main".to_owned(), second, 1), ("new".to_owned(), first, 1)]);
    let again = git::reconcile(&platform.pool, &platform.repositories, &admin).await.unwrap();
    assert!(again.is_empty());
    assert_eq!(platform.board().await, board);
}

/// Hook and reconciler at the same moment: one build for one commit.
#[tokio::test(flavor = "multi_thread")]
async fn hook_and_reconciler_never_build_twice() {
    let platform = Platform::start().await;
    let (_, token) = platform.person("dev", Some("developer")).await;
    let work = platform.work("work", &token);
    let admin = platform.administrator().await;
    let (pool, repositories) = (platform.pool.clone(), platform.repositories.clone());
    let reconciler = tokio::spawn(async move {
        loop {
            git::reconcile(&pool, &repositories, &admin).await.unwrap();
        }
    });
    for n in 1..=8 {
        work.commit("a", n.to_string());
        work.ok(&["push", "--quiet", "origin", "main"]);
        let board = platform.board().await;
        assert_eq!(board[0].2, n, "{board:?}");
    }
    reconciler.abort();
    // Ended before its database is.
    assert!(reconciler.await.unwrap_err().is_cancelled());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_follows_its_remote() {
    let platform = Platform::with(true).await;
    let (_, token) = platform.person("dev", Some("developer")).await;
    // The remote is the repository of the first project, by path.
    let work = platform.work("work", &token);
    let first = work.commit("a", "1");
    work.ok(&["push", "--quiet", "origin", "main"]);
    let url = format!("file://{}", platform.repositories.of(platform.project).path().display());
    let (follower, slug) = (ProjectId::new(), Slug::parse("follower").unwrap());
    let mut owner = platform.owner.acquire().await.unwrap();
    odooops::project::query::insert(&mut owner, follower, &slug, "Follower", Some(&url)).await.unwrap();
    let admin = platform.administrator().await;
    let remote = GitUrl::parse(&url, true).unwrap();
    let look =
        || git::reconcile_project(&platform.pool, &platform.repositories, &admin, follower, Some(&remote));
    assert_eq!(look().await.unwrap().len(), 1);
    assert_eq!(look().await.unwrap().len(), 0);
    let second = work.commit("a", "2");
    work.ok(&["push", "--quiet", "origin", "main"]);
    let runs = git::reconcile(&platform.pool, &platform.repositories, &admin).await.unwrap();
    assert_eq!(runs.len(), 1);
    let heads = platform.repositories.of(follower).heads().await.unwrap();
    assert_eq!(heads[0].1.sha.as_str(), second);
    assert_ne!(first, second);
    // Pushing to the copy would be undone by the next fetch.
    sqlx::query!(
        "insert into ops.project_memberships (project_id, user_id, role)
         select $1, id, 'developer' from ops.users where name = 'dev'",
        follower.0
    )
    .execute(&platform.owner)
    .await
    .unwrap();
    let to = platform.url(&token).replace("demo.git", "follower.git");
    let said = work.fails(&["push", &to, "main:other"]);
    assert!(said.contains("This project follows file://"), "{said}");
}

/// The disk with the repositories is not there: nobody deleted anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_gone_takes_no_branch_along() {
    let platform = Platform::start().await;
    let (_, token) = platform.person("dev", Some("developer")).await;
    let work = platform.work("work", &token);
    work.commit("a", "1");
    work.ok(&["push", "--quiet", "origin", "main"]);
    let board = platform.board().await;
    let path = platform.repositories.of(platform.project).path().to_owned();
    let aside = path.with_extension("aside");
    std::fs::rename(&path, &aside).unwrap();
    let admin = platform.administrator().await;
    let look =
        || git::reconcile_project(&platform.pool, &platform.repositories, &admin, platform.project, None);
    for _ in 0..2 {
        assert!(matches!(look().await, Err(Error::Unavailable { .. })));
        // Nor does a push make an empty one.
        let said = work.fails(&["push", "origin", "main:other"]);
        assert!(said.contains("503"), "{said}");
        assert!(!path.exists());
        assert_eq!(platform.board().await, board);
    }
    // One that is there and empty is no better.
    platform.repositories.create(platform.project).await.unwrap();
    assert!(matches!(look().await, Err(Error::Unavailable { .. })));
    assert_eq!(platform.board().await, board);
    std::fs::remove_dir_all(&path).unwrap();
    std::fs::rename(&aside, &path).unwrap();
    assert!(look().await.unwrap().is_empty());
    assert_eq!(platform.board().await, board);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_from_a_remote_is_built_at_once_or_not_made() {
    let platform = Platform::with(true).await;
    let (_, token) = platform.person("dev", Some("developer")).await;
    let work = platform.work("work", &token);
    work.commit("a", "1");
    work.ok(&["push", "--quiet", "origin", "main"]);
    let admin = platform.administrator().await;
    let create = |slug: &str, path: &Path| {
        let new = NewProject {
            slug: Slug::parse(slug).unwrap(),
            name: "Follower".to_owned(),
            remote_url: Some(format!("file://{}", path.display())),
        };
        let (pool, repositories) = (platform.pool.clone(), platform.repositories.clone());
        async move { project::service::create(&pool, &repositories, &admin, &new).await }
    };
    let wrong = create("wrong", &platform.folder.path().join("nothing.git")).await;
    assert!(matches!(&wrong, Err(Error::Invalid { field, .. }) if field == "remote_url"), "{wrong:?}");
    let made = create("follower", platform.repositories.of(platform.project).path()).await.unwrap();
    assert_eq!((made.branches, made.active_runs), (1, 1));
    let row = sqlx::query!(
        "select slug, fetch_error, fetched_at is not null as \"fetched!\" from ops.projects where remote_url is not null"
    );
    let rows = row.fetch_all(&platform.owner).await.unwrap();
    assert_eq!(rows.len(), 1, "the wrong one left no project");
    assert!(rows[0].fetched && rows[0].fetch_error.is_none());
    // The remote goes away: people see why nothing new comes.
    sqlx::query!("update ops.projects set remote_url = remote_url || '-gone' where slug = 'follower'")
        .execute(&platform.owner)
        .await
        .unwrap();
    git::reconcile(&platform.pool, &platform.repositories, &admin).await.unwrap();
    let error = sqlx::query_scalar!("select fetch_error from ops.projects where slug = 'follower'");
    assert!(error.fetch_one(&platform.owner).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_moves_git_and_board_together() {
    let platform = Platform::start().await;
    let (tester, token) = platform.person("tester", Some("tester")).await;
    let work = platform.work("work", &token);
    work.commit("shared", "1");
    work.ok(&["push", "--quiet", "origin", "main", "main:feature"]);
    work.ok(&["checkout", "--quiet", "-b", "feature"]);
    let feature = work.commit("new", "1");
    work.ok(&["push", "--quiet", "origin", "feature"]);
    let (main, feature_id) = (branch(&platform, "main").await, branch(&platform, "feature").await);
    let merge = |from, into| git::merge_branches(&platform.pool, &platform.repositories, &tester, from, into);

    let preview =
        git::preview_merge(&platform.pool, &platform.repositories, &tester, feature_id, main).await.unwrap();
    assert!(preview.fast_forward && preview.commits_total == 1);
    let done = merge(feature_id, main).await.unwrap();
    assert_eq!(done.head.unwrap().sha.as_str(), feature);
    assert!(done.run.is_some());
    assert!(merge(feature_id, main).await.unwrap().head.is_none());

    // Both sides change the same line.
    let theirs = work.commit("shared", "2");
    work.ok(&["push", "--quiet", "origin", "feature"]);
    work.ok(&["checkout", "--quiet", "-B", "main", "HEAD~1"]);
    work.commit("shared", "3");
    work.ok(&["push", "--quiet", "origin", "main"]);
    let before = platform.board().await;
    match merge(feature_id, main).await {
        Err(Error::Conflict { detail }) => {
            assert_eq!(
                (detail.code.as_ref(), detail.params["files"].as_str()),
                ("branch.merge_conflict", "shared")
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(platform.board().await, before);
    assert!(before.iter().any(|(_, sha, _)| *sha == theirs));
    let (developer, _) = platform.person("viewer", Some("viewer")).await;
    let refused =
        git::merge_branches(&platform.pool, &platform.repositories, &developer, feature_id, main).await;
    assert!(matches!(refused, Err(Error::Forbidden { .. })), "{refused:?}");
}
