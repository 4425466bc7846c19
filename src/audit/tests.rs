use super::{Entry, Refusals, noting, often::MOST, record_in_txn};
use crate::{
    Error,
    access::{Action, Actor, authorise, begin_as, may},
    id::{ProjectId, RunId, ScheduleId, UserId},
    postgres::{ops::Role, testing::TestDb},
};
use serde_json::json;
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, Row};
use std::net::Ipv4Addr;
use uuid::Uuid;

struct Yard {
    db: TestDb,
    superuser: PgConnection,
    project: ProjectId,
    run: RunId,
}

impl Yard {
    async fn new() -> Self {
        let db = TestDb::new().await;
        let mut superuser = db.superuser_options().connect().await.unwrap();
        let (project, run) = (ProjectId::new(), RunId::new());
        let sql = format!(
            "insert into ops.projects (id, slug, name) values ('{project}', 'demo', 'Demo');
             insert into ops.runs (id, project_id, kind, git_ref, commit_sha)
             values ('{run}', '{project}', 'build', 'refs/heads/x', '0123456789abcdef0123456789abcdef01234567')"
        );
        superuser.execute(sql.as_str()).await.unwrap();
        Self { db, superuser, project, run }
    }

    async fn person(&mut self, role: Option<&str>) -> Actor {
        let id = UserId::new();
        let sql = format!("insert into ops.users (id, name, email) values ('{id}', 'x', '{id}@x')");
        self.superuser.execute(sql.as_str()).await.unwrap();
        if let Some(role) = role {
            let sql = format!(
                "insert into ops.project_memberships (project_id, user_id, role) values ('{}', '{id}', '{role}')",
                self.project
            );
            self.superuser.execute(sql.as_str()).await.unwrap();
        }
        Actor { user_id: id, platform_admin: false, address: Some("192.0.2.7".parse().unwrap()) }
    }

    /// Action, object, outcome, address and whether it is the project's, of everything written down about somebody.
    async fn rows(&mut self, actor: &Actor) -> Vec<String> {
        let sql = format!(
            "select concat_ws(' ', action, object_type, object_id, outcome, address, project_id = '{}', detail ->> 'code')
             from ops.audit_log where user_id = '{}' order by id",
            self.project, actor.user_id
        );
        let rows = self.superuser.fetch_all(sql.as_str()).await.unwrap();
        rows.into_iter().map(|row| row.get(0)).collect()
    }

    async fn ask(&self, refusals: &Refusals, actor: &Actor, action: Action) -> Result<(), Error> {
        let mut txn = begin_as(&self.db.web, actor).await.unwrap();
        let (verdict, refused) = noting(authorise(&mut txn, actor, action)).await;
        refusals.write_down(refused, "TEST");
        verdict
    }
}

#[tokio::test]
async fn nonsense_for_an_address_is_none_and_stops_nothing() {
    let mut yard = Yard::new().await;
    let actor = yard.person(Some("developer")).await;
    for (told, written) in [
        ("", None),
        ("192.0.2.7", Some("192.0.2.7")),
        ("2001:db8::1", Some("2001:db8::1")),
        // Whoever may set it may write only addresses.
        ("10.1.2.3/8", Some("10.1.2.3")),
        ("nonsense", None),
        ("1.2.3.4'; drop table ops.audit_log; --", None),
        ("999.1.1.1", None),
    ] {
        let mut txn = begin_as(&yard.db.web, actor).await.unwrap();
        sqlx::query!("select set_config('ops.client_address', $1, true)", told)
            .fetch_one(&mut *txn)
            .await
            .unwrap();
        let project = Some(yard.project);
        let entry =
            Entry { action: "x", object_type: "y", object_id: told.to_owned(), project, detail: json!({}) };
        record_in_txn(&mut txn, entry).await.unwrap();
        txn.commit().await.unwrap();
        let row = sqlx::query_scalar!("select address from ops.audit_log where object_id = $1", told);
        let address = row.fetch_one(&mut yard.superuser).await.unwrap();
        assert_eq!(address.as_deref(), written, "{told}");
    }
}

/// Whoever else has a login could set the setting.
#[tokio::test]
async fn only_the_consoles_own_login_says_where_somebody_is() {
    let mut yard = Yard::new().await;
    let grant = "grant execute on function ops.client_address() to public";
    yard.superuser.execute(grant).await.unwrap();
    for (role, believed) in [(Some(Role::Web), Some("192.0.2.7")), (Some(Role::Worker), None), (None, None)] {
        let options = role.map_or_else(|| yard.db.superuser_options(), |role| yard.db.options(role));
        let mut conn = options.connect().await.unwrap();
        let mut txn = conn.begin().await.unwrap();
        txn.execute("set local ops.client_address = '192.0.2.7'").await.unwrap();
        let seen: Option<String> = txn.fetch_one("select ops.client_address()").await.unwrap().get(0);
        assert_eq!(seen.as_deref(), believed);
    }
}

