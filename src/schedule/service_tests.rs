//! Who may do what with schedules, and what is refused at which field.

use super::{MaintenanceTask, NewSchedule, ScheduleChange, ScheduleRunState, Work, fixture::Yard, service};
use crate::{Error, access::Actor, branch::BranchName, id::ScheduleId, project::Slug};
use sqlx::PgConnection;

fn code(error: &Error) -> String {
    error.detail().map_or_else(|| error.to_string(), |detail| detail.code.clone().into_owned())
}

#[tokio::test]
async fn a_schedule_lives_and_every_act_is_in_the_audit_log() {
    let mut yard = Yard::new().await;
    let owner = yard.person("owner", Some("owner")).await;
    let id = yard
        .create(&owner, &NewSchedule { time_zone: Some("Europe/Brussels".into()), ..yard.hourly() })
        .await
        .unwrap();
    let mut txn = yard.begin(&owner).await;
    let shop = Slug::parse("shop").unwrap();
    let listed = service::list(&mut txn, &owner, Some(&shop)).await.unwrap();
    assert_eq!(listed.len(), 1);
    let view = service::view(&mut txn, &owner, id).await.unwrap();
    assert_eq!(listed[0], view);
    assert_eq!(view.branch.as_ref().map(BranchName::as_str), Some("feature"));
    assert!(view.enabled && !view.built_in && view.last.is_none() && view.next_due_at.is_some());

    let asked = service::run_now_in_txn(&mut txn, &owner, id).await.unwrap();
    assert_eq!(asked.state, ScheduleRunState::Queued);
    assert!(asked.run_id.is_some() && asked.run_status.is_some());
    let again = service::run_now_in_txn(&mut txn, &owner, id).await.unwrap();
    assert_eq!((again.state, again.run_id), (ScheduleRunState::Skipped, asked.run_id));
    // Asking does not move when it is due.
    assert_eq!(service::view(&mut txn, &owner, id).await.unwrap().next_due_at, view.next_due_at);
    assert_eq!(service::history(&mut txn, &owner, id, 10).await.unwrap().len(), 2);

    service::set_enabled_in_txn(&mut txn, &owner, id, false).await.unwrap();
    assert_eq!(service::view(&mut txn, &owner, id).await.unwrap().next_due_at, None);
    service::set_enabled_in_txn(&mut txn, &owner, id, true).await.unwrap();
    assert_eq!(service::view(&mut txn, &owner, id).await.unwrap().next_due_at, view.next_due_at);
    service::delete_in_txn(&mut txn, &owner, id).await.unwrap();
    assert_eq!(code(&service::view(&mut txn, &owner, id).await.unwrap_err()), "schedule");
    txn.commit().await.unwrap();
    let acts = sqlx::query_scalar!(
        "select action from ops.audit_log where user_id = $1 and object_type = 'schedule' order by id",
        owner.user_id.0
    );
    let acts = acts.fetch_all(&mut yard.superuser).await.unwrap();
    let expected =
        ["create", "run", "run", "disable", "enable", "delete"].map(|act| format!("schedule.{act}"));
    assert_eq!(acts, expected);
}

#[tokio::test]
async fn rights() {
    let mut yard = Yard::new().await;
    let id = yard.create(&yard.admin, &yard.hourly()).await.unwrap();
    let built_in = sqlx::query_scalar!("select id from ops.schedules where built_in");
    let built_in = ScheduleId(built_in.fetch_one(&mut yard.superuser).await.unwrap());
    // Person, project's schedule: seen, changed.
    for (role, sees, changes) in [
        (None, "project", "project"),
        (Some("viewer"), "", "access.role"),
        (Some("developer"), "", "access.role"),
        (Some("tester"), "", "access.role"),
        (Some("admin"), "", ""),
        (Some("owner"), "", ""),
    ] {
        let person = yard.person(role.unwrap_or("stranger"), role).await;
        let stranger = role.is_none();
        let refused = |result: Result<(), Error>| result.err().map(|error| code(&error)).unwrap_or_default();
        let hidden = |expected: &str| if stranger { "schedule".to_owned() } else { expected.to_owned() };
        let shop = Slug::parse("shop").unwrap();
        let mut txn = yard.begin(&person).await;
        assert_eq!(
            refused(service::list(&mut txn, &person, Some(&shop)).await.map(drop)),
            sees,
            "{role:?} lists"
        );
        assert_eq!(
            refused(service::view(&mut txn, &person, id).await.map(drop)),
            hidden(sees),
            "{role:?} looks"
        );
        assert_eq!(
            refused(service::history(&mut txn, &person, id, 1).await.map(drop)),
            hidden(sees),
            "{role:?} reads"
        );
        let named = NewSchedule { name: format!("of {role:?}"), ..yard.hourly() };
        let created = service::create_in_txn(&mut txn, &person, &named).await;
        assert_eq!(refused(created.map(drop)), changes, "{role:?} creates");
        let changed = service::set_enabled_in_txn(&mut txn, &person, id, true).await;
        assert_eq!(refused(changed), hidden(changes), "{role:?} enables");
        let ran = service::run_now_in_txn(&mut txn, &person, id).await;
        assert_eq!(refused(ran.map(drop)), hidden(changes), "{role:?} runs");
        // The platform's own are not theirs to see, or to make.
        assert_eq!(refused(service::list(&mut txn, &person, None).await.map(drop)), "access.platform_admin");
        for result in [
            service::view(&mut txn, &person, built_in).await.map(drop),
            service::run_now_in_txn(&mut txn, &person, built_in).await.map(drop),
            service::set_enabled_in_txn(&mut txn, &person, built_in, false).await,
            service::delete_in_txn(&mut txn, &person, built_in).await,
        ] {
            assert_eq!(refused(result), "schedule", "{role:?}");
        }
        let platform = NewSchedule {
            project: None,
            work: Work::Maintenance { task: MaintenanceTask::Retention },
            ..named
        };
        let created = service::create_in_txn(&mut txn, &person, &platform).await;
        assert_eq!(refused(created.map(drop)), "access.platform_admin", "{role:?}");
        drop(txn);
        behind_the_services(&yard, &person, changes.is_empty(), id, built_in).await;
    }
    let admin = yard.admin;
    let mut txn = yard.begin(&admin).await;
    assert_eq!(service::list(&mut txn, &admin, None).await.unwrap().len(), 2);
    assert_eq!(
        code(&service::delete_in_txn(&mut txn, &admin, built_in).await.unwrap_err()),
        "schedule.built_in"
    );
    service::set_enabled_in_txn(&mut txn, &admin, built_in, false).await.unwrap();
}

