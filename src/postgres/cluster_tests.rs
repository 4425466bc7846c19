//! The clusters, against real PostgreSQL: clean and unclean ends, and who gets in.

use super::{
    Output, bootstrap_tenants, cluster::socket_options, ops, recovery, testing::TestDb,
    testing_tenants::TestTenants,
};
use crate::config::{Config, Flags, Secret};
use nix::sys::signal::{Signal, kill};
use sqlx::{ConnectOptions, Connection, Executor, Row};
use std::{fs, os::unix::fs::PermissionsExt, process::Stdio};
use tokio::process::Command;

#[tokio::test]
async fn a_cluster_starts_stops_and_starts_with_what_was_in_it() {
    let mut test = TestTenants::start().await;
    let output = Output::File(test.cluster.data().with_file_name("log"));
    let mut conn = test.cluster.superuser_options().connect().await.unwrap();
    conn.execute("create table kept as select 42 as answer").await.unwrap();
    for (setting, value) in [
        ("data_checksums", "on"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
        ("max_connections", "200"),
    ] {
        let sql = format!("show {setting}");
        assert_eq!(conn.fetch_one(sql.as_str()).await.unwrap().get::<String, _>(0), value, "{setting}");
    }
    conn.close().await.unwrap();
    assert!(test.postmaster.stop().await.unwrap().success());
    assert!(!test.cluster.data().join("postmaster.pid").exists());
    test.postmaster = test.cluster.start(&output).await.unwrap();
    let mut conn = test.cluster.superuser_options().connect().await.unwrap();
    assert_eq!(conn.fetch_one("select answer from kept").await.unwrap().get::<i32, _>(0), 42);
}

#[tokio::test]
async fn a_killed_postmaster_with_busy_backends_starts_again_at_once() {
    let mut test = TestTenants::start().await;
    let output = Output::File(test.cluster.data().with_file_name("log"));
    let mut busy = test.cluster.superuser_options().connect().await.unwrap();
    busy.execute("create table committed as select 1 as n").await.unwrap();
    let sleeping = tokio::spawn(async move { busy.execute("select pg_sleep(600)").await.is_err() });
    let mut watch = test.cluster.superuser_options().connect().await.unwrap();
    let busy_now =
        "select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'";
    while watch.fetch_one(busy_now).await.unwrap().get::<i64, _>(0) == 0 {}
    kill(test.postmaster.pid().unwrap(), Signal::SIGKILL).unwrap();
    test.postmaster.ended().await.unwrap();
    assert!(test.cluster.data().join("postmaster.pid").exists());
    test.postmaster = test.cluster.start(&output).await.unwrap();
    assert!(sleeping.await.unwrap(), "the orphaned backend was ended");
    let mut conn = test.cluster.superuser_options().connect().await.unwrap();
    assert_eq!(conn.fetch_one("select n from committed").await.unwrap().get::<i32, _>(0), 1);
}

#[tokio::test]
async fn a_server_of_a_killed_supervisor_is_replaced() {
    let mut test = TestTenants::start().await;
    let output = Output::File(test.cluster.data().with_file_name("log"));
    let first = test.postmaster.pid().unwrap();
    let second = test.cluster.start(&output).await.unwrap();
    assert_ne!(second.pid().unwrap(), first);
    assert!(test.postmaster.ended().await.unwrap().success(), "it was asked to stop, not killed");
    test.postmaster = second;
}

#[tokio::test]
async fn a_stale_pid_file_that_names_somebody_else_harms_nobody() {
    let (mut test, other) = (TestTenants::start().await, TestTenants::start().await);
    let output = Output::File(test.cluster.data().with_file_name("log"));
    test.postmaster.stop().await.unwrap();
    let foreign = fs::read_to_string(other.cluster.data().join("postmaster.pid")).unwrap();
    fs::write(test.cluster.data().join("postmaster.pid"), foreign).unwrap();
    test.postmaster = test.cluster.start(&output).await.unwrap();
    let data = other.cluster.data().canonicalize().unwrap();
    assert!(recovery::processes(&data).contains(&other.postmaster.pid().unwrap()));
    other.cluster.superuser_options().connect().await.unwrap();
}

#[tokio::test]
async fn a_half_made_cluster_is_made_anew() {
    let mut test = TestTenants::start().await;
    let output = Output::File(test.cluster.data().with_file_name("log"));
    test.postmaster.stop().await.unwrap();
    fs::rename(test.cluster.data(), test.cluster.data().with_file_name("data.new")).unwrap();
    fs::remove_file(test.cluster.data().with_file_name("data.new").join("PG_VERSION")).unwrap();
    test.postmaster = test.cluster.start(&output).await.unwrap();
    test.cluster.superuser_options().connect().await.unwrap();
}

#[tokio::test]
async fn threat_16_no_uid_is_trusted_on_the_socket() {
    let test = TestTenants::start().await;
    let users = ["postgres", "root"];
    for (user, role) in users.into_iter().flat_map(|user| users.map(|role| (user, role))) {
        let uid = nix::unistd::User::from_name(user).unwrap().unwrap().uid.as_raw();
        let mut command = Command::new("psql");
        if nix::unistd::geteuid().is_root() {
            command.uid(uid).gid(uid);
        }
        let output = command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            .args([
                "--no-password",
                "--no-psqlrc",
                "--username",
                role,
                "--dbname",
                "postgres",
                "--command",
                "select 1",
            ])
            .arg("--host")
            .arg(test.socket())
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(told.contains("password"), "{user} as {role}: {told}");
    }
    for wrong in ["", "postgres", "odoo"] {
        let options =
            socket_options(&test.socket()).username("postgres").password(wrong).database("postgres");
        assert!(options.connect().await.is_err());
    }
}

#[tokio::test]
async fn threat_16_a_second_start_keeps_folders_closed_and_rules_strict() {
    let test = TestTenants::start().await;
    let mode = |path: std::path::PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(test.cluster.data()), 0o700);
    assert_eq!(mode(test.socket()), 0o755);
    let mut conn = test.cluster.superuser_options().connect().await.unwrap();
    let rules = conn.fetch_all("select type, auth_method from pg_hba_file_rules").await.unwrap();
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].get::<String, _>("auth_method"), "scram-sha-256");
}