#[tokio::test]
async fn who_is_refused_is_written_down_once() {
    let mut yard = Yard::new().await;
    let (viewer, developer) = (yard.person(Some("viewer")).await, yard.person(Some("developer")).await);
    let refusals = Refusals::new(yard.db.web.clone());
    let cancel = Action::CancelRun(yard.run);
    for _ in 0..3 {
        assert_eq!(yard.ask(&refusals, &viewer, cancel).await, Err(Error::forbidden("access.role")));
    }
    assert_eq!(yard.ask(&refusals, &developer, cancel).await, Ok(()));
    assert!(yard.ask(&refusals, &developer, Action::AdministerPlatform).await.is_err());
    refusals.written().await;
    let expected = format!("run.cancel run {} refused 192.0.2.7 t access.role", yard.run);
    assert_eq!(yard.rows(&viewer).await, [expected]);
    let expected = "platform.administer platform refused 192.0.2.7 access.platform_admin";
    assert_eq!(yard.rows(&developer).await, [expected]);
}

#[tokio::test]
async fn what_is_hidden_is_written_down_when_it_is_there() {
    let mut yard = Yard::new().await;
    let (stranger, viewer) = (yard.person(None).await, yard.person(Some("viewer")).await);
    let refusals = Refusals::new(yard.db.web.clone());
    for actor in [stranger, viewer] {
        // Nothing has these.
        for action in [
            Action::ViewRun(RunId(Uuid::now_v7())),
            Action::ViewProject(ProjectId(Uuid::now_v7())),
            Action::ViewSchedule(ScheduleId(Uuid::now_v7())),
        ] {
            assert!(matches!(yard.ask(&refusals, &actor, action).await, Err(Error::NotFound { .. })));
        }
    }
    let view = yard.ask(&refusals, &stranger, Action::ViewRun(yard.run)).await;
    assert!(matches!(view, Err(Error::NotFound { .. })));
    let project = yard.ask(&refusals, &stranger, Action::ViewProject(yard.project)).await;
    assert!(matches!(project, Err(Error::NotFound { .. })));
    assert!(yard.ask(&refusals, &viewer, Action::AdministerPlatform).await.is_err());
    refusals.written().await;
    let mut rows = yard.rows(&stranger).await;
    rows.sort();
    let expected = [
        format!("project.view project {} refused 192.0.2.7 t project", yard.project),
        format!("run.view run {} refused 192.0.2.7 t run", yard.run),
    ];
    assert_eq!(rows, expected);
    assert_eq!(yard.rows(&viewer).await.len(), 1);
}

/// Pages ask what they may offer.
#[tokio::test]
async fn what_nobody_asked_for_is_no_refusal() {
    let mut yard = Yard::new().await;
    let viewer = yard.person(Some("viewer")).await;
    let mut txn = begin_as(&yard.db.web, viewer).await.unwrap();
    let (offered, refused) = noting(may(&mut txn, &viewer, Action::CancelRun(yard.run))).await;
    assert_eq!((offered, refused), (Ok(false), Vec::new()));
    // Outside of a request it is refused all the same.
    assert!(authorise(&mut txn, &viewer, Action::CancelRun(yard.run)).await.is_err());
}

/// Whoever has an account must not fill the log, wherever they come from.
#[tokio::test]
async fn a_person_is_written_down_sixty_times_a_minute_and_once_more() {
    let mut yard = Yard::new().await;
    let viewer = yard.person(Some("viewer")).await;
    let refusals = Refusals::new(yard.db.web.clone());
    // The same from everywhere is the same.
    for n in 0..5_u8 {
        let somewhere = Actor { address: Some(Ipv4Addr::new(192, 0, 2, n).into()), ..viewer };
        assert!(yard.ask(&refusals, &somewhere, Action::CancelRun(yard.run)).await.is_err());
    }
    for _ in 0..MOST + 5 {
        let run = RunId::new();
        let sql = format!(
            "insert into ops.runs (id, project_id, kind, git_ref, commit_sha)
             values ('{run}', '{}', 'build', 'x', repeat('a', 40))",
            yard.project
        );
        yard.superuser.execute(sql.as_str()).await.unwrap();
        assert!(yard.ask(&refusals, &viewer, Action::CancelRun(run)).await.is_err());
    }
    refusals.written().await;
    let rows = yard.rows(&viewer).await;
    assert_eq!(rows.len(), MOST + 1);
    let more = "access.more platform refused 192.0.2.7 access.more";
    assert_eq!(rows.iter().filter(|row| *row == more).count(), 1);
    // Others have theirs.
    let other = yard.person(Some("viewer")).await;
    assert!(yard.ask(&refusals, &other, Action::CancelRun(yard.run)).await.is_err());
    refusals.written().await;
    assert_eq!(yard.rows(&other).await.len(), 1);
}
