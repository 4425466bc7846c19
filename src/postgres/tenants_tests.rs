//! Tenants' databases, against a real cluster: made, repeated, dropped, and closed to each other.

use super::{
    Login, TemplateName, TemplateState, Tenants, cluster::socket_options, database_name,
    testing_tenants::TestTenants,
};
use crate::{
    branch::Stage,
    id::{EnvironmentId, InstallationId, RunId},
};
use secrecy::ExposeSecret;
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, Row};

async fn enter(test: &TestTenants, login: &Login, database: &str) -> Result<PgConnection, sqlx::Error> {
    let options =
        socket_options(&test.socket()).username(&login.role).password(login.password.expose_secret());
    options.database(database).connect().await
}

async fn template(test: &TestTenants) -> TemplateName {
    let name: TemplateName = "19_0_demo".parse().unwrap();
    let build = test.tenants.create_template(&name).await.unwrap().unwrap();
    let mut conn = enter(test, &build.login, &build.login.database).await.unwrap();
    conn.execute("create table res_users (id serial primary key, login text); insert into res_users (login) values ('admin')")
        .await
        .unwrap();
    conn.execute("create function touch() returns int language sql as 'select 1'").await.unwrap();
    conn.close().await.unwrap();
    build.finish().await.unwrap();
    name
}

async fn make(test: &TestTenants, template: &TemplateName, environment: EnvironmentId) -> Login {
    test.tenants.create_database(environment, RunId::new(), Stage::Development, template, 4).await.unwrap()
}

#[tokio::test]
async fn an_environment_owns_everything_in_its_copy() {
    let test = TestTenants::start().await;
    let template = template(&test).await;
    let environment = EnvironmentId::new();
    let login = make(&test, &template, environment).await;
    assert_eq!(login.database, database_name(environment));
    let mut conn = enter(&test, &login, &login.database).await.unwrap();
    conn.execute("alter table res_users add column name text; insert into res_users (login) values ('demo')")
        .await
        .unwrap();
    conn.execute("drop function touch(); create schema own; create table public.more (id int)")
        .await
        .unwrap();
    let ready = "select similarity('odoo', 'odo') > 0, unaccent('é') = 'e'";
    let row = conn.fetch_one(ready).await.unwrap();
    assert!(row.get::<bool, _>(0) && row.get::<bool, _>(1));
    let foreign = "select count(*) from pg_class where relnamespace = 'public'::regnamespace
                   and pg_get_userbyid(relowner) not in (current_user, 'postgres')";
    assert_eq!(conn.fetch_one(foreign).await.unwrap().get::<i64, _>(0), 0);
    assert!(test.tenants.database_size(environment).await.unwrap().unwrap() > 1 << 20);
}

