//! A container with the tenants' socket mounted, as environments have it, whoever it says it is.

use super::{TemplateName, testing_tenants::TestTenants};
use crate::branch::Stage;
use crate::id::{EnvironmentId, RunId};
use secrecy::ExposeSecret;
use std::process::Stdio;
use tokio::{io::AsyncWriteExt, process::Command};

/// Tries each line `role password database` and prints `yes` or why not.
const PROGRAM: &str = r#"
import sys, psycopg2
for line in sys.stdin.read().splitlines():
    role, password, database = line.split(" ")
    try:
        psycopg2.connect(host="/var/run/postgresql", user=role, password=password or None, dbname=database).close()
        print("yes")
    except psycopg2.OperationalError as error:
        print(str(error).strip().replace("\n", " "))
"#;

/// What a container of this uid is told for each attempt.
async fn attempts(test: &TestTenants, uid: &str, attempts: &[String]) -> Vec<String> {
    let mount = format!("type=bind,source={},target=/var/run/postgresql,readonly", test.socket().display());
    let mut child = Command::new("docker")
        .args(["run", "--rm", "--interactive", "--network=none", "--user", uid, "--mount", &mount])
        .args(["--entrypoint=/usr/bin/python3", "odoo:19.0", "-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(attempts.join("\n").as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn docker_threat_07_no_uid_of_a_container_logs_in_as_a_role_it_was_not_given() {
    let test = TestTenants::start().await;
    let template: TemplateName = "19_0".parse().unwrap();
    test.tenants.create_template(&template).await.unwrap().unwrap().finish().await.unwrap();
    let mut logins = Vec::new();
    for _ in 0..2 {
        logins.push(
            test.tenants
                .create_database(EnvironmentId::new(), RunId::new(), Stage::Development, &template, 4)
                .await
                .unwrap(),
        );
    }
    let (own, other) = (&logins[0], &logins[1]);
    let password = own.password.expose_secret();
    let mut tried = vec![format!("{} {password} {}", own.role, own.database)];
    for role in ["postgres", "odooops_admin", "root", "odoo", "template_19_0", &other.role] {
        for guess in ["", "postgres", "odoo", role, password] {
            for database in ["postgres", "template1", &own.database, &other.database] {
                tried.push(format!("{role} {guess} {database}"));
            }
        }
    }
    for database in ["postgres", "template1", "template0", "template_19_0", &other.database] {
        tried.push(format!("{} {password} {database}", own.role));
    }
    let postgres = nix::unistd::User::from_name("postgres").unwrap().unwrap().uid.to_string();
    for uid in ["0", &postgres, "100"] {
        let told = attempts(&test, uid, &tried).await;
        assert_eq!(told.len(), tried.len());
        assert_eq!(told[0], "yes", "its own login works, so the others are refused for what they are");
        for (attempt, answer) in tried.iter().zip(&told).skip(1) {
            assert_ne!(answer, "yes", "uid {uid}: {attempt}");
        }
    }
}
