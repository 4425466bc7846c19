//! Two machines of one installation, each an `ops up` with a data directory of its own: joining, a build on the joined
//! one that is reached through the front proxy, and being cut off. Only the joined one has a Docker.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on must stop")]

use nix::{
    pty::{Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{LocalFlags, tcgetattr},
    },
    unistd::Pid,
};
use odooops::{
    docker::{Docker, DockerConfig, SubnetPool},
    odoo::launch,
    postgres::{Cluster, Kind},
    reconcile::epoch::OnDisk,
};
use sqlx::{ConnectOptions, PgConnection};
use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

/// A build that makes its template first takes minutes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(100);

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// One machine: a data directory and what runs in it.
struct Machine {
    up: Option<Child>,
    data: PathBuf,
    flags: Vec<String>,
    _folder: TempDir,
}

impl Machine {
    fn new(flags: &[String]) -> Self {
        let folder = tempfile::Builder::new().prefix("odooops-hosts-").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
        Self { up: None, data: folder.path().join("d"), flags: flags.to_vec(), _folder: folder }
    }

    fn ops(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ops"));
        // First: behind `--` they would be somebody else's.
        command.arg("--data-dir").arg(&self.data).args(&self.flags).args(arguments);
        command.env_remove("OPS_URL").stdin(Stdio::null());
        command
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        timeout(PATIENCE, self.ops(arguments).output()).await.unwrap().unwrap()
    }

    /// Starts `ops up` and waits until it says this.
    async fn start(&mut self, ready: &str) {
        let mut up = self.ops(&["up"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, mut lines) = tokio::sync::mpsc::channel(64);
        let (stdout, stderr) = (up.stdout.take().unwrap(), up.stderr.take().unwrap());
        for pipe in [Box::new(stdout) as Box<dyn tokio::io::AsyncRead + Send + Unpin>, Box::new(stderr)] {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut lines = BufReader::new(pipe).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    println!("{line}");
                    _ = sender.try_send(line);
                }
            });
        }
        drop(sender);
        let said = async {
            while let Some(line) = lines.recv().await {
                if line.contains(ready) {
                    return true;
                }
            }
            false
        };
        assert!(timeout(PATIENCE, said).await.unwrap(), "it ended before it said {ready:?}");
        self.up = Some(up);
    }

    async fn stop(&mut self) {
        let Some(mut up) = self.up.take() else { return };
        let pid = Pid::from_raw(i32::try_from(up.id().unwrap()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        let status = timeout(PATIENCE, up.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let Some(up) = &mut self.up else { return };
        if let Some(pid) = up.id().and_then(|id| i32::try_from(id).ok()) {
            _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while matches!(up.try_wait(), Ok(None)) && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
    }
}

/// From the console's machine, through the joined machine's proxy and worker, into Odoo's container.
async fn a_program_inside_is_as_if_it_ran_here(control: &Machine, environment: &str) {
    let script = "import os, sys; print(sys.stdin.read().upper(), os.getuid()); print('bad', file=sys.stderr); sys.exit(5)";
    let mut command = control.ops(&["env", "shell", environment, "--", "python3", "-c", script]);
    let mut program =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    program.stdin.take().unwrap().write_all(b"typed\n").await.unwrap();
    let done = timeout(PATIENCE, program.wait_with_output()).await.unwrap().unwrap();
    let (out, bad) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!((&*out, done.status.code()), (&*format!("TYPED\n {}\n", launch::owner().0), Some(5)), "{bad}");
    assert_eq!(bad, "bad\n");
    let none = uuid::Uuid::now_v7().to_string();
    assert_eq!(control.ops(&["env", "shell", &none]).output().await.unwrap().status.code(), Some(1));
}

async fn a_terminal_is_raw_meanwhile_and_given_back(control: &Machine, environment: &str) {
    let size = Winsize { ws_row: 43, ws_col: 132, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None).unwrap();
    let is_raw = || !tcgetattr(&pty.slave).unwrap().local_flags.contains(LocalFlags::ICANON);
    let reader = std::fs::File::from(pty.master.try_clone().unwrap());
    let (sender, mut printed) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let (mut reader, mut piece) = (reader, [0; 4096]);
        while let Ok(length @ 1..) = std::io::Read::read(&mut reader, &mut piece) {
            _ = sender.send(piece[..length].to_vec());
        }
    });
    let mut writer = std::fs::File::from(pty.master.try_clone().unwrap());
    let mut text = String::new();
    // What comes behind it, in the same piece even, is for the next question.
    let mut until = async |what: &str| {
        while !text.contains(what) {
            let piece = timeout(PATIENCE, printed.recv()).await.unwrap().unwrap();
            text.push_str(&String::from_utf8_lossy(&piece));
        }
        text = text.split_off(text.find(what).unwrap() + what.len());
    };
    for (ending, code) in [("exit 6\n", Some(6)), ("", None)] {
        assert!(!is_raw());
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut command = control.ops(&["env", "shell", environment]);
        let mut shell = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        // Its prompt.
        until("$ ").await;
        // What is typed is echoed with quotes; what is printed has none.
        // The terminal has its size a moment after its shell.
        writer.write_all(b"until stty size | grep '43 132'; do sleep 0.1; done; echo \"rea\"dy\n").unwrap();
        until("43 132\r\n").await;
        until("ready").await;
        assert!(is_raw());
        writer.write_all(ending.as_bytes()).unwrap();
        if code.is_none() {
            let pid = Pid::from_raw(i32::try_from(shell.id().unwrap()).unwrap());
            kill(pid, Signal::SIGTERM).unwrap();
        }
        let status = timeout(PATIENCE, shell.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), code.or(Some(128 + Signal::SIGTERM as i32)));
        assert!(!is_raw(), "given back");
    }
}

