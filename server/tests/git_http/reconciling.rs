use super::platform::Platform;
use odooops::{
    Error,
    branch::{BranchName, CommitSha},
    git::{self, GitUrl},
    id::{BranchId, ProjectId},
    project::Slug,
};

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
