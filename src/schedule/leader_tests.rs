//! One leads; what is due is done once, whoever dies.

use super::{
    NewSchedule, ScheduleRunState, Work, fixture::Yard, keep_leading, leader::Leader, model::MaintenanceTask,
    service,
};
use crate::id::ScheduleId;
use chrono::{DateTime, Utc};
use sqlx::Acquire;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

impl Yard {
    fn leader(&self, holder: &str) -> Leader {
        Leader::new(self.db.worker.clone(), holder.to_owned())
    }

    async fn last(&mut self, id: ScheduleId) -> super::ScheduleRun {
        let admin = self.admin;
        let mut txn = self.begin(&admin).await;
        service::history(&mut txn, &admin, id, 1).await.unwrap().remove(0)
    }

    async fn retention(&mut self) -> ScheduleId {
        let id = sqlx::query_scalar!("select id from ops.schedules where built_in");
        ScheduleId(id.fetch_one(&mut self.superuser).await.unwrap())
    }

    async fn holder(&mut self) -> String {
        let holder = sqlx::query_scalar!("select holder from ops.leaders where name = 'schedules'");
        holder.fetch_one(&mut self.superuser).await.unwrap()
    }

    /// As if the leader had been silent for longer than its lease.
    async fn expire_lead(&mut self) {
        let done = sqlx::query!("update ops.leaders set expires_at = now() - interval '1 second'");
        assert_eq!(done.execute(&mut self.superuser).await.unwrap().rows_affected(), 1);
    }

    async fn lease(&mut self) -> i64 {
        let lease = sqlx::query_scalar!("select lease from ops.leaders where name = 'schedules'");
        lease.fetch_one(&mut self.superuser).await.unwrap()
    }
}

async fn fire(
    yard: &Yard,
    id: ScheduleId,
    lease: i64,
    due: DateTime<Utc>,
    next: DateTime<Utc>,
) -> Result<usize, sqlx::Error> {
    let fired = sqlx::query_scalar!(
        r#"select id as "id!" from ops.fire_schedule($1, $2, $3, 0, $4)"#,
        id.0,
        due,
        next,
        lease
    );
    Ok(fired.fetch_all(&yard.db.worker).await?.len())
}

fn sqlstate<T>(result: Result<T, sqlx::Error>) -> String {
    let Err(error) = result else { panic!("it was not refused") };
    error.as_database_error().and_then(|e| e.code()).unwrap_or_default().into_owned()
}

/// In real time: the other process goes on within the lease of the one that was killed.
#[tokio::test]
async fn another_takes_over_when_the_leader_is_killed() {
    let mut yard = Yard::new().await;
    let id = yard.create(&yard.admin, &yard.hourly()).await.unwrap();
    let stop = CancellationToken::new();
    let first = tokio::spawn(keep_leading(yard.db.worker.clone(), "first".into(), stop.clone()));
    wait_for(&mut yard, async |yard| leads(yard, "first").await).await;
    let second = tokio::spawn(keep_leading(yard.db.worker.clone(), "second".into(), stop.clone()));

    // While it leads, only the first does what is due.
    yard.was_due(id, 1).await;
    wait_for(&mut yard, async |yard| yard.runs().await == 1).await;
    assert_eq!(yard.holder().await, "first");

    // Like kill -9: nothing is told to anybody.
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    yard.finish_runs().await;
    yard.was_due(id, 0).await;
    wait_for(&mut yard, async |yard| yard.runs().await == 2).await;
    assert_eq!(yard.holder().await, "second");

    // Told to stop, it makes room at once.
    stop.cancel();
    second.await.unwrap();
    let mut third = yard.leader("third");
    assert!(third.step().await.unwrap());
}

async fn leads(yard: &mut Yard, holder: &str) -> bool {
    let leads = sqlx::query_scalar!(
        r#"select exists (select from ops.leaders where holder = $1) as "leads!""#,
        holder
    );
    leads.fetch_one(&mut yard.superuser).await.unwrap()
}