async fn files_inside_are_got(control: &Machine, joined: &Machine, environment: &str) {
    let listed = control.run(&["env", "files", environment, "src"]).await;
    assert!(listed.status.success(), "{listed:?}");
    let folder = joined.data.join(format!("environments/{environment}/src"));
    let first = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().file_name().into_string().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains(&first), "{listed:?}");
    // Something big enough to come in pieces, made where the worker keeps it.
    let content: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
    let made = joined.data.join(format!("environments/{environment}/data/filestore/big"));
    fs::write(made, &content).unwrap();
    let target = control.data.join("got");
    let got = control
        .run(&["env", "files", environment, "filestore/big", "--output", &target.display().to_string()])
        .await;
    assert!(got.status.success(), "{got:?}");
    assert!(fs::read(&target).unwrap() == content);
    let refused = control.run(&["env", "files", environment, "src/../etc/odoo.conf"]).await;
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
}

async fn superuser(data: &Path) -> PgConnection {
    let cluster =
        Cluster::new(Kind::Control, data.join("control"), &data.join("secrets"), None).await.unwrap();
    cluster.superuser_options().database("ops").connect().await.unwrap()
}

/// The first line of the answer, and all of it.
async fn get(address: SocketAddr, host: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer)
}

async fn clean(data: &Path) {
    let known = OnDisk::read(&data.join("installation")).unwrap().unwrap();
    let config = DockerConfig {
        socket: "/var/run/docker.sock".into(),
        installation: known.installation,
        mount_roots: Vec::new(),
        subnets: SubnetPool::default(),
    };
    let docker = Docker::connect(config).await.unwrap();
    for container in docker.containers().await.unwrap() {
        docker.remove_container(&container.id).await.unwrap();
    }
    for network in docker.networks().await.unwrap() {
        docker.remove_network(&network.name).await.unwrap();
    }
}

