//! Where runs go by what their project asks for and what hosts have, set as people set it.

use super::claim_tests::{GIB, Yard};
use crate::{
    id::{HostId, RunId},
    postgres::ops::Role,
    run::RunKind,
};
use sqlx::{ConnectOptions, Connection, Executor, Row};

impl Yard {
    async fn project_asks(&mut self, labels: &[&str]) {
        let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
        sqlx::query!("select ops.set_project_labels(id, $1) from ops.projects where slug = 'shop'", &labels)
            .fetch_one(&mut self.superuser)
            .await
            .unwrap();
    }

    async fn host_has(&mut self, host: HostId, labels: &[&str]) {
        let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
        sqlx::query!("select ops.set_host_labels($1, $2)", host.0, &labels)
            .fetch_one(&mut self.superuser)
            .await
            .unwrap();
    }

    /// After two seconds anybody takes a run, however long the test takes.
    async fn queue_lately(&mut self) -> RunId {
        let run = self.queue().await;
        self.age(run, -300.0).await;
        run
    }

    async fn requires(&mut self, run: RunId) -> Vec<String> {
        let requires = sqlx::query_scalar!("select requires from ops.runs where id = $1", run.0);
        requires.fetch_one(&mut self.superuser).await.unwrap()
    }
}

#[tokio::test]
async fn a_project_s_runs_go_only_where_its_labels_are() {
    let mut yard = Yard::new().await;
    let small = yard.worker("small", 8, 4 * GIB).await;
    let large = yard.worker("large", 8, 12 * GIB).await;
    yard.host_has(large, &["eu"]).await;
    yard.project_asks(&["ssd", "eu"]).await;
    let run = yard.queue().await;
    assert_eq!(yard.requires(run).await, ["ssd", "eu"]);
    yard.age(run, 3.0).await;
    assert_eq!((yard.claim("small").await, yard.claim("large").await), (None, None));
    yard.host_has(small, &["eu", "gpu", "ssd"]).await;
    assert_eq!(yard.claim("large").await, None);
    assert_eq!(yard.claim("small").await, Some(run));

    // A run that waits asks for what the project asks for now; one that is bound to a host goes there.
    let (waits, bound) = (yard.queue().await, yard.queue_kind(RunKind::Backup).await);
    sqlx::query!("update ops.runs set requires = '{}', host_id = $2 where id = $1", bound.0, large.0)
        .execute(&mut yard.superuser)
        .await
        .unwrap();
    yard.project_asks(&["nowhere"]).await;
    assert_eq!(yard.requires(waits).await, ["nowhere"]);
    assert_eq!((yard.claim("small").await, yard.claim("large").await), (None, Some(bound)));
    yard.project_asks(&[]).await;
    assert_eq!(yard.claim("large").await, Some(waits));
}

