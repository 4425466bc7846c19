//! Shells and files of environments, the whole way: the console's door, the worker's private listener, a container.

use super::{
    Fixture, Who,
    fixture::{OURS, SHA},
    streams::served,
};
use crate::{
    http,
    socket_file::SocketFile,
    work::private::{self, Private},
};
use axum::http::Method;
use futures::{SinkExt, StreamExt};
use odooops::{
    docker::testing::{self, TestDocker},
    environment::shell::{Ended, close},
    odoo::launch,
};
use serde_json::{Value, json};
use std::{fs, net::SocketAddr, os::unix::fs::symlink, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error as WsError, Message, client::IntoClientRequest},
};

const SOON: Duration = Duration::from_secs(30);

/// An environment with a container, its worker's listener, and the console before it.
struct Inside {
    f: Fixture,
    docker: TestDocker,
    private: Private,
    address: SocketAddr,
}

impl Inside {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Private)) -> Self {
        let f = Fixture::new().await;
        let mut docker = testing::start().await;
        docker.environment = f.environment;
        let container = docker.run_script("server", "sleep 100000").await;
        sqlx::query!(
            "update ops.environments set container_id = $2 where id = $1",
            f.environment.0,
            container
        )
        .execute(&mut f.superuser().await)
        .await
        .unwrap();
        let (config, ending) = (f.web.config.clone(), f.web.ending.clone());
        let mut private = Private::new(f.db.worker.clone(), docker.docker.clone(), config, ending);
        change(&mut private);
        let socket = SocketFile::bind(&f.web.config.worker_socket()).unwrap();
        tokio::spawn(socket.listen(private::router(private.clone()), &f.web.ending));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = http::console(&f.web).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { f, docker, private, address }
    }

    /// With these headers; the status when it is refused.
    async fn open(&self, headers: &[(&'static str, String)], asked: &str) -> Result<Session, u16> {
        let url = format!("ws://{}/api/v1/environments/{}/shell?{asked}", self.address, self.f.environment);
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Session(socket, Vec::new())),
            Err(WsError::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    async fn shell(&self, who: Who, script: &str, terminal: bool) -> Result<Session, u16> {
        let token = self.f.tokens.get(&who).map(|token| ("authorization", format!("Bearer {token}")));
        let arguments = json!(["/bin/busybox", "sh", "-c", script]).to_string();
        let mut asked = vec![("arguments", arguments.as_str())];
        if terminal {
            asked.extend([("columns", "132"), ("rows", "43")]);
        }
        let asked = serde_urlencoded::to_string(asked).unwrap();
        // Nobody comes from our own page, so that what refuses them is that they are nobody.
        let headers: Vec<_> = token.into_iter().chain([("origin", OURS.to_owned())]).collect();
        self.open(&headers, &asked).await
    }

    /// What a program prints, and its exit code.
    async fn answer(&self, script: &str) -> (String, Option<i64>) {
        let mut session = self.shell(Who::Owner, script, false).await.unwrap();
        let (printed, ended) = session.rest().await;
        (printed, ended.expect("an exit code").exit_code)
    }

    /// Waits until no process of the container has this in its command line.
    async fn until_gone(&self, what: &str) {
        let looking = async { while self.answer("busybox ps").await.0.contains(what) {} };
        timeout(SOON, looking).await.unwrap_or_else(|_| panic!("{what} still runs"));
    }

    async fn audit(&self, action: &str) -> Vec<Value> {
        let rows = sqlx::query!(
            r#"select user_id, detail as "detail!" from ops.audit_log where action = $1 and object_id = $2 order by id"#,
            action,
            self.f.environment.to_string()
        );
        let rows = rows.fetch_all(&mut self.f.superuser().await).await.unwrap();
        rows.into_iter().map(|row| json!({ "user": row.user_id, "detail": row.detail })).collect()
    }

    async fn clean(self) {
        self.f.web.ending.cancel();
        self.private.tracker.close();
        timeout(SOON, self.private.tracker.wait()).await.unwrap();
        self.docker.clean().await;
    }
}

/// And what was read of it and not asked for yet: programs' words may come in one piece.
struct Session(WebSocketStream<MaybeTlsStream<TcpStream>>, Vec<u8>);

impl Session {
    async fn type_in(&mut self, text: &str) {
        self.0.send(Message::binary(text.as_bytes().to_vec())).await.unwrap();
    }

    async fn tell(&mut self, what: Value) {
        self.0.send(Message::text(what.to_string())).await.unwrap();
    }

    /// Reads until this was printed, and not beyond.
    async fn until(&mut self, what: &str) -> String {
        let Self(socket, unread) = self;
        let reading = async {
            loop {
                let found = unread.windows(what.len()).position(|bytes| bytes == what.as_bytes());
                if let Some(at) = found {
                    let printed: Vec<u8> = unread.drain(..at + what.len()).collect();
                    return String::from_utf8_lossy(&printed).into_owned();
                }
                match socket.next().await {
                    Some(Ok(Message::Binary(bytes))) => unread.extend_from_slice(&bytes),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("{other:?} after {}", String::from_utf8_lossy(unread)),
                }
            }
        };
        timeout(SOON, reading).await.unwrap()
    }

    /// All that is printed until the end. Without a terminal, output only.
    async fn rest(&mut self) -> (String, Option<Ended>) {
        let (mut printed, mut ended) = (Vec::new(), None);
        let reading = async {
            while let Some(Ok(message)) = self.0.next().await {
                match message {
                    Message::Binary(bytes) if bytes.first() == Some(&1) => {
                        printed.extend_from_slice(&bytes[1..])
                    }
                    Message::Text(text) => ended = Some(serde_json::from_str(&text).unwrap()),
                    _ => {}
                }
            }
        };
        timeout(SOON, reading).await.unwrap();
        (String::from_utf8(printed).unwrap(), ended)
    }

    async fn closed(&mut self) -> u16 {
        let reading = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                    Some(Ok(_)) => {}
                    other => panic!("no close frame: {other:?}"),
                }
            }
        };
        timeout(SOON, reading).await.unwrap()
    }
}

