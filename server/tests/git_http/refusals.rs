use super::{cluster::Cluster, platform::Platform};
use std::{
    fs,
    io::Write,
    os::unix::{fs::symlink, process::CommandExt},
    process::{Command, Stdio},
    time::Duration,
};
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread")]
async fn who_may_what() {
    let platform = Platform::start().await;
    let (_, developer) = platform.person("dev", Some("developer")).await;
    let (_, viewer) = platform.person("viewer", Some("viewer")).await;
    let (_, stranger) = platform.person("stranger", None).await;
    let work = platform.work("work", &developer);
    work.commit("a", "1");
    work.ok(&["push", "--quiet", "origin", "main"]);

    let client = reqwest::Client::new();
    let get = |token: Option<&str>, service: &str, slug: &str| {
        let url = format!("http://{}/git/{slug}.git/info/refs?service={service}", platform.address);
        let request = client.get(url);
        match token {
            Some(token) => request.basic_auth("any", Some(token)),
            None => request,
        }
        .send()
    };
    let (up, rp) = ("git-upload-pack", "git-receive-pack");
    for (token, service, slug, status) in [
        (None, up, "demo", 401),
        (None, rp, "demo", 401),
        (None, up, "unknown", 401),
        (Some("ops_wrong"), up, "demo", 401),
        (Some(&*developer), up, "demo", 200),
        (Some(&*developer), rp, "demo", 200),
        (Some(&*developer), up, "unknown", 404),
        (Some(&*developer), up, "..", 404),
        (Some(&*developer), "git-upload-archive", "demo", 403),
        (Some(&*developer), "", "demo", 403),
        (Some(&*viewer), up, "demo", 403),
        (Some(&*viewer), rp, "demo", 403),
        (Some(&*stranger), up, "demo", 404),
        (Some(&*stranger), rp, "demo", 404),
    ] {
        let response = get(token, service, slug).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{token:?} {service} {slug}");
        if status == 401 {
            let challenge = response.headers()["www-authenticate"].to_str().unwrap().to_owned();
            assert!(challenge.starts_with("Basic "), "{challenge}");
        }
    }
    // Files of the repository are not served.
    for path in ["HEAD", "objects/info/packs", "config", "hooks/pre-receive"] {
        let url = format!("http://{}/git/demo.git/{path}", platform.address);
        let response = client.get(url).basic_auth("x", Some(&developer)).send().await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
    }
    // What git itself prints.
    let other = platform.work("viewer", &viewer);
    other.commit("b", "1");
    let said = other.fails(&["push", "origin", "main:other"]);
    assert!(said.contains("Your role in this project does not allow that."), "{said}");
    let said = platform.work("wrong", "ops_wrong").fails(&["fetch", "origin"]);
    assert!(said.contains("401") || said.contains("Authentication failed"), "{said}");
    // The second request is judged as the first was.
    let url = format!("http://{}/git/demo.git/git-receive-pack", platform.address);
    let direct = client.post(url).basic_auth("x", Some(&viewer)).body("0000").send().await.unwrap();
    assert_eq!(direct.status(), 403);
}

/// Names that git's own client would not send.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_branch_names_are_refused_by_name() {
    let platform = Platform::start().await;
    let (_, token) = platform.person("dev", Some("developer")).await;
    let work = platform.work("work", &token);
    let commit = work.commit("a", "1");
    let pack = Command::new("git")
        .current_dir(&work.path)
        .args(["pack-objects", "--revs", "--stdout", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            child.stdin.take().unwrap().write_all(format!("{commit}\n").as_bytes())?;
            child.wait_with_output()
        });
    let pack = pack.unwrap().stdout;
    let long = "a".repeat(300);
    for name in
        ["x; touch pwned $(id)", "../../etc", &long, "-x", "$(touch pwned)", "a\u{1b}[31m", "`touch pwned`"]
    {
        let full = format!("refs/heads/{name}");
        let line = format!("{} {commit} {full}\0report-status side-band-64k", "0".repeat(40));
        let mut body = format!("{:04x}{line}0000", line.len() + 4).into_bytes();
        body.extend_from_slice(&pack);
        let url = format!("http://{}/git/demo.git/git-receive-pack", platform.address);
        let response = reqwest::Client::new()
            .post(url)
            .basic_auth("x", Some(&token))
            .header("content-type", "application/x-git-receive-pack-request")
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200, "{name}");
        let answer = String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned();
        assert!(
            answer.contains("is refused: ") && answer.contains("pre-receive hook declined"),
            "{name}: {answer:?}"
        );
        // What people read; git's own report behind it repeats the name as it came.
        let said = answer.split("Nothing was stored.").next().unwrap();
        assert!(!said.contains('\u{1b}'), "{said:?}");
    }
    assert!(platform.heads().await.is_empty() && platform.board().await.is_empty());
    let said = work.fails(&["push", "origin", &format!("main:refs/heads/{long}")]);
    assert!(said.contains("the name of a branch has 1 to 200 bytes."), "{said}");
    let said = work.fails(&["push", "origin", "main:refs/notes/x"]);
    assert!(said.contains("only branches and tags can be pushed."), "{said}");
    let said = work.fails(&["push", "origin", "HEAD^{tree}:refs/heads/tree"]);
    assert!(said.contains("a branch must be a commit") || said.contains("rejected"), "{said}");
    let everywhere = walk(platform.folder.path());
    assert!(!everywhere.iter().any(|path| path.contains("pwned")), "{everywhere:?}");
}

fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        found.push(entry.path().display().to_string());
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&entry.path()));
        }
    }
    found
}

/// Objects that git's own check finds harmful never get in.
#[tokio::test(flavor = "multi_thread")]
async fn harmful_trees_are_refused() {
    let platform = Platform::start().await;
    let (_, token) = platform.person("dev", Some("developer")).await;
    let work = platform.work("work", &token);
    work.commit("a", "1");
    let blob = work.ok(&["hash-object", "-w", "a"]).trim().to_owned();
    let listing = work.path.join("listing");
    fs::write(&listing, format!("100644 blob {blob}\t.git\n")).unwrap();
    let tree = Command::new("git")
        .current_dir(&work.path)
        .args(["mktree"])
        .stdin(fs::File::open(&listing).unwrap())
        .output()
        .unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    let commit = work.ok(&["commit-tree", "-m", "evil", tree.trim()]);
    let said = work.fails(&["push", "origin", &format!("{}:refs/heads/evil", commit.trim())]);
    assert!(said.contains("hasDotgit"), "{said}");
    assert!(platform.heads().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_nothing_is_stored() {
    let mut cluster = Cluster::start().await;
    let platform = Platform::on(cluster.pool("ops_web"), cluster.pool("odooops"), false).await;
    let (actor, token) = platform.person("dev", Some("developer")).await;
    let work = platform.work("work", &token);
    let commit = work.commit("a", "1");
    work.ok(&["push", "--quiet", "origin", "main"]);
    cluster.stop();
    work.commit("a", "2");
    let said = work.fails(&["push", "origin", "main"]);
    assert!(said.contains("remote: OdooOps' database does not answer."), "{said}");

    // A push that had begun: the hook asks, and refuses.
    let repository = platform.repositories.of(platform.project);
    let hook = |name: &str, socket: &std::path::Path| {
        let mut child = Command::new(repository.path().join("hooks").join(name))
            .arg0(format!("hooks/{name}"))
            .current_dir(repository.path())
            .env("OPS_HOOK_SOCKET", socket)
            .env("OPS_PROJECT_ID", platform.project.to_string())
            .env("OPS_USER_ID", actor.user_id.to_string())
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let line = format!("{} {commit} refs/heads/new\n", "0".repeat(40));
        child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = hook("pre-receive", &platform.socket);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("OdooOps' database does not answer.\nNothing was stored."), "{said}");
    let (code, said) = hook("pre-receive", &platform.folder.path().join("gone.sock"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("OdooOps does not answer"), "{said}");
    let (code, said) = hook("post-receive", &platform.socket);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("The push is stored"), "{said}");

    cluster.resume();
    assert_eq!(platform.heads().await[0].1, commit, "the repository is as it was");
    work.ok(&["push", "--quiet", "origin", "main"]);
}

/// Whoever pushes by the path of the repository goes past everything: the hook refuses that too.
#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_other_door() {
    let platform = Platform::start().await;
    let (_, token) = platform.person("dev", Some("developer")).await;
    let work = platform.work("work", &token);
    work.commit("a", "1");
    let repository = platform.repositories.create(platform.project).await.unwrap();
    let said = work.fails(&["push", repository.path().to_str().unwrap(), "main"]);
    assert!(said.contains("this repository has no other door"), "{said}");
    // A link of another name is the ordinary program.
    let link = platform.folder.path().join("ops-link");
    symlink(env!("CARGO_BIN_EXE_ops"), &link).unwrap();
    assert!(Command::new(&link).arg("--version").output().unwrap().status.success());
}

/// A client that goes away takes its git along.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_client_leaves_no_process() {
    let platform = Platform::start().await;
    let (_, token) = platform.person("dev", Some("developer")).await;
    let mut stream = tokio::net::TcpStream::connect(platform.address).await.unwrap();
    let request = format!(
        "POST /git/demo.git/git-receive-pack HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-type: application/x-git-receive-pack-request\r\ncontent-length: 100000\r\n\r\n00"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let socket = platform.socket.display().to_string();
    until("the backend runs", || running(&socket) > 0).await;
    drop(stream);
    until("the backend is gone", || running(&socket) == 0).await;
}

/// Processes that have the text in their environment.
fn running(text: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let has = |environment: Vec<u8>| String::from_utf8_lossy(&environment).contains(text);
    processes.filter(|entry| fs::read(entry.path().join("environ")).is_ok_and(has)).count()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 10 s: {what}");
}
