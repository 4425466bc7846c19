//! What becomes of servers and of builds that do not end as they should.

use super::{Yard, value};
use crate::{
    branch::{self, BranchName, Stage},
    docker::names,
    id::EnvironmentId,
    odoo::{demo, gate::pass_gate},
    run::job::start::PORT,
};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use sqlx::Connection;
use std::{fs, net::IpAddr, path::Path};

struct Server {
    container: String,
    address: IpAddr,
    host: String,
}

async fn server(yard: &Yard, environment: EnvironmentId) -> Server {
    let row = sqlx::query!(
        r#"select container_id as "container!", address as "address!", hostname from ops.environments where id = $1"#,
        environment.0
    );
    let row = row.fetch_one(&mut yard.conn().await).await.unwrap();
    let host = format!("{}.{}", row.hostname, yard.shop.urls.base_domain);
    Server { container: row.container, address: row.address.parse().unwrap(), host }
}

/// Signs in as Odoo's own pages do; the user's id when that works.
async fn sign_in(server: &Server, database: &str, login: &str, password: &str) -> Option<i64> {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    let call = json!({
        "jsonrpc": "2.0",
        "params": { "db": database, "login": login, "password": password },
    });
    let request = Request::post(format!("http://{}:{PORT}/web/session/authenticate", server.address))
        .header(header::HOST, &server.host)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(call.to_string()))
        .unwrap();
    let answer = client.request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert!(answer["result"].is_object() || answer["error"].is_object(), "{answer}");
    answer["result"]["uid"].as_i64()
}

#[tokio::test]
async fn odoo_servers_have_passwords_of_their_own_and_come_back_with_their_data() {
    let yard = Yard::start().await;
    let built = yard.build("main", Stage::Development, demo::files()).await;
    assert_eq!(built.status, "succeeded", "{}", built.error);
    let first = server(&yard, built.environment).await;
    let database = crate::postgres::database_name(built.environment);

    let folder = yard.shop.config.environment_dir(built.environment);
    let password = fs::read_to_string(folder.join("admin.password")).unwrap();
    assert!(sign_in(&first, &database, "admin", password.trim()).await.is_some());
    for known in ["admin", "demo", "portal"] {
        assert_eq!(sign_in(&first, &database, known, known).await, None, "{known} has the password {known}");
    }

    // It sees its own files and the tenants' socket, nothing of the control cluster and no secrets.
    let container = yard.shop.docker.client().inspect_container(&first.container, None).await.unwrap();
    let sources = container.mounts.unwrap().into_iter().filter_map(|mount| mount.source);
    let allowed =
        [folder.canonicalize().unwrap(), yard.shop.config.tenants_socket_dir().canonicalize().unwrap()];
    for source in sources {
        assert!(allowed.iter().any(|root| Path::new(&source).starts_with(root)), "{source} is mounted");
    }

    // Somebody cleans up Docker by hand: the server is made again around the same data.
    let mut inside = yard.inside(built.environment).await;
    value(&mut inside, "update public.res_company set name = 'Kept' returning name").await;
    yard.shop.docker.remove_container(&first.container).await.unwrap();
    // Where the worker was faster, the network is in use again already.
    _ = yard.shop.docker.remove_network(&names::environment_network(built.environment)).await;
    yard.shop.changed.notify_one();
    yard.wait("another container", async |conn| {
        let now = sqlx::query_scalar!(
            "select id from ops.environments where id = $1 and state = 'running' and container_id <> $2",
            built.environment.0,
            first.container
        );
        now.fetch_optional(conn).await.unwrap()
    })
    .await;
    let second = server(&yard, built.environment).await;
    pass_gate(second.address, PORT, &second.host, || async { true }, super::PATIENCE).await.unwrap();
    assert_eq!(value(&mut inside, "select name from public.res_company where id = 1").await, "Kept");

    // One whose network alone is gone cannot be started as it is.
    // The worker starts it within the moment: somebody has to be faster once.
    let faster = async {
        let network = names::environment_network(built.environment);
        loop {
            yard.shop.docker.stop_container(&second.container, std::time::Duration::ZERO).await.unwrap();
            if yard.shop.docker.remove_network(&network).await.is_ok() {
                break;
            }
        }
    };
    tokio::time::timeout(super::PATIENCE, faster).await.expect("the network is removed");
    yard.shop.changed.notify_one();
    yard.wait("a third container", async |conn| {
        let now = sqlx::query_scalar!(
            "select id from ops.environments where id = $1 and state = 'running' and container_id <> $2",
            built.environment.0,
            second.container
        );
        now.fetch_optional(conn).await.unwrap()
    })
    .await;
    inside.close().await.unwrap();
    yard.finish().await;
}

#[tokio::test]
async fn odoo_a_deleted_branch_and_a_stopped_worker_leave_nothing() {
    let mut yard = Yard::start().await;
    let (branch, sha) = yard.branch("gone", Stage::Development, demo::files()).await;
    let run = yard.queue(branch, &sha).await;
    yard.installing(run).await;
    let name = BranchName::parse("gone").unwrap();
    branch::query::mark_deleted(&mut yard.conn().await, yard.project, &name).await.unwrap().unwrap();
    let ended = yard.ended(run).await;
    assert_eq!(ended.status, "canceled");
    yard.assert_nothing_left(ended.environment).await;

    let (branch, sha) = yard.branch("main", Stage::Development, demo::files()).await;
    let run = yard.queue(branch, &sha).await;
    yard.installing(run).await;
    yard.stop.at_once.cancel();
    yard.worker.take().unwrap().await.unwrap().unwrap();
    let row = sqlx::query!(
        "select status, attempt, handed_back, environment_id from ops.runs where id = $1",
        run.0
    );
    let row = row.fetch_one(&mut yard.conn().await).await.unwrap();
    assert_eq!((row.status.as_str(), row.attempt, row.handed_back), ("queued", 1, 1));
    yard.assert_nothing_left(row.environment_id.unwrap().into()).await;
}

#[tokio::test]
async fn odoo_a_build_that_never_ends_is_ended() {
    let yard = Yard::start_with(&[("build_timeout_seconds", "30")]).await;
    let files: [(&str, &[u8]); 4] = [
        ("endless/__init__.py", b""),
        ("endless/__manifest__.py", b"{'name': 'Endless', 'depends': ['base'], 'license': 'LGPL-3'}"),
        ("endless/tests/__init__.py", b"from . import test_endless"),
        (
            "endless/tests/test_endless.py",
            b"import time\nfrom odoo.tests import TransactionCase\n\n\nclass TestEndless(TransactionCase):\n    \
              def test_endless(self):\n        while True:\n            time.sleep(1)\n",
        ),
    ];
    let ended = yard.build("endless", Stage::Development, &files).await;
    assert_eq!(
        (ended.status.as_str(), ended.error.as_str()),
        ("timed_out", "The build took longer than the 30 s that it may.")
    );
    yard.assert_nothing_left(ended.environment).await;
    yard.state(ended.environment, "failed").await;
    yard.finish().await;
}