async fn wait_for(yard: &mut Yard, mut condition: impl AsyncFnMut(&mut Yard) -> bool) {
    let end = Instant::now() + Duration::from_secs(150);
    while !condition(yard).await {
        assert!(Instant::now() < end, "it did not happen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Yard {
    async fn finish_runs(&mut self) {
        sqlx::query!("update ops.runs set status = 'succeeded', finished_at = now()")
            .execute(&mut self.superuser)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn ten_missed_times_are_made_up_for_by_one() {
    let mut yard = Yard::new().await;
    let id = yard.create(&yard.admin, &yard.hourly()).await.unwrap();
    let mut leader = yard.leader("one");
    // Not due yet.
    assert!(leader.step().await.unwrap());
    assert_eq!(yard.runs().await, 0);
    yard.was_due(id, 10).await;
    for _ in 0..3 {
        assert!(leader.step().await.unwrap());
    }
    let run = sqlx::query!(
        r#"select r.kind, r.status, r.serial_key, r.git_ref, r.params ->> 'stage' as stage, r.idempotency_key as "key!",
               s.next_due_at > now() and s.next_due_at <= now() + interval '1 hour' as "ahead!",
               s.last_run_id = r.id as "is_last!"
           from ops.runs r, ops.schedules s where s.id = $1"#,
        id.0
    );
    let run = run.fetch_one(&mut yard.superuser).await.unwrap();
    assert_eq!(
        (run.kind.as_str(), run.status.as_str(), run.stage.as_deref()),
        ("build", "queued", Some("development"))
    );
    assert_eq!(run.serial_key, Some(format!("branch:{}", yard.branch)));
    assert_eq!(run.git_ref, "refs/heads/feature");
    assert!(run.key.starts_with(&format!("schedule:{id}:")), "{}", run.key);
    assert!(run.ahead && run.is_last);
    let last = yard.last(id).await;
    assert_eq!((last.missed, last.state), (10, ScheduleRunState::Queued));
}

/// Both think that they lead: the database knows who does.
#[tokio::test]
async fn a_leader_that_was_thought_dead_changes_nothing() {
    let mut yard = Yard::new().await;
    let id = yard.create(&yard.admin, &yard.hourly()).await.unwrap();
    let (mut old, mut new) = (yard.leader("old"), yard.leader("new"));
    assert!(old.step().await.unwrap());
    assert!(!new.step().await.unwrap());
    let lease = yard.lease().await;
    yard.expire_lead().await;
    assert!(new.step().await.unwrap());
    yard.was_due(id, 1).await;
    let due = sqlx::query_scalar!(r#"select next_due_at as "at!" from ops.schedules where id = $1"#, id.0)
        .fetch_one(&mut yard.superuser)
        .await
        .unwrap();
    let next = due + chrono::TimeDelta::hours(2);
    assert_eq!(sqlstate(fire(&yard, id, lease, due, next).await), "55000");
    let now = sqlx::query_scalar!("select ops.claim_schedule_run($1) is null", lease)
        .fetch_all(&yard.db.worker)
        .await;
    assert_eq!(sqlstate(now), "55000");
    assert!(!old.step().await.unwrap());
    assert_eq!(yard.runs().await, 0);
    // Nor does the right one before its time, nor for a time that is not the schedule's.
    let lease = yard.lease().await;
    assert!(fire(&yard, id, lease, due - chrono::TimeDelta::hours(1), next).await.unwrap() == 0);
    // Four at once: one of them does it.
    let all = futures::future::join_all((0..4).map(|_| fire(&yard, id, lease, due, next))).await;
    assert_eq!(all.into_iter().map(|fired| fired.unwrap()).sum::<usize>(), 1);
    assert_eq!(sqlstate(fire(&yard, id, lease, next, next + chrono::TimeDelta::hours(1)).await), "22023");
    assert_eq!(yard.runs().await, 1);
}

/// The process dies after the run was queued and before the transaction ends: as if it had never begun.
#[tokio::test]
async fn what_is_due_is_queued_and_moved_on_together() {
    let mut yard = Yard::new().await;
    let id = yard.create(&yard.admin, &yard.hourly()).await.unwrap();
    yard.was_due(id, 3).await;
    let mut leader = yard.leader("one");
    // It leads, and has found nothing due so far.
    sqlx::query!("update ops.schedules set enabled = false where id = $1", id.0)
        .execute(&mut yard.superuser)
        .await
        .unwrap();
    leader.step().await.unwrap();
    sqlx::query!("update ops.schedules set enabled = true where id = $1", id.0)
        .execute(&mut yard.superuser)
        .await
        .unwrap();
    yard.was_due(id, 3).await;
    let lease = yard.lease().await;
    let mut conn = yard.db.worker.acquire().await.unwrap();
    let mut txn = conn.begin().await.unwrap();
    let fired = sqlx::query_scalar!(
        r#"select state as "state!" from ops.schedules s,
               ops.fire_schedule(s.id, s.next_due_at, now() + interval '1 hour', 3, $2) where s.id = $1"#,
        id.0,
        lease
    );
    assert_eq!(fired.fetch_one(&mut *txn).await.unwrap(), "queued");
    txn.rollback().await.unwrap();
    assert_eq!(yard.runs().await, 0);
    leader.step().await.unwrap();
    leader.step().await.unwrap();
    assert_eq!(yard.runs().await, 1);
    assert_eq!(yard.last(id).await.missed, 3);
}

#[tokio::test]
async fn stopped_and_archived_ones_do_nothing_and_make_up_for_nothing() {
    let mut yard = Yard::new().await;
    let admin = yard.admin;
    let id = yard.create(&admin, &yard.hourly()).await.unwrap();
    let mut leader = yard.leader("one");
    yard.was_due(id, 5).await;
    let mut txn = yard.begin(&admin).await;
    service::set_enabled_in_txn(&mut txn, &admin, id, false).await.unwrap();
    txn.commit().await.unwrap();
    leader.step().await.unwrap();
    let mut txn = yard.begin(&admin).await;
    service::set_enabled_in_txn(&mut txn, &admin, id, true).await.unwrap();
    txn.commit().await.unwrap();
    leader.step().await.unwrap();
    assert_eq!(yard.runs().await, 0);

    let archive = "update ops.projects set archived_at = now()";
    sqlx::raw_sql(archive).execute(&mut yard.superuser).await.unwrap();
    yard.was_due(id, 5).await;
    leader.step().await.unwrap();
    sqlx::raw_sql("update ops.projects set archived_at = null").execute(&mut yard.superuser).await.unwrap();
    leader.step().await.unwrap();
    assert_eq!(yard.runs().await, 0);
    let ahead = sqlx::query_scalar!(
        r#"select next_due_at > now() as "ahead!" from ops.schedules where id = $1"#,
        id.0
    );
    assert!(ahead.fetch_one(&mut yard.superuser).await.unwrap());
}

#[tokio::test]
async fn a_build_that_makes_no_sense_is_skipped_with_its_reason() {
    let mut yard = Yard::new().await;
    let id = yard.create(&yard.admin, &yard.hourly()).await.unwrap();
    let mut leader = yard.leader("one");
    yard.was_due(id, 0).await;
    leader.step().await.unwrap();
    assert_eq!(yard.last(id).await.state, ScheduleRunState::Queued);
    let cases = [
        ("select 1", "A build of the branch waits already."),
        ("update ops.runs set status = 'succeeded'; update ops.branches set head_sha = null where name = 'feature'", "The branch has no commit."),
        ("update ops.branches set deleted_at = now() where name = 'feature'", "The branch is gone."),
        (
            "update ops.branches set stage = 'development' where name = 'main';
             update ops.branches set deleted_at = null, head_sha = repeat('b', 40), stage = 'production' where name = 'feature'",
            "The branch is production, which no schedule rebuilds.",
        ),
    ];
    for (n, (change, reason)) in cases.into_iter().enumerate() {
        sqlx::raw_sql(change).execute(&mut yard.superuser).await.unwrap();
        yard.was_due(id, i32::try_from(n).unwrap() + 1).await;
        leader.step().await.unwrap();
        let skipped = sqlx::query!(
            r#"select state, error from ops.schedule_runs where schedule_id = $1 order by created_at desc limit 1"#,
            id.0
        );
        let skipped = skipped.fetch_one(&mut yard.superuser).await.unwrap();
        assert_eq!((skipped.state.as_str(), skipped.error.as_deref()), ("skipped", Some(reason)));
    }
    assert_eq!(yard.runs().await, 1);
}

/// A row written by hand, in psql say: the leader says when it is due, or why never.
#[tokio::test]
async fn schedules_written_by_hand_are_understood_or_told_why_not() {
    let mut yard = Yard::new().await;
    sqlx::query!(
        "insert into ops.schedules (project_id, name, cron, time_zone, kind, params)
         values ($1, 'bad', 'every day', 'UTC', 'build', '{}'), ($1, 'nowhere', '0 0 * * *', 'Mars', 'build', '{}'),
                ($1, 'never', '0 0 30 2 *', 'UTC', 'build', '{}'),
                ($1, 'good', '30 2 * * *', 'Europe/Brussels', 'build', jsonb_build_object('branch_id', $2::uuid))",
        yard.project.0,
        yard.branch.0
    )
    .execute(&mut yard.superuser)
    .await
    .unwrap();
    let mut leader = yard.leader("one");
    leader.step().await.unwrap();
    let rows =
        sqlx::query!("select name, next_due_at, error from ops.schedules where not built_in order by name");
    for row in rows.fetch_all(&mut yard.superuser).await.unwrap() {
        let is_good = row.name == "good";
        assert_eq!((row.next_due_at.is_some(), row.error.is_none()), (is_good, is_good), "{}", row.name);
    }
    assert_eq!(yard.runs().await, 0);
    sqlx::raw_sql("update ops.schedules set cron = '0 0 * * *' where name = 'bad'")
        .execute(&mut yard.superuser)
        .await
        .unwrap();
    leader.step().await.unwrap();
    let mended = sqlx::query!("select next_due_at, error from ops.schedules where name = 'bad'");
    let mended = mended.fetch_one(&mut yard.superuser).await.unwrap();
    assert!(mended.next_due_at.is_some() && mended.error.is_none());

    // What it does makes no sense: told when it is due, and nothing else waits for it.
    let fine = yard.create(&yard.admin, &yard.hourly()).await.unwrap();
    sqlx::raw_sql("update ops.schedules set params = '{\"branch_id\": \"feature\"}' where name = 'good'")
        .execute(&mut yard.superuser)
        .await
        .unwrap();
    let good = sqlx::query_scalar!("select id from ops.schedules where name = 'good'");
    let good = ScheduleId(good.fetch_one(&mut yard.superuser).await.unwrap());
    yard.was_due(good, 2).await;
    yard.was_due(fine, 1).await;
    leader.step().await.unwrap();
    assert_eq!(yard.runs().await, 1);
    let told = sqlx::query_scalar!(r#"select error as "error!" from ops.schedules where id = $1"#, good.0);
    let told = told.fetch_one(&mut yard.superuser).await.unwrap();
    assert!(told.contains("uuid"), "{told}");
}

#[tokio::test]
async fn the_platforms_own_work_is_done_and_told() {
    let mut yard = Yard::new().await;
    let id = yard.retention().await;
    let mut leader = yard.leader("one");
    leader.step().await.unwrap();
    yard.was_due(id, 1).await;
    leader.step().await.unwrap();
    leader.finish_work().await;
    leader.step().await.unwrap();
    leader.finish_work().await;
    let last = yard.last(id).await;
    assert_eq!((last.state, last.error.as_deref()), (ScheduleRunState::Succeeded, None));
    assert!(last.result["made"].as_i64().unwrap() > 0, "{}", last.result);
    assert!(last.started_at.is_some() && last.finished_at.is_some());
    assert_eq!(yard.runs().await, 0);
}

/// The leader died at it: the next one does it again, and gives up after three.
#[tokio::test]
async fn the_platforms_work_survives_its_leader() {
    let mut yard = Yard::new().await;
    let admin = yard.admin;
    let id = yard.retention().await;
    let mut txn = yard.begin(&admin).await;
    let asked = service::run_now_in_txn(&mut txn, &admin, id).await.unwrap();
    assert_eq!(asked.state, ScheduleRunState::Waiting);
    txn.commit().await.unwrap();
    // Leaders that claim it and die.
    for (n, holder) in ["one", "two"].into_iter().enumerate() {
        let lease = sqlx::query_scalar!(r#"select ops.lead('schedules', $1) as "lease!""#, holder);
        let lease = lease.fetch_one(&yard.db.worker).await.unwrap();
        let claimed = sqlx::query!(r#"select attempt as "attempt!" from ops.claim_schedule_run($1)"#, lease);
        assert_eq!(claimed.fetch_one(&yard.db.worker).await.unwrap().attempt, i32::try_from(n).unwrap() + 1);
        yard.expire_lead().await;
    }
    let mut leader = yard.leader("three");
    leader.step().await.unwrap();
    leader.finish_work().await;
    assert_eq!(yard.last(id).await.state, ScheduleRunState::Succeeded);

    sqlx::raw_sql(
        "update ops.schedule_runs set state = 'running', lease = 1, attempt = 3, finished_at = null",
    )
    .execute(&mut yard.superuser)
    .await
    .unwrap();
    leader.step().await.unwrap();
    leader.finish_work().await;
    let last = yard.last(id).await;
    assert_eq!((last.state, last.error.as_deref()), (ScheduleRunState::Failed, Some("leader lost")));
}

#[tokio::test]
async fn a_reconcile_that_is_asked_for_wakes_every_host() {
    let mut yard = Yard::new().await;
    let admin = yard.admin;
    let new = NewSchedule {
        project: None,
        name: "look".to_owned(),
        cron: "@daily".to_owned(),
        time_zone: Some("Asia/Tokyo".to_owned()),
        work: Work::Maintenance { task: MaintenanceTask::Reconcile },
    };
    let id = yard.create(&admin, &new).await.unwrap();
    let mut listener = sqlx::postgres::PgListener::connect_with(&yard.db.worker).await.unwrap();
    listener.listen("ops_environment").await.unwrap();
    let mut txn = yard.begin(&admin).await;
    service::run_now_in_txn(&mut txn, &admin, id).await.unwrap();
    txn.commit().await.unwrap();
    let mut leader = yard.leader("one");
    leader.step().await.unwrap();
    leader.finish_work().await;
    timeout(Duration::from_secs(30), listener.recv()).await.unwrap().unwrap();
    assert_eq!(yard.last(id).await.state, ScheduleRunState::Succeeded);
}