/// The same through SQL alone, where only policies and grants stand.
async fn behind_the_services(
    yard: &Yard,
    person: &Actor,
    administers: bool,
    id: ScheduleId,
    built_in: ScheduleId,
) {
    let mut txn = yard.begin(person).await;
    let stop = sqlx::query!("update ops.schedules set enabled = false where id = $1", id.0);
    assert_eq!(stop.execute(&mut *txn).await.unwrap().rows_affected(), u64::from(administers));
    let stop = sqlx::query!("update ops.schedules set enabled = false where id = $1", built_in.0);
    assert_eq!(stop.execute(&mut *txn).await.unwrap().rows_affected(), 0);
    let delete = sqlx::query!("delete from ops.schedules where id = any ($1)", &[id.0, built_in.0]);
    assert_eq!(delete.execute(&mut *txn).await.unwrap().rows_affected(), u64::from(administers));
    drop(txn);
    for refused in [
        "insert into ops.schedule_runs (schedule_id, due_at, state) select id, now(), 'waiting' from ops.schedules",
        "update ops.schedules set built_in = true",
        "update ops.schedules set project_id = null",
        "update ops.schedules set last_due_at = now()",
        "insert into ops.schedules (name, cron, kind) values ('mine', '* * * * *', 'maintenance')",
        "insert into ops.leaders (name, holder, lease, expires_at) values ('schedules', 'me', 1, now())",
        "update ops.retention_settings set days = 1",
        "delete from ops.leaders",
        "select ops.lead('schedules', 'me')",
        "select ops.drop_expired_partitions()",
        "select ops.remove_expired_credentials()",
        "select ops.ensure_partitions()",
    ] {
        let mut txn = yard.begin(person).await;
        let error = sqlx::raw_sql(refused).execute(&mut *txn).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().unwrap(), "42501", "{refused}");
    }
    // The function that runs one checks for itself.
    let mut txn = yard.begin(person).await;
    let error =
        sqlx::query!(r#"select (ops.run_schedule($1)).id as "id!""#, built_in.0).fetch_one(&mut *txn).await;
    assert_eq!(error.unwrap_err().as_database_error().unwrap().code().unwrap(), "P0002");
}