#[tokio::test]
async fn threat_02_docker_a_shell_is_for_who_may_connect_and_is_written_down() {
    let inside = Inside::new().await;
    for (who, refused) in [
        (Who::Nobody, Some(401)),
        (Who::Stranger, Some(404)),
        (Who::Viewer, Some(403)),
        (Who::Developer, None),
        (Who::Tester, None),
        (Who::Admin, None),
        (Who::Owner, None),
        (Who::Platform, None),
    ] {
        let mut session = match inside.shell(who, "/bin/busybox id -u; exit 7", false).await {
            Ok(session) => session,
            Err(status) => {
                assert_eq!(Some(status), refused, "{who:?}");
                continue;
            }
        };
        assert_eq!(refused, None, "{who:?}");
        // Not root, whatever the container's own user is.
        let (printed, ended) = session.rest().await;
        assert_eq!(printed, format!("{}\n", launch::owner().0), "{who:?}");
        assert_eq!(ended, Some(Ended { exit_code: Some(7) }), "{who:?}");
    }
    let ends = async { while inside.audit("environment.shell_end").await.len() < 5 {} };
    timeout(SOON, ends).await.unwrap();
    let (begun, ended) =
        (inside.audit("environment.shell").await, inside.audit("environment.shell_end").await);
    assert_eq!((begun.len(), ended.len()), (5, 5), "{begun:?} {ended:?}");
    for begin in &begun {
        assert_eq!(begin["detail"]["program"], "/bin/busybox");
        let of = |end: &&Value| {
            end["detail"]["session"] == begin["detail"]["session"] && end["user"] == begin["user"]
        };
        let end = ended.iter().find(of).expect("its end");
        assert_eq!((&end["detail"]["exit_code"], &end["detail"]["why"]), (&json!(7), &json!("ended")));
    }
    inside.clean().await;
}

