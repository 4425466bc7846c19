//! Who lets machines in and cuts them off, and who signs in to environments as their administrator.

use super::{Fixture, Who};
use crate::{
    socket_file::SocketFile,
    work::private::{self, Private},
};
use axum::http::Method;
use odooops::docker::{Docker, DockerConfig};
use serde_json::json;
use std::fs;

#[tokio::test]
async fn threat_hosts_only_platform_administrators_let_machines_in_and_cut_them_off() {
    let f = Fixture::with(&[("node_listen", "127.0.0.1:3443")]).await;
    sqlx::query!("insert into ops.hosts (name) values ('here')")
        .execute(&mut f.superuser().await)
        .await
        .unwrap();
    for who in [Who::Nobody, Who::Stranger, Who::Viewer, Who::Developer, Who::Tester, Who::Admin, Who::Owner]
    {
        let refused = if who == Who::Nobody { 401 } else { 403 };
        for (path, body) in [("/api/v1/host-tokens", json!({})), ("/api/v1/hosts/here/revoke", json!({}))] {
            let answer = f.ask(who, Method::POST, path, Some(body)).await;
            assert_eq!(answer.status.as_u16(), refused, "{who:?} {path}: {}", answer.text);
        }
    }
    let made =
        f.ask(Who::Platform, Method::POST, "/api/v1/host-tokens", Some(json!({"labels": ["ssd"]}))).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let made = made.json();
    assert_eq!(made["url"], "https://127.0.0.1:3443");
    assert_eq!(made["ca_fingerprint"].as_str().unwrap().len(), 64);
    let hash = odooops::session::Fingerprint::of(made["token"].as_str().unwrap());
    let known = sqlx::query_scalar!(
        r#"select labels from ops.host_tokens where token_hash = $1 and used_at is null"#,
        hash.as_bytes()
    );
    assert_eq!(known.fetch_one(&mut f.superuser().await).await.unwrap(), ["ssd"]);
    for bad in [json!({"name": "Not a name"}), json!({"labels": ["a b"]})] {
        let answer = f.ask(Who::Platform, Method::POST, "/api/v1/host-tokens", Some(bad)).await;
        assert_eq!(answer.status, 422, "{}", answer.text);
    }
    let own = f.ask(Who::Platform, Method::POST, "/api/v1/hosts/here/revoke", None).await;
    assert_eq!((own.status.as_u16(), own.code().as_str()), (409, "host.own"));
    let nowhere = f.ask(Who::Platform, Method::POST, "/api/v1/hosts/nowhere/revoke", None).await;
    assert_eq!(nowhere.status, 404);
    // Without a listener a token would be of no use.
    let deaf = Fixture::new().await;
    let answer = deaf.ask(Who::Platform, Method::POST, "/api/v1/host-tokens", Some(json!({}))).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (409, "host.no_listener"));
}

/// The command line and the API have the name written out; in the console it was a click.
#[tokio::test]
async fn who_cuts_production_off_in_the_console_repeats_the_hosts_name() {
    let f = Fixture::new().await;
    sqlx::query!(
        "with host as (
             insert into ops.hosts (name, db_role, joined_at) values ('far', 'ops_host_' || repeat('ab', 16), now())
             returning id
         )
         update ops.environments e set host_id = host.id, stage = 'production', state = 'running' from host
         where e.id = $1",
        f.environment.0
    )
    .execute(&mut f.superuser().await)
    .await
    .unwrap();
    let hosts = f.browse(Who::Platform, Method::GET, "/api/console/platform/hosts", None).await.json();
    let far = hosts.as_array().unwrap().iter().find(|host| host["name"] == "far").unwrap();
    assert_eq!((&far["environments"], &far["production_environments"]), (&json!(1), &json!(1)));
    let revoke = async |form: &str| {
        let form = Some(form.to_owned());
        f.browse(Who::Platform, Method::POST, "/api/console/platform/revoke", form).await
    };
    for form in ["name=far", "name=far&repeat=", "name=far&repeat=near"] {
        let refused = revoke(form).await;
        assert_eq!(refused.status, 422, "{form}: {}", refused.text);
        assert!(refused.text.contains("host.repeat"), "{form}: {}", refused.text);
    }
    let done = revoke("name=far&repeat=far").await;
    assert_eq!(done.status, 200, "{}", done.text);
    let revoked =
        sqlx::query_scalar!(r#"select revoked_at is not null as "is!" from ops.hosts where name = 'far'"#);
    assert!(revoked.fetch_one(&mut f.superuser().await).await.unwrap());
}

#[tokio::test]
async fn threat_02_docker_an_environments_administrator_is_for_who_may_connect() {
    let f = Fixture::new().await;
    let path = format!("/api/v1/environments/{}/admin-password", f.environment);
    // Its worker is not there.
    assert_eq!(f.ask(Who::Owner, Method::GET, &path, None).await.status, 503);
    let folder = f.web.config.environment_dir(f.environment);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("admin.password"), "correct horse\n").unwrap();
    let docker = DockerConfig {
        socket: "/var/run/docker.sock".into(),
        installation: odooops::id::InstallationId::new(),
        mount_roots: Vec::new(),
        subnets: f.web.config.environment_subnets,
    };
    let docker = Docker::connect(docker).await.expect("tests need a Docker daemon");
    let (config, ending) = (f.web.config.clone(), f.web.ending.clone());
    let private = Private::new(f.db.worker.clone(), docker, config, ending);
    let socket = SocketFile::bind(&f.web.config.worker_socket()).unwrap();
    tokio::spawn(socket.listen(private::router(private), &f.web.ending));
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
        let answer = f.ask(who, Method::GET, &path, None).await;
        assert_eq!(answer.status.as_u16(), status, "{who:?}: {}", answer.text);
        assert_eq!(answer.text.contains("correct horse"), status == 200, "{who:?}");
        // The console's door is the same.
        let form = Some(format!("id={}", f.environment));
        let answer = f.browse(who, Method::POST, "/api/console/environment/admin-password", form).await;
        assert_eq!(answer.status.as_u16(), status, "{who:?}: {}", answer.text);
        assert_eq!(answer.text.contains("correct horse"), status == 200, "{who:?}");
    }
    let asked = sqlx::query_scalar!(
        r#"select count(*) as "count!" from ops.audit_log
           where action = 'environment.admin_password' and object_id = $1"#,
        f.environment.to_string()
    );
    assert_eq!(
        asked.fetch_one(&mut f.superuser().await).await.unwrap(),
        11,
        "once per question that was answered, and the first"
    );
}