#[tokio::test]
async fn threat_14_no_statement_ever_held_a_password() {
    let test = TestTenants::start().await;
    let mut conn = test.cluster.superuser_options().connect().await.unwrap();
    let password = Secret::generate();
    bootstrap_tenants(&test.cluster, &password).await.unwrap();
    let told = "select count(*) filter (where query like '%PASSWORD%SCRAM-SHA-256$%') as verifiers,
                       count(*) filter (where query like '%PASSWORD%' and query !~ 'SCRAM-SHA-256|pg_stat') as clear
                from pg_stat_statements";
    let row = conn.fetch_one(told).await.unwrap();
    assert!(row.get::<i64, _>("verifiers") > 0, "pg_stat_statements sees these statements");
    assert_eq!(row.get::<i64, _>("clear"), 0);
}

#[tokio::test]
async fn pools_come_back_after_postgres_restarted() {
    let mut test = TestTenants::start().await;
    let output = Output::File(test.cluster.data().with_file_name("log"));
    let pool = ops::connect(test.cluster.superuser_options(), 3);
    pool.execute("select 1").await.unwrap();
    kill(test.postmaster.pid().unwrap(), Signal::SIGKILL).unwrap();
    test.postmaster.ended().await.unwrap();
    test.postmaster = test.cluster.start(&output).await.unwrap();
    pool.execute("select 1").await.expect("the broken connection was replaced");
}

#[tokio::test]
async fn migrations_run_again_without_effect_and_logins_work() {
    let db = TestDb::new().await;
    assert!(ops::is_current(&db.worker).await.unwrap());
    assert!(ops::is_current(&db.web).await.unwrap());
    ops::MIGRATIONS.run(&db.owner).await.unwrap();
    let is_super = sqlx::query_scalar!(
        "select rolsuper or rolbypassrls as \"is!\" from pg_roles where rolname = current_user"
    );
    assert!(!is_super.fetch_one(&db.owner).await.unwrap());
}

#[test]
fn configured_addresses_of_the_ops_database_keep_their_database() {
    let dir = tempfile::tempdir().unwrap();
    let keys = [("data_dir", dir.path().display().to_string())].into();
    let url = "postgres://owner:secret@db.example:6543/elsewhere";
    let config = Config::load(&Flags { file: None, keys }, |name| {
        (name == "OPS_DATABASE_URL").then(|| url.to_owned())
    });
    let options = ops::options(&config.unwrap(), ops::Role::Web).unwrap();
    let told = (options.get_username(), options.get_host(), options.get_port(), options.get_database());
    assert_eq!(told, ("ops_web", "db.example", 6543, Some("elsewhere")));
}