#[tokio::test]
async fn threat_04_docker_other_pages_open_no_shell() {
    let inside = Inside::new().await;
    let asked = serde_urlencoded::to_string([("arguments", r#"["/bin/busybox","true"]"#)]).unwrap();
    let cookie = || ("cookie", inside.f.cookie(Who::Owner));
    assert_eq!(inside.open(&[cookie()], &asked).await.err(), Some(403));
    for origin in ["https://evil.example", "null", "http://env.localhost:3000"] {
        let refused = inside.open(&[cookie(), ("origin", origin.to_owned())], &asked).await;
        assert_eq!(refused.err(), Some(403), "{origin}");
    }
    assert!(inside.audit("environment.shell").await.is_empty());
    let mut own = inside.open(&[cookie(), ("origin", OURS.to_owned())], &asked).await.unwrap();
    assert_eq!(own.rest().await.1, Some(Ended { exit_code: Some(0) }));
    // Hostile words go no further than here.
    for bad in ["arguments=ls", "arguments=[]&columns=x", "nonsense=1", "arguments=%5B%22%5Cu0000%22%5D"] {
        assert_eq!(
            inside.open(&[cookie(), ("origin", OURS.to_owned())], bad).await.err(),
            Some(422),
            "{bad}"
        );
    }
    inside.clean().await;
}

#[tokio::test]
async fn docker_a_terminal_is_typed_in_resized_and_not_confused_by_bytes() {
    let inside = Inside::new().await;
    // Asked when it is being typed in: the size is told right after the start.
    let script = "read go; busybox stty size; read name; echo hello $name; busybox stty size; \
                  printf '\\001\\000\\000\\000\\377\\377\\377\\377end'; exit 3";
    let mut session = inside.shell(Who::Developer, script, true).await.unwrap();
    session.type_in("go\n").await;
    session.until("43 132").await;
    session.tell(json!({ "columns": 90, "rows": 20 })).await;
    session.type_in("Ada\n").await;
    session.until("20 90").await;
    session.until("end").await;
    let (_, ended) = session.rest().await;
    assert_eq!(ended, Some(Ended { exit_code: Some(3) }));
    inside.clean().await;
}

#[tokio::test]
async fn docker_without_a_terminal_megabytes_go_in_and_out_unchanged() {
    let inside = Inside::new().await;
    let mut session = inside.shell(Who::Developer, "busybox cat; echo bad >&2", false).await.unwrap();
    let piece: Vec<u8> = (0..=255).cycle().take(32 << 10).collect();
    let (mut sink, mut stream) = (&mut session.0).split();
    let writing = async {
        for _ in 0..128 {
            sink.send(Message::binary(piece.clone())).await.unwrap();
        }
        sink.send(Message::text(json!({ "end_of_input": true }).to_string())).await.unwrap();
        // Goes on reading.
        std::future::pending::<()>().await;
    };
    let reading = async {
        let (mut out, mut bad) = (Vec::new(), Vec::new());
        while let Some(Ok(message)) = stream.next().await {
            match message {
                Message::Binary(bytes) if bytes[0] == 1 => out.extend_from_slice(&bytes[1..]),
                Message::Binary(bytes) => bad.extend_from_slice(&bytes[1..]),
                _ => {}
            }
        }
        (out, bad)
    };
    let (out, bad) = tokio::select! {
        read = timeout(SOON, reading) => read.unwrap(),
        () = writing => unreachable!(),
    };
    assert!(out == piece.repeat(128), "{} bytes", out.len());
    assert_eq!(bad, b"bad\n");
    inside.clean().await;
}

#[tokio::test]
async fn docker_closing_ends_the_program_and_all_that_it_started() {
    let inside = Inside::new().await;
    for terminal in [true, false] {
        // One in the background, one that does not want to hear, one that is stopped.
        let script = "busybox sleep 5001 & (trap '' HUP TERM; busybox sleep 5002) & busybox sleep 5003 & \
                      kill -STOP $!; echo started; busybox sleep 5004";
        let mut session = inside.shell(Who::Developer, script, terminal).await.unwrap();
        session.until("started").await;
        assert!(inside.answer("busybox ps").await.0.contains("sleep 5002"));
        drop(session);
        inside.until_gone("sleep 500").await;
    }
    // What runs in the container besides, goes on.
    assert!(inside.answer("busybox ps").await.0.contains("sleep 100000"));
    let ends = async {
        while inside
            .audit("environment.shell_end")
            .await
            .iter()
            .filter(|end| end["detail"]["why"] == "gone")
            .count()
            < 2
        {}
    };
    timeout(SOON, ends).await.unwrap();
    inside.clean().await;
}

#[tokio::test]
async fn docker_what_a_killed_worker_left_is_ended_by_the_next() {
    let inside = Inside::new().await;
    let mut session = inside.shell(Who::Developer, "echo started; busybox sleep 6001", true).await.unwrap();
    session.until("started").await;
    // The next worker of this machine: it has no shell yet, so there is none.
    assert_eq!(inside.docker.docker.end_abandoned_shells().await.unwrap(), 1);
    session.rest().await;
    inside.until_gone("sleep 6001").await;
    assert!(inside.answer("busybox ps").await.0.contains("sleep 100000"));
    inside.clean().await;
}

#[tokio::test]
async fn threat_02_docker_a_lost_right_ends_the_session() {
    let inside = Inside::new().await;
    let (f, mut conn) = (&inside.f, inside.f.superuser().await);
    let mut member = inside.shell(Who::Developer, "echo started; busybox sleep 7001", true).await.unwrap();
    let mut token = inside.shell(Who::Tester, "echo started; busybox sleep 7002", true).await.unwrap();
    let headers = [("cookie", f.cookie(Who::Admin)), ("origin", OURS.to_owned())];
    let asked = [("arguments", r#"["/bin/busybox","sleep","7003"]"#), ("columns", "80"), ("rows", "24")];
    let mut signed_in = inside.open(&headers, &serde_urlencoded::to_string(asked).unwrap()).await.unwrap();
    let mut other = inside.shell(Who::Owner, "echo started; busybox sleep 7004; true", true).await.unwrap();
    for session in [&mut member, &mut token, &mut other] {
        session.until("started").await;
    }
    let (developer, tester, admin) = (f.users[&Who::Developer], f.users[&Who::Tester], f.users[&Who::Admin]);
    // Not a member any more: also then it is written down.
    sqlx::query!("delete from ops.project_memberships where user_id = $1", developer.0)
        .execute(&mut conn)
        .await
        .unwrap();
    sqlx::query!("update ops.api_tokens set revoked_at = now() where user_id = $1", tester.0)
        .execute(&mut conn)
        .await
        .unwrap();
    sqlx::query!("delete from ops.sessions where user_id = $1", admin.0).execute(&mut conn).await.unwrap();
    assert_eq!(member.closed().await, close::REVOKED.0);
    assert_eq!(token.closed().await, close::SIGNED_OUT.0);
    assert_eq!(signed_in.closed().await, close::SIGNED_OUT.0);
    for gone in ["sleep 7001", "sleep 7002", "sleep 7003"] {
        inside.until_gone(gone).await;
    }
    // Whoever still may, goes on.
    assert!(inside.answer("busybox ps").await.0.contains("sleep 7004"));
    let ends = async { while inside.audit("environment.shell_end").await.len() < 3 {} };
    timeout(SOON, ends).await.unwrap();
    let ended = inside.audit("environment.shell_end").await;
    let why = |user: odooops::id::UserId| {
        let mut of = ended.iter().filter(|end| end["user"] == json!(user));
        of.next().map(|end| end["detail"]["why"].clone())
    };
    assert_eq!(why(developer), Some(json!("revoked")), "{ended:?}");
    assert_eq!(why(admin), Some(json!("signed out")), "{ended:?}");
    drop(other);
    inside.clean().await;
}

#[tokio::test]
async fn threat_17_docker_shells_are_bounded_in_number_and_in_idleness() {
    let inside = Inside::with(|private| private.idle = Duration::from_secs(3)).await;
    // The idle one is ended; the one that talks is not.
    let mut idle = inside.shell(Who::Owner, "busybox sleep 8001", true).await.unwrap();
    let mut busy =
        inside.shell(Who::Owner, "while true; do echo tick; busybox sleep 1; done", true).await.unwrap();
    let busy = tokio::spawn(async move {
        busy.until(&"tick\r\n".repeat(6)).await;
        busy
    });
    assert_eq!(idle.closed().await, close::IDLE.0);
    drop(busy.await.unwrap());
    inside.until_gone("sleep 8001").await;
    let mut open = Vec::new();
    let refused = loop {
        match inside.shell(Who::Owner, "while busybox sleep 1; do echo; done", false).await {
            Ok(session) => open.push(session),
            Err(status) => break status,
        }
    };
    assert_eq!((open.len(), refused), (8, 429));
    drop(open);
    // Given back when they have ended.
    let again = async { while inside.shell(Who::Owner, "true", false).await.is_err() {} };
    timeout(SOON, again).await.unwrap();
    inside.clean().await;
}

#[tokio::test]
async fn docker_an_environment_that_does_not_run_has_no_shell() {
    let inside = Inside::new().await;
    let set = async |state: &str| {
        sqlx::query!("update ops.environments set state = $2 where id = $1", inside.f.environment.0, state)
            .execute(&mut inside.f.superuser().await)
            .await
            .unwrap();
    };
    set("stopped").await;
    assert_eq!(inside.shell(Who::Owner, "true", false).await.err(), Some(409));
    set("running").await;
    // Nor has one whose container is another's.
    let stranger = testing::start().await;
    let container = stranger.run_script("server", "sleep 100000").await;
    sqlx::query!(
        "update ops.environments set container_id = $2 where id = $1",
        inside.f.environment.0,
        container
    )
    .execute(&mut inside.f.superuser().await)
    .await
    .unwrap();
    assert_eq!(inside.shell(Who::Owner, "true", false).await.err(), Some(409));
    stranger.clean().await;
    inside.clean().await;
}

#[tokio::test]
async fn threat_12_docker_files_are_read_by_who_may_connect_and_only_below_their_roots() {
    let inside = Inside::new().await;
    let f = &inside.f;
    let folder = f.web.config.environment_dir(f.environment);
    for made in ["src/sale", "data/filestore/env", "etc"] {
        fs::create_dir_all(folder.join(made)).unwrap();
    }
    fs::write(folder.join("etc/odoo.conf"), "db_password = secret").unwrap();
    fs::write(folder.join("admin.password"), "secret").unwrap();
    fs::write(folder.join("src/sale/__manifest__.py"), format!("# {SHA}")).unwrap();
    symlink("/etc/passwd", folder.join("src/passwd")).unwrap();
    symlink("../etc/odoo.conf", folder.join("src/conf")).unwrap();
    symlink("../../etc", folder.join("data/filestore/etc")).unwrap();
    let path = |path: &str| {
        let query = serde_urlencoded::to_string([("path", path)]).unwrap();
        format!("/api/v1/environments/{}/files?{query}", f.environment)
    };
    let manifest = path("src/sale/__manifest__.py");
    for (who, status) in [
        (Who::Nobody, 401),
        (Who::Stranger, 404),
        (Who::Viewer, 403),
        (Who::Developer, 200),
        (Who::Tester, 200),
        (Who::Admin, 200),
        (Who::Owner, 200),
        (Who::Platform, 200),
    ] {
        let answer = f.ask(who, Method::GET, &manifest, None).await;
        assert_eq!(answer.status.as_u16(), status, "{who:?}: {}", answer.text);
        assert_eq!(answer.text.contains(SHA), status == 200, "{who:?}");
    }
    let answer = f.ask(Who::Owner, Method::GET, &manifest, None).await;
    for (name, value) in [
        ("content-type", "application/octet-stream"),
        ("content-disposition", "attachment"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        ("content-length", "42"),
    ] {
        assert_eq!(answer.headers.get_all(name).iter().collect::<Vec<_>>(), [value], "{name}");
    }
    for (asked, status) in [
        ("/etc/passwd", 422),
        ("src/../etc/odoo.conf", 422),
        ("../secrets", 422),
        ("etc/odoo.conf", 422),
        ("admin.password", 422),
        ("src/a\0b", 422),
        ("src/passwd", 403),
        ("src/conf", 403),
        ("filestore/etc", 403),
        ("filestore/etc/odoo.conf", 403),
        ("src/none", 404),
    ] {
        let answer = f.ask(Who::Owner, Method::GET, &path(asked), None).await;
        assert_eq!(answer.status.as_u16(), status, "{asked}: {}", answer.text);
        assert!(
            !answer.text.contains("secret") && !answer.text.contains("root:"),
            "{asked}: {}",
            answer.text
        );
    }
    let list = f.ask(Who::Owner, Method::GET, &path("src"), None).await.json();
    let names: Vec<_> =
        list["entries"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["conf", "passwd", "sale"]);
    let read = inside.audit("environment.files").await;
    assert!(read.iter().any(|it| it["detail"]["path"] == "src/sale/__manifest__.py"), "{read:?}");

    // The command line's way: whole, or not at all.
    served(f).await;
    let target = folder.join("got");
    let line = |rest: &str| format!("ops env files {} {rest}", f.environment);
    for (rest, good) in [
        ("".to_owned(), true),
        ("src".to_owned(), true),
        ("src --json".to_owned(), true),
        (format!("src/sale/__manifest__.py --output {}", target.display()), true),
        (format!("src/conf --output {}", target.display()), false),
        ("src/sale/__manifest__.py".to_owned(), false),
        (format!("src --output {}", target.display()), false),
    ] {
        let done = super::command_line::run(&f.web.config, line(&rest).trim()).await;
        assert_eq!(done.is_ok(), good, "{rest}: {done:?}");
    }
    assert_eq!(fs::read_to_string(&target).unwrap(), format!("# {SHA}"));

    // The tests' own input is no terminal: the command's end is what is told.
    for (command, number) in [("true", 0), ("false", 1)] {
        let line = format!("ops env shell {} -- /bin/busybox {command}", f.environment);
        let ended = super::command_line::run(&f.web.config, &line).await.unwrap();
        assert_eq!(format!("{ended:?}"), format!("{:?}", std::process::ExitCode::from(number)), "{command}");
    }
    inside.clean().await;
}