#[tokio::test]
async fn what_makes_no_schedule_is_refused_at_its_field() {
    let yard = Yard::new().await;
    let good = yard.hourly();
    yard.create(&yard.admin, &good).await.unwrap();
    let good = NewSchedule { name: "other".to_owned(), ..good };
    let branch = |name: &str| Work::Build { branch: BranchName::parse(name).unwrap() };
    let retention = Work::Maintenance { task: MaintenanceTask::Retention };
    let cases = [
        (NewSchedule { name: " ".into(), ..good.clone() }, "name", "schedule.name_length"),
        (NewSchedule { name: "x".repeat(101), ..good.clone() }, "name", "schedule.name_length"),
        (NewSchedule { name: "two\nlines".into(), ..good.clone() }, "name", "schedule.name_length"),
        (NewSchedule { name: "hourly".into(), ..good.clone() }, "name", "schedule.name_taken"),
        (NewSchedule { cron: "61 * * * *".into(), ..good.clone() }, "cron", "schedule.cron"),
        (NewSchedule { cron: "0 0 31 2 *".into(), ..good.clone() }, "cron", "schedule.never"),
        (
            NewSchedule { time_zone: Some("Brussels".into()), ..good.clone() },
            "time_zone",
            "schedule.time_zone",
        ),
        (NewSchedule { work: branch("nowhere"), ..good.clone() }, "branch", "branch.unknown"),
        (NewSchedule { work: branch("main"), ..good.clone() }, "branch", "schedule.production"),
        (NewSchedule { work: retention.clone(), ..good.clone() }, "kind", "schedule.platform_only"),
        (NewSchedule { project: None, ..good.clone() }, "project", "schedule.needs_project"),
    ];
    for (new, at, expected) in cases {
        let error = yard.create(&yard.admin, &new).await.unwrap_err();
        let Error::Invalid { field, detail } = &error else { panic!("{new:?}: {error:?}") };
        assert_eq!((field.as_str(), &*detail.code), (at, expected), "{new:?}");
    }
    let elsewhere = NewSchedule { project: Some(Slug::parse("nowhere").unwrap()), ..good };
    assert_eq!(code(&yard.create(&yard.admin, &elsewhere).await.unwrap_err()), "project");
}

#[tokio::test]
async fn a_changed_schedule_is_due_by_its_new_time() {
    let yard = Yard::new().await;
    let admin = yard.admin;
    let mut txn = yard.begin(&admin).await;
    let id = service::create_in_txn(&mut txn, &admin, &yard.hourly()).await.unwrap();
    let other = NewSchedule { name: "other".to_owned(), ..yard.hourly() };
    service::create_in_txn(&mut txn, &admin, &other).await.unwrap();
    let before = service::view(&mut txn, &admin, id).await.unwrap();
    let zone = Some("Europe/Brussels".to_owned());
    let change =
        ScheduleChange { cron: Some("30 2 1 1 *".to_owned()), time_zone: zone, ..ScheduleChange::default() };
    service::change_in_txn(&mut txn, &admin, id, &change).await.unwrap();
    let after = service::view(&mut txn, &admin, id).await.unwrap();
    assert_eq!((&after.name, after.cron.as_str()), (&before.name, "30 2 1 1 *"));
    let local = after.next_due_local.unwrap();
    assert!(local.ends_with("-01-01 02:30 CET"), "{local}");
    assert!(after.reading.unwrap().contains("02:30"));

    let refused = async |txn: &mut PgConnection, change: ScheduleChange| {
        code(&service::change_in_txn(txn, &admin, id, &change).await.unwrap_err())
    };
    let cron = ScheduleChange { cron: Some("0 0 30 2 *".to_owned()), ..ScheduleChange::default() };
    assert_eq!(refused(&mut txn, cron).await, "schedule.never");
    let name = ScheduleChange { name: Some(" ".to_owned()), ..ScheduleChange::default() };
    assert_eq!(refused(&mut txn, name).await, "schedule.name_length");

    // A stopped one is not due, whatever it is changed to.
    let stop =
        ScheduleChange { enabled: Some(false), cron: Some("@daily".to_owned()), ..ScheduleChange::default() };
    service::change_in_txn(&mut txn, &admin, id, &stop).await.unwrap();
    let stopped = service::view(&mut txn, &admin, id).await.unwrap();
    assert_eq!((stopped.enabled, stopped.next_due_at, stopped.cron.as_str()), (false, None, "@daily"));
    let cron = ScheduleChange { cron: Some("@hourly".to_owned()), ..ScheduleChange::default() };
    service::change_in_txn(&mut txn, &admin, id, &cron).await.unwrap();
    assert_eq!(service::view(&mut txn, &admin, id).await.unwrap().next_due_at, None);

    // Last: what PostgreSQL refuses ends the transaction.
    let taken = ScheduleChange { name: Some("other".to_owned()), ..ScheduleChange::default() };
    assert_eq!(refused(&mut txn, taken).await, "schedule.name_taken");
}

#[tokio::test]
async fn a_pattern_is_read_before_it_counts() {
    let yard = Yard::new().await;
    let admin = yard.admin;
    let mut txn = yard.begin(&admin).await;
    let preview = service::preview(&mut txn, &admin, " 0 12 * * * ", "Asia/Tokyo").await.unwrap();
    assert!(preview.reading.contains("12:00"), "{}", preview.reading);
    assert_eq!(preview.next.len(), 3);
    assert!(preview.next.iter().all(|time| time.ends_with("12:00 JST")), "{:?}", preview.next);
    let refused = service::preview(&mut txn, &admin, "0 12 * *", "UTC").await.unwrap_err();
    assert_eq!(code(&refused), "schedule.cron");
    let refused = service::preview(&mut txn, &admin, "@daily", "Mars/Olympus").await.unwrap_err();
    assert_eq!(code(&refused), "schedule.time_zone");
}