#[tokio::test]
async fn creating_and_dropping_may_be_repeated_from_any_statement() {
    let test = TestTenants::start().await;
    let template = template(&test).await;
    let environment = EnvironmentId::new();
    let name = database_name(environment);
    let mut superuser = test.cluster.superuser_options().connect().await.unwrap();
    // What a kill leaves after each statement of create_database.
    let role = format!("create role {name}");
    let states: [&[String]; 4] = [
        &[],
        std::slice::from_ref(&role),
        &[format!(
            "create database {name} template template_{template} owner odooops_admin allow_connections false"
        )],
        &[format!("create database {name} template template_{template} owner odooops_admin")],
    ];
    for statements in states {
        for statement in statements {
            superuser.execute(statement.as_str()).await.unwrap();
        }
        let login = make(&test, &template, environment).await;
        let again = make(&test, &template, environment).await;
        assert!(enter(&test, &login, &name).await.is_err(), "the first password is no longer good");
        enter(&test, &again, &name).await.unwrap();
        test.tenants.drop_database(environment).await.unwrap();
        test.tenants.drop_database(environment).await.unwrap();
        assert!(test.tenants.list_databases().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_template_left_unfinished_is_begun_again_and_a_finished_one_is_not() {
    let test = TestTenants::start().await;
    let name: TemplateName = "19_0".parse().unwrap();
    assert_eq!(test.tenants.template_state(&name).await.unwrap(), TemplateState::Missing);
    let first = test.tenants.create_template(&name).await.unwrap().unwrap();
    let old = first.login.clone();
    assert_eq!(test.tenants.template_state(&name).await.unwrap(), TemplateState::Unfinished);
    let refused =
        test.tenants.create_database(EnvironmentId::new(), RunId::new(), Stage::Development, &name, 4).await;
    assert!(refused.is_err(), "an unfinished template is not copied");
    drop(first);
    let second = test.tenants.create_template(&name).await.unwrap().unwrap();
    assert!(enter(&test, &old, &old.database).await.is_err());
    let held = enter(&test, &second.login, &second.login.database).await.unwrap();
    let login = second.login.clone();
    second.finish().await.unwrap();
    drop(held);
    assert!(enter(&test, &login, &login.database).await.is_err(), "a finished template has no login");
    assert_eq!(test.tenants.template_state(&name).await.unwrap(), TemplateState::Finished);
    assert!(test.tenants.create_template(&name).await.unwrap().is_none());
    assert_eq!(test.tenants.list_templates().await.unwrap(), std::slice::from_ref(&name));
    assert!(test.tenants.drop_template(&name).await.unwrap());
    assert_eq!(test.tenants.template_state(&name).await.unwrap(), TemplateState::Missing);
}

#[tokio::test]
async fn two_makers_of_one_template_make_it_once() {
    let test = TestTenants::start().await;
    let name: TemplateName = "19_0".parse().unwrap();
    let first = test.tenants.create_template(&name).await.unwrap().unwrap();
    let (tenants, same) = (test.tenants.clone(), name.clone());
    let second =
        tokio::spawn(async move { tenants.create_template(&same).await.map(|build| build.is_none()) });
    first.finish().await.unwrap();
    assert!(second.await.unwrap().unwrap(), "the second waited and found it finished");
}

#[tokio::test]
async fn threat_02_an_environment_gets_into_no_database_but_its_own() {
    let test = TestTenants::start().await;
    let template = template(&test).await;
    let (one, two) = (EnvironmentId::new(), EnvironmentId::new());
    let (login, other) = (make(&test, &template, one).await, make(&test, &template, two).await);
    enter(&test, &login, &login.database).await.unwrap();
    for database in [other.database.as_str(), "postgres", "template1", "template0", "template_19_0_demo"] {
        assert!(enter(&test, &login, database).await.is_err(), "{database}");
    }
    let mut conn = enter(&test, &login, &login.database).await.unwrap();
    let forbidden = [
        "create database mine".to_owned(),
        "create role mine".to_owned(),
        format!("set role {}", other.role),
        "set role odooops_admin".to_owned(),
        "copy (select 1) to program 'true'".to_owned(),
        "select pg_read_file('/etc/passwd')".to_owned(),
        format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'odooops_admin' or datname = '{}'",
            other.database
        ),
        "select rolpassword from pg_authid".to_owned(),
        format!("alter role {} connection limit 100", login.role),
    ];
    test.tenants.list_databases().await.unwrap();
    for sql in forbidden {
        assert!(conn.execute(sql.as_str()).await.is_err(), "{sql}");
    }
}

#[tokio::test]
async fn threat_17_an_environment_has_no_more_connections_than_its_limit() {
    let test = TestTenants::start().await;
    let template = template(&test).await;
    let login = make(&test, &template, EnvironmentId::new()).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(enter(&test, &login, &login.database).await.unwrap());
    }
    assert!(enter(&test, &login, &login.database).await.is_err());
}

#[tokio::test]
async fn threat_10_a_database_cannot_trap_the_administrator() {
    let test = TestTenants::start().await;
    let template = template(&test).await;
    let environment = EnvironmentId::new();
    let login = make(&test, &template, environment).await;
    let mut conn = enter(&test, &login, &login.database).await.unwrap();
    conn.execute(format!("alter database {} set search_path = trap, pg_catalog", login.database).as_str())
        .await
        .unwrap();
    let mut inside = test.tenants.admin_options(&login.database).connect().await.unwrap();
    let path = inside.fetch_one("show search_path").await.unwrap().get::<String, _>(0);
    assert_eq!(path, "pg_catalog");
}

#[tokio::test]
async fn dropping_ends_sessions_and_another_installation_is_not_listed() {
    let test = TestTenants::start().await;
    let template = template(&test).await;
    let (environment, run) = (EnvironmentId::new(), RunId::new());
    let login =
        test.tenants.create_database(environment, run, Stage::Development, &template, 4).await.unwrap();
    let listed = test.tenants.list_databases().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].environment, listed[0].run, listed[0].exists), (environment, run, true));
    let stranger = Tenants::new(test.tenants.admin_options("postgres"), InstallationId::new());
    assert!(stranger.list_databases().await.unwrap().is_empty());
    let mut held = enter(&test, &login, &login.database).await.unwrap();
    test.tenants.drop_database(environment).await.unwrap();
    assert!(held.execute("select 1").await.is_err());
    assert!(test.tenants.list_databases().await.unwrap().is_empty());
}

#[test]
fn names_of_templates_are_checked() {
    for good in ["19_0", "a", "base_demo_4f2a91"] {
        assert!(good.parse::<TemplateName>().is_ok(), "{good}");
    }
    for bad in ["", "A", "a-b", "a\"", "a;", "ü", &"a".repeat(41)] {
        assert!(bad.parse::<TemplateName>().is_err(), "{bad}");
    }
}