/// Each way into the queue says it for itself.
#[tokio::test]
async fn what_is_queued_by_a_schedule_or_again_asks_for_the_project_s_labels() {
    let mut yard = Yard::new().await;
    yard.worker("one", 8, 4 * GIB).await;
    let run = yard.queue().await;
    assert_eq!(yard.claim("one").await, Some(run));
    let bound = yard.queue_kind(RunKind::Backup).await;
    let end = "update ops.runs set status = 'failed', finished_at = now(), lease_expires_at = null;
               update ops.runs r set host_id = h.id from ops.hosts h where r.kind = 'backup';
               insert into ops.branches (project_id, name, stage, head_sha)
                   select id, 'main', 'development', repeat('a', 40) from ops.projects;
               insert into ops.schedules (project_id, name, cron, kind, params)
                   select p.id, v.kind, '@daily', v.kind, v.params from ops.projects p
                   cross join lateral (
                       select 'build' as kind, jsonb_build_object('branch_id', b.id) as params from ops.branches b
                       union all select 'test', '{}'
                   ) v";
    yard.superuser.execute(end).await.unwrap();
    yard.project_asks(&["eu"]).await;
    assert_eq!(yard.requires(run).await, [""; 0], "what has ended stays as it was");
    for (old, expected) in [(run, vec!["eu"]), (bound, vec![])] {
        let again = sqlx::query_scalar!(r#"select ops.rerun($1) as "id!""#, old.0);
        let again = RunId(again.fetch_one(&mut yard.superuser).await.unwrap());
        assert_eq!(yard.requires(again).await, expected);
    }
    let queued = sqlx::query_scalar!(
        r#"select (ops.run_schedule(id)).run_id as "run!" from ops.schedules where project_id is not null"#
    );
    let queued = queued.fetch_all(&mut yard.superuser).await.unwrap();
    assert_eq!(queued.len(), 2);
    for run in queued {
        assert_eq!(yard.requires(run.into()).await, ["eu"]);
    }
}

/// Members who write rows themselves do not get around it.
#[tokio::test]
async fn who_inserts_a_run_asks_for_what_its_project_asks_for() {
    let mut yard = Yard::new().await;
    yard.project_asks(&["eu"]).await;
    let member = sqlx::query_scalar!(
        "with member as (insert into ops.users (name, email) values ('x', 'x@example.test') returning id)
         insert into ops.project_memberships (project_id, user_id, role)
         select p.id, member.id, 'admin' from ops.projects p, member returning user_id"
    );
    let member = member.fetch_one(&mut yard.superuser).await.unwrap();
    let mut web = yard.db.options(Role::Web).connect().await.unwrap();
    sqlx::query!("select set_config('ops.user_id', $1, false)", member.to_string())
        .fetch_one(&mut web)
        .await
        .unwrap();
    for (requires, passes) in [("'{eu}'", true), ("default", false), ("'{us}'", false), ("'{eu,us}'", false)]
    {
        let sql = format!(
            "insert into ops.runs (project_id, kind, git_ref, commit_sha, requires)
             values ((select id from ops.projects), 'build', 'x', repeat('a', 40), {requires})"
        );
        assert_eq!(web.execute(sql.as_str()).await.is_ok(), passes, "{requires}");
    }
    // Nor do those who administer it change the labels without what waits.
    for (column, passes) in [("name = 'x'", true), ("required_labels = '{}'", false)] {
        let update = format!("update ops.projects set {column}");
        assert_eq!(web.execute(update.as_str()).await.is_ok(), passes, "{column}");
    }
}

#[tokio::test]
async fn a_host_with_less_disk_is_not_the_better_one_unless_it_has_plenty() {
    let mut yard = Yard::new().await;
    yard.worker("small", 8, 2 * GIB).await;
    let large = yard.worker("large", 8, 12 * GIB).await;
    let disk = async |yard: &mut Yard, free: Option<i64>| {
        let set = sqlx::query!(
            "update ops.worker_heartbeats
             set disk_free_bytes = case worker_id when 'large' then $1 else disk_free_bytes end,
                 at = clock_timestamp() + interval '5 minutes'",
            free
        );
        set.execute(&mut yard.superuser).await.unwrap();
    };
    // The smaller one has 50 GiB free; the larger keeps two back.
    for (free, waits) in [(Some(3 * GIB), false), (Some(5 * GIB), true), (Some(60 * GIB), true), (None, true)]
    {
        disk(&mut yard, free).await;
        let run = yard.queue_lately().await;
        if waits {
            assert_eq!(yard.claim("small").await, None, "{free:?}");
            assert_eq!(yard.claim("large").await, Some(run), "{free:?}");
        } else {
            assert_eq!(yard.claim("small").await, Some(run), "{free:?}");
        }
    }
    // As much as the other has is enough, whatever it keeps back; and what it keeps back, nothing takes.
    for (kept, waits) in [(40 * GIB, true), (70 * GIB, false)] {
        disk(&mut yard, Some(60 * GIB)).await;
        sqlx::query!("select ops.set_host_limits($1, null, $2)", large.0, kept)
            .fetch_one(&mut yard.superuser)
            .await
            .unwrap();
        let run = yard.queue_lately().await;
        let taken = yard.claim("small").await;
        assert_eq!(taken, (!waits).then_some(run), "{kept}");
        assert_eq!(yard.claim("large").await, waits.then_some(run), "{kept}");
    }
    assert_eq!(yard.hindrance("large").await.as_deref(), Some("disk"));
}

/// In both orders: who queues while labels change, and who changes labels while a run is queued.
#[tokio::test]
async fn a_run_queued_while_labels_change_asks_for_the_new_ones() {
    let mut yard = Yard::new().await;
    let options = yard.db.superuser_options();
    let queue = "select ops.queue_run('shop', 'build', 'refs/heads/main', 'abcdef0')";
    for (labels, first_queues) in [("{eu}", true), ("{us}", false)] {
        let label =
            format!("select ops.set_project_labels(id, '{labels}') from ops.projects where slug = 'shop'");
        let (first, second) = if first_queues { (queue, &*label) } else { (&*label, queue) };
        let mut earlier = options.connect().await.unwrap();
        let mut earlier = earlier.begin().await.unwrap();
        earlier.execute(first).await.unwrap();
        let mut later = options.connect().await.unwrap();
        let waiting: i32 = later.fetch_one("select pg_backend_pid()").await.unwrap().get(0);
        let second = second.to_owned();
        let later = tokio::spawn(async move { later.execute(second.as_str()).await.map(drop) });
        while sqlx::query_scalar!("select pg_blocking_pids($1) = '{}'", waiting)
            .fetch_one(&mut yard.superuser)
            .await
            .unwrap()
            .unwrap()
        {
            assert!(!later.is_finished(), "{labels}: one did not wait for the other");
            tokio::task::yield_now().await;
        }
        earlier.commit().await.unwrap();
        later.await.unwrap().unwrap();
        let all = "select requires::text from ops.runs where status = 'queued'";
        for row in yard.superuser.fetch_all(all).await.unwrap() {
            assert_eq!(row.get::<String, _>(0), labels);
        }
    }
}