#[tokio::test]
async fn odoo_a_joined_machine_builds_serves_and_is_cut_off() {
    let (listen, node) = (free(), free());
    let base = format!("localhost:{}", listen.port());
    let flag = |name: &str, value: &str| format!("--{name}={value}");
    let mut control = Machine::new(&[
        flag("listen", &listen.to_string()),
        flag("base-domain", &base),
        flag("node-listen", &node.to_string()),
        // No Docker and so no worker here: the build is to be the joined one's.
        flag("docker-host", "unix:///nowhere/docker.sock"),
    ]);
    control.start("Sign in once").await;

    let made = control.run(&["worker", "token", "--name", "node-2", "--labels", "fast"]).await;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let printed = String::from_utf8(made.stdout).unwrap();
    let line = printed
        .lines()
        .find_map(|line| line.trim().strip_prefix("ops worker join "))
        .expect("the line to run");
    let mut join = vec!["worker", "join"];
    join.extend(line.split_whitespace());

    let mut joined = Machine::new(&[
        flag("node-listen", &free().to_string()),
        flag("base-domain", &base),
        flag("drain-seconds", "1"),
        // Requirements are not what this is about.
        flag("worker-concurrency", "1"),
    ]);
    let done = joined.run(&join).await;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    for (name, mode) in [("host.key", 0o600), ("host.json", 0o600), ("ca.crt", 0o600)] {
        let file = joined.data.join("node").join(name);
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, mode, "{name}");
    }
    let again = Machine::new(&[]);
    let refused = again.run(&join).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("used already"), "{said}");
    assert!(!again.data.join("node/host.json").exists());

    joined.start("this machine is the host node-2").await;
    let mut conn = superuser(&control.data).await;
    let began = Instant::now();
    let (hostname, host) = loop {
        let row = sqlx::query!(
            r#"select e.hostname, h.name as "host!", e.state from ops.environments e
               join ops.hosts h on h.id = e.host_id where e.state = 'running'"#
        );
        if let Some(row) = row.fetch_optional(&mut conn).await.unwrap() {
            break (row.hostname, row.host);
        }
        let failed = sqlx::query_scalar!(
            "select error_message from ops.runs where status in ('failed', 'timed_out') and kind = 'build'"
        );
        let failed = failed.fetch_optional(&mut conn).await.unwrap().flatten();
        assert!(failed.is_none() && began.elapsed() < PATIENCE, "{failed:?}");
        sleep(LOOK).await;
    };
    assert_eq!(host, "node-2");
    assert!(joined.data.join("environments").read_dir().unwrap().count() > 0);
    assert!(!control.data.join("environments").read_dir().unwrap().any(|_| true));

    // Through the front proxy, the other machine's proxy, to Odoo.
    let name = format!("{hostname}.{base}");
    let began = Instant::now();
    loop {
        let (status, answer) = get(listen, &name, "/web/login").await;
        if status == 200 && answer.contains("csrf_token") {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{status}: {answer}");
        sleep(LOOK).await;
    }
    // What only that machine's worker knows.
    let environment = sqlx::query_scalar!("select id from ops.environments where state = 'running' limit 1");
    let environment = environment.fetch_one(&mut conn).await.unwrap();
    let file = joined.data.join(format!("environments/{environment}/admin.password"));
    let password = fs::read_to_string(file).unwrap();
    let asked = Command::new("curl")
        .args(["--silent", "--fail", "--unix-socket"])
        .arg(control.data.join("ops.sock"))
        .arg(format!("http://localhost/api/v1/environments/{environment}/admin-password"))
        .output()
        .await
        .unwrap();
    assert!(String::from_utf8_lossy(&asked.stdout).contains(password.trim()), "{asked:?}");

    let environment = environment.to_string();
    a_program_inside_is_as_if_it_ran_here(&control, &environment).await;
    a_terminal_is_raw_meanwhile_and_given_back(&control, &environment).await;
    files_inside_are_got(&control, &joined, &environment).await;

    let revoked = control.run(&["worker", "revoke", "node-2"]).await;
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    let began = Instant::now();
    while get(listen, &name, "/web/login").await.0 == 200 {
        assert!(began.elapsed() < PATIENCE, "it is still served");
        sleep(LOOK).await;
    }
    let sessions = sqlx::query_scalar!(
        r#"select count(*) as "count!" from pg_catalog.pg_stat_activity where usename like 'ops\_host\_%'"#
    );
    assert_eq!(sessions.fetch_one(&mut conn).await.unwrap(), 0);
    joined.stop().await;
    clean(&control.data).await;
    control.stop().await;
}
