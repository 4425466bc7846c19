//! Joining, being known, being cut off: with a real database, and TLS on loopback.

#![expect(clippy::disallowed_methods, reason = "what a host must not do is put together as text")]

use super::{
    Authority, Fingerprint, Guest, Identity, Listener, NodeName, Visitor,
    join::{self, Invitation, JoinRequest},
    relay, service,
};
use crate::{
    access::Actor,
    config::{Config, Flags},
    id::{InstallationId, UserId},
    postgres::{
        Announcements,
        ops::{self, Role},
        testing::TestDb,
    },
    queue,
};
use futures::{StreamExt, stream::FuturesUnordered};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};
use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(30);
const ARRIVING: usize = 16;
const STRANGERS: usize = 4;

fn config(folder: &Path) -> Config {
    let keys = BTreeMap::from([("data_dir", folder.display().to_string())]);
    Config::load(&Flags { file: None, keys }, |_| None).unwrap()
}

/// The console's machine: a node listener before the test's database.
struct Control {
    db: TestDb,
    authority: Arc<Authority>,
    address: SocketAddr,
    admin: Actor,
    stop: CancellationToken,
    _dir: TempDir,
}

impl Control {
    async fn start() -> Self {
        let (db, dir, stop) = (TestDb::new().await, tempfile::tempdir().unwrap(), CancellationToken::new());
        let mut conn = db.superuser_options().connect().await.unwrap();
        let installation: InstallationId =
            sqlx::query_scalar!("select id from ops.installation").fetch_one(&mut conn).await.unwrap().into();
        let user = UserId::new();
        sqlx::query!(
            "insert into ops.users (id, name, email, platform_admin) values ($1, 'Ada', 'ada@example.com', true)",
            user.0
        )
        .execute(&mut conn)
        .await
        .unwrap();
        let authority = Arc::new(Authority::load_or_create(&config(dir.path()), installation).unwrap());
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let listener = Listener::of_control(tcp, authority.own().unwrap(), db.web.clone()).unwrap();
        let listener = listener.with_places(ARRIVING, STRANGERS);
        let (open, pool) = (listener.open().unwrap(), db.web.clone());
        let mut heard = Announcements::listen(&pool, &["ops_hosts"], stop.clone()).subscribe();
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                heard.on("ops_hosts").await;
                open.judge_again(&pool).await;
            }
        }));
        let database = relay::Database::from(&db.options(Role::Web));
        let door = (db.web.clone(), authority.clone());
        let welcome = move |visitor| welcome(visitor, door.clone(), database.clone());
        tokio::spawn(listener.serve(stop.clone(), welcome));
        let admin = Actor { user_id: user, platform_admin: true, address: None };
        Self { db, authority, address, admin, stop, _dir: dir }
    }

    async fn token(&self, name: Option<&str>) -> String {
        let mut txn = crate::access::begin_as(&self.db.web, self.admin.user_id).await.unwrap();
        let labels = ["ssd".to_owned()];
        let token = service::create_token_in_txn(&mut txn, &self.admin, name, &labels).await.unwrap();
        txn.commit().await.unwrap();
        token.text.expose().to_owned()
    }

    async fn revoke(&self, name: &str) -> crate::Result<()> {
        let mut txn = crate::access::begin_as(&self.db.web, self.admin.user_id).await.unwrap();
        service::revoke_in_txn(&mut txn, &self.admin, name).await?;
        txn.commit().await.unwrap();
        let mut txn = crate::access::begin_as(&self.db.web, self.admin.user_id).await.unwrap();
        service::end_sessions(&mut txn, name).await.unwrap();
        txn.commit().await.unwrap();
        Ok(())
    }

    fn invitation(&self, token: String, name: &str) -> Invitation {
        Invitation {
            control: self.address.to_string(),
            token: token.into(),
            authority: self.fingerprint(),
            name: name.to_owned(),
            listen: ([127, 0, 0, 1], 3443).into(),
            address: None,
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        let keys = self.authority.own().unwrap();
        Fingerprint::of_certificate(&keys.authority)
    }

    async fn superuser(&self) -> PgConnection {
        self.db.superuser_options().connect().await.unwrap()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn welcome(visitor: Visitor, door: (PgPool, Arc<Authority>), database: relay::Database) {
    if visitor.called == NodeName::Postgres.to_string() {
        assert!(matches!(visitor.guest, Guest::Host(_)));
        _ = database.serve(visitor.stream).await;
        return;
    }
    let answer = service_fn(move |request: Request<Incoming>| {
        let (pool, authority) = door.clone();
        async move {
            assert_eq!(request.uri().path(), join::PATH);
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let request: JoinRequest = serde_json::from_slice(&body).unwrap();
            let mut txn = pool.begin().await.unwrap();
            let (status, text) = match join::admit_in_txn(&mut txn, &authority, &request).await {
                Ok(joined) => (StatusCode::OK, serde_json::to_string(&joined).unwrap()),
                Err(error) => {
                    (StatusCode::CONFLICT, serde_json::json!({ "message": error.to_string() }).to_string())
                }
            };
            if status == StatusCode::OK {
                txn.commit().await.unwrap();
            }
            let mut response = Response::new(Full::<bytes::Bytes>::from(text));
            *response.status_mut() = status;
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    _ = http1::Builder::new().serve_connection(TokioIo::new(visitor.stream), answer).await;
}

/// A joined machine's relay, and its pool over it.
struct Machine {
    identity: Identity,
    pool: PgPool,
    stop: CancellationToken,
    _dir: TempDir,
}

impl Machine {
    async fn join(control: &Control, token: String, name: &str) -> Result<Self, super::NodeError> {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let identity = join::join(&config, &control.invitation(token, name)).await?;
        assert_eq!(Identity::of(&config).unwrap().as_ref(), Some(&identity));
        let stop = CancellationToken::new();
        let (relayed, mine, token) = (config.clone(), identity.clone(), stop.clone());
        tokio::spawn(async move { relay::listen(&relayed, &mine, token).await.unwrap() });
        let socket = config.control_dir().join("socket/.s.PGSQL.5432");
        while tokio::net::UnixStream::connect(&socket).await.is_err() {
            tokio::task::yield_now().await;
        }
        let pool = ops::pool(&config, Role::Worker, 4).unwrap();
        Ok(Self { identity, pool, stop, _dir: dir })
    }

    async fn register(&self, worker: &str, host: &str) -> Result<(), queue::Error> {
        let new = queue::Registration {
            worker,
            host,
            version: "test",
            capacity: 1,
            kinds: &[crate::run::RunKind::Build],
        };
        let mut conn = self.pool.acquire().await?;
        queue::register_worker(&mut conn, new).await.map(drop)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn refused(control: &Control, token: String, name: &str) -> String {
    match Machine::join(control, token, name).await {
        Ok(_) => panic!("it was let in"),
        Err(error) => error.to_string(),
    }
}

fn code(outcome: Result<(), queue::Error>) -> String {
    match outcome {
        Err(queue::Error::Database(error)) => {
            error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_machine_joins_works_over_the_relay_and_is_kept_to_its_own_affairs() {
    let control = Control::start().await;
    let machine = Machine::join(&control, control.token(None).await, "node-2").await.unwrap();
    assert_eq!(machine.identity.name, "node-2");
    let who = sqlx::query_scalar!(r#"select session_user::text as "name!""#);
    let who = timeout(PATIENCE, who.fetch_one(&machine.pool)).await.unwrap().unwrap();
    assert_eq!(who, machine.identity.db_role);
    machine.register("node-2", "node-2").await.unwrap();
    let mut superuser = control.superuser().await;
    let labels = sqlx::query_scalar!("select labels from ops.hosts where name = 'node-2'");
    assert_eq!(labels.fetch_one(&mut superuser).await.unwrap(), ["ssd"]);

    // Not as another host, not as another host's worker, not as a new one.
    let other = Machine::join(&control, control.token(Some("node-3")).await, "ignored").await.unwrap();
    assert_eq!(other.identity.name, "node-3", "the token's name counts");
    other.register("node-3", "node-3").await.unwrap();
    for (worker, host) in [("node-2", "node-3"), ("node-2", "node-2"), ("new", "node-2"), ("new", "new")] {
        assert_eq!(code(other.register(worker, host).await), "42501", "{worker} on {host}");
    }
    let run = crate::id::RunId::new();
    sqlx::query!("insert into ops.projects (slug, name) values ('p', 'P')")
        .execute(&mut superuser)
        .await
        .unwrap();
    sqlx::query!(
        "insert into ops.runs (id, project_id, kind, git_ref, commit_sha)
         select $1, id, 'build', 'refs/heads/x', repeat('a', 40) from ops.projects",
        run.0
    )
    .execute(&mut superuser)
    .await
    .unwrap();
    let mut conn = other.pool.acquire().await.unwrap();
    let stolen = queue::claim(&mut conn, "node-2").await;
    assert_eq!(code(stolen.map(drop)), "42501", "claims for its own workers only");
    let claim = loop {
        // A host with more free memory would have two seconds to take it first.
        if let Some(claim) = queue::claim(&mut machine.pool.acquire().await.unwrap(), "node-2").await.unwrap()
        {
            break claim;
        }
    };
    // The lease is a number that can be guessed; the run is still another host's.
    let guessed = queue::append_event(&mut conn, &claim, "x", serde_json::json!({})).await;
    assert_eq!(code(guessed), "42501");
    let renewed =
        queue::heartbeat(&mut conn, "node-2", &[(claim.id, claim.lease)], queue::Machine::default()).await;
    assert_eq!(code(renewed.map(drop)), "42501");
    let ended = queue::finish(&mut conn, &claim, crate::run::RunStatus::Failed, None, None).await;
    assert_eq!(code(ended), "42501");
    for forbidden in [
        "update ops.hosts set revoked_at = null, labels = '{x}'",
        "insert into ops.hosts (name) values ('x')",
        "select ops.make_host_login('ops_host_00000000000000000000000000000000', '')",
        "select ops.create_host_token(decode(repeat('00', 32), 'hex'))",
        "select token_hash from ops.host_tokens",
        "alter role ops_worker password 'x'",
        "set role ops_owner",
    ] {
        let error = sqlx::query(forbidden).execute(&mut *conn).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().unwrap(), "42501", "{forbidden}");
    }
}

#[tokio::test]
async fn tokens_are_for_once_and_for_an_hour() {
    let control = Control::start().await;
    let token = control.token(None).await;
    let first = Machine::join(&control, token.clone(), "node-2").await.unwrap();
    assert!(refused(&control, token, "node-3").await.contains("host.token_used"));
    assert!(refused(&control, "ops_wrong".to_owned(), "node-3").await.contains("host.token_unknown"));
    let late = control.token(None).await;
    sqlx::query!("update ops.host_tokens set expires_at = clock_timestamp() - interval '1 second' where used_at is null")
        .execute(&mut control.superuser().await)
        .await
        .unwrap();
    assert!(refused(&control, late, "node-3").await.contains("host.token_expired"));
    // A name is taken, unless the administrator names it.
    assert!(refused(&control, control.token(None).await, "node-2").await.contains("host.name_taken"));
    let again = Machine::join(&control, control.token(Some("node-2")).await, "node-2").await.unwrap();
    assert_eq!(again.identity.host, first.identity.host);
    // The machine that had the name before has neither certificate nor password any more.
    let old = timeout(PATIENCE, sqlx::query_scalar!("select 1").fetch_one(&first.pool)).await.unwrap();
    assert!(old.is_err());
    sqlx::query_scalar!("select 1").fetch_one(&again.pool).await.unwrap();
    // Whoever is no administrator makes none.
    let denied = sqlx::query("select ops.create_host_token(decode(repeat('00', 32), 'hex'))");
    assert!(denied.execute(&control.db.web).await.is_err());
}

#[tokio::test]
async fn threat_hosts_the_token_goes_to_nobody_but_the_machine_of_the_fingerprint() {
    let (control, other) = (Control::start().await, Control::start().await);
    let token = control.token(None).await;
    let mut invitation = other.invitation(token.clone(), "node-2");
    invitation.authority = control.fingerprint();
    let dir = tempfile::tempdir().unwrap();
    let error = join::join(&config(dir.path()), &invitation).await.unwrap_err().to_string();
    assert!(error.contains("not the machine"), "{error}");
    let fresh = "select exists (select from ops.host_tokens where used_at is null) as fresh";
    let fresh: bool = sqlx::query_scalar(fresh).fetch_one(&mut control.superuser().await).await.unwrap();
    assert!(fresh);
    // A certificate of one installation opens nothing in another.
    let machine = Machine::join(&control, token, "node-2").await.unwrap();
    let foreign = Identity { control: other.address.to_string(), ..machine.identity.clone() };
    let tls = tokio_rustls::TlsConnector::from(Arc::new(
        super::tls::client(Identity::keys(&config(machine._dir.path())).unwrap()).unwrap(),
    ));
    assert!(relay::dial(&tls, &foreign.control, NodeName::Postgres).await.is_err());
}

#[tokio::test]
async fn a_revoked_machine_is_cut_off_at_once_and_its_run_goes_on_elsewhere() {
    let control = Control::start().await;
    let machine = Machine::join(&control, control.token(None).await, "node-2").await.unwrap();
    machine.register("node-2", "node-2").await.unwrap();
    let mut superuser = control.superuser().await;
    sqlx::query!("insert into ops.projects (slug, name) values ('p', 'P')")
        .execute(&mut superuser)
        .await
        .unwrap();
    sqlx::query!(
        "insert into ops.runs (project_id, kind, git_ref, commit_sha)
         select id, 'build', 'refs/heads/x', repeat('a', 40) from ops.projects"
    )
    .execute(&mut superuser)
    .await
    .unwrap();
    let mut conn = machine.pool.acquire().await.unwrap();
    let claim = queue::claim(&mut conn, "node-2").await.unwrap().unwrap();
    let waiting = async { sqlx::query("select pg_sleep(600)").execute(&mut *conn).await };
    let revoked = async {
        // In the middle of something.
        let busy = "select count(*) from pg_catalog.pg_stat_activity where query = 'select pg_sleep(600)'";
        let mut other = control.superuser().await;
        while sqlx::query_scalar::<_, i64>(busy).fetch_one(&mut other).await.unwrap() == 0 {}
        control.revoke("node-2").await.unwrap();
    };
    let (ended, ()) = timeout(PATIENCE, async { tokio::join!(waiting, revoked) }).await.unwrap();
    assert!(ended.is_err());
    let again = timeout(PATIENCE, sqlx::query_scalar!("select 1").fetch_one(&machine.pool)).await.unwrap();
    assert!(again.is_err(), "neither certificate nor login");
    let row = sqlx::query!("select status, worker_id, attempt from ops.runs where id = $1", claim.id.0);
    let row = row.fetch_one(&mut superuser).await.unwrap();
    assert_eq!((row.status.as_str(), row.worker_id, row.attempt), ("queued", None, 1));
    let login = sqlx::query_scalar!(
        "select rolcanlogin from pg_catalog.pg_roles where rolname = $1",
        machine.identity.db_role
    );
    assert_eq!(login.fetch_one(&mut superuser).await.unwrap(), Some(false));
    // The console's own machine is not revoked; an unknown one is unknown.
    sqlx::query!("insert into ops.hosts (name) values ('here')").execute(&mut superuser).await.unwrap();
    assert!(matches!(control.revoke("here").await, Err(crate::Error::Conflict { .. })));
    assert!(matches!(control.revoke("nowhere").await, Err(crate::Error::NotFound { .. })));
    superuser.close().await.unwrap();
}

/// Waits until so many of these connections were ended by the other side.
async fn lost(connections: &mut [impl AsyncRead + Unpin], count: usize) {
    let reads = connections.iter_mut().map(async |connection| {
        let mut byte = [0];
        matches!(connection.read(&mut byte).await, Ok(0) | Err(_))
    });
    let ended = reads.collect::<FuturesUnordered<_>>().take(count);
    assert!(timeout(PATIENCE, ended.all(async |ended| ended)).await.unwrap());
}

/// Who shows no certificate has places of their own, and the newest of them: neither silence nor crowds keep a machine
/// out, or another from joining.
#[tokio::test]
async fn threat_hosts_strangers_take_no_place_of_a_machine() {
    let control = Control::start().await;
    let machine = Machine::join(&control, control.token(None).await, "node-2").await.unwrap();
    let ask = async || {
        // A connection of its own each time, through the listener.
        let pool = machine.pool.options().clone().connect_with((*machine.pool.connect_options()).clone());
        let pool = timeout(PATIENCE, pool).await.unwrap().unwrap();
        sqlx::query_scalar::<_, i32>("select 1").fetch_one(&pool).await.unwrap();
        pool.close().await;
    };
    let mut silent = Vec::new();
    for _ in 0..ARRIVING + 4 {
        silent.push(TcpStream::connect(control.address).await.unwrap());
    }
    lost(&mut silent, 4).await;
    ask().await;
    let tls = super::tls::joining(control.fingerprint()).unwrap();
    let tls = tokio_rustls::TlsConnector::from(Arc::new(tls));
    let mut strangers = Vec::new();
    for _ in 0..STRANGERS + 2 {
        let tcp = TcpStream::connect(control.address).await.unwrap();
        let name = NodeName::Control.server_name();
        strangers.push(timeout(PATIENCE, tls.connect(name, tcp)).await.unwrap().unwrap());
    }
    lost(&mut strangers, 2).await;
    ask().await;
    Machine::join(&control, control.token(None).await, "node-3").await.unwrap();
    drop((silent, strangers));
}
