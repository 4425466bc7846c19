//! The daemon goes away while something runs in its hands: its socket is reached through one of the test's own.

use super::{PATIENCE, Yard};
use crate::{
    docker::Seen,
    id::RunId,
    postgres::testing_tenants::TestTenants,
    queue,
    run::{
        Step,
        job::{JobError, progress::Progress},
    },
};
use std::{path::PathBuf, sync::Arc};
use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
    sync::Notify,
    task::JoinHandle,
    time::timeout,
};

/// What stands where the daemon's socket would.
struct Gate {
    path: PathBuf,
    listening: JoinHandle<()>,
    cut: Arc<Notify>,
}

impl Gate {
    fn open(path: PathBuf) -> Self {
        _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let cut = Arc::new(Notify::new());
        let cutting = cut.clone();
        let listening = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let cutting = cutting.clone();
                tokio::spawn(async move {
                    let mut docker = UnixStream::connect("/var/run/docker.sock").await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut stream, &mut docker) => {}
                        () = cutting.notified() => {}
                    }
                });
            }
        });
        Self { path, listening, cut }
    }

    /// Takes no new calls; those under way go on.
    async fn close(&mut self) {
        self.listening.abort();
        _ = (&mut self.listening).await;
        std::fs::remove_file(&self.path).unwrap();
    }

    fn cut(&self) {
        self.cut.notify_waiters();
    }
}

#[tokio::test]
async fn docker_a_step_that_loses_the_daemon_is_tried_again_for_that_reason() {
    let tenants = TestTenants::start().await;
    let sockets = tempfile::tempdir().unwrap();
    let mut gate = Gate::open(sockets.path().join("docker.sock"));
    let yard = Yard::start_on(&tenants, gate.path.clone()).await;
    let shop = &yard.shop;
    let run = RunId::new();
    sqlx::query!(
        "insert into ops.runs (id, project_id, kind, git_ref, commit_sha) values ($1, $2, 'build', 'main', 'abcdef0')",
        run.0,
        yard.project.0
    )
    .execute(&mut yard.superuser().await)
    .await
    .unwrap();
    let mut conn = shop.pool.acquire().await.unwrap();
    let claim = queue::claim(&mut conn, "yard").await.unwrap().unwrap();
    drop(conn);
    let progress = Progress { shop, claim: &claim };
    let (seen, mut sees) = tokio::sync::mpsc::unbounded_channel();
    let watched = shop.docker.clone();
    let watching = tokio::spawn(async move { watched.watch(|it| _ = seen.send(it)).await });
    // It watches once it tells of something.
    let dies = async || {
        let labels = crate::docker::Labels::run(run);
        let mut spec = super::sleeper(crate::id::EnvironmentId::new(), labels, None);
        spec.entrypoint = ["/bin/busybox", "true"].map(str::to_owned).to_vec();
        let id = shop.docker.create_container(&spec).await.unwrap();
        shop.docker.start_container(&id).await.unwrap();
        shop.docker.wait_container(&id).await.unwrap();
    };
    let first = async {
        loop {
            dies().await;
            if let Ok(told) = timeout(std::time::Duration::from_secs(1), sees.recv()).await {
                break told.unwrap();
            }
        }
    };
    assert!(matches!(timeout(PATIENCE, first).await.unwrap(), Seen::Container(_)));

    // The daemon dies: a step that would wait for ever ends at once.
    let step = progress.step::<()>(Step::Install, std::future::pending());
    let (ended, ()) = tokio::join!(timeout(PATIENCE, step), async {
        gate.close().await;
        gate.cut();
    });
    let error = ended.unwrap().unwrap_err();
    assert!(matches!(error, JobError::Retry { .. }) && error.to_string() == "docker restarted", "{error:?}");
    // While it is away, nothing new is begun, and what is asked of it fails for the same reason.
    let unavailable = JobError::from(shop.docker.containers().await.unwrap_err());
    assert_eq!(unavailable.to_string(), "docker restarted");
    assert!(timeout(std::time::Duration::from_millis(300), shop.docker.back()).await.is_err());

    let mut gate = Gate::open(sockets.path().join("docker.sock"));
    timeout(PATIENCE, shop.docker.back()).await.unwrap();
    let back = async { while sees.recv().await.unwrap() != Seen::Back {} };
    timeout(PATIENCE, back).await.expect("somebody is told to look at everything");

    // It is told to end: it takes no calls any more and ends its containers first. What their ends mean is not known.
    gate.close().await;
    let judged = progress.step::<()>(Step::Install, async { Err(JobError::fail("the installation failed")) });
    let error = timeout(PATIENCE, judged).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "docker restarted");
    gate.cut();
    // It is there: a failure is a failure.
    let gate = Gate::open(sockets.path().join("docker.sock"));
    timeout(PATIENCE, async { while sees.recv().await.unwrap() != Seen::Back {} }).await.unwrap();
    let judged = progress.step::<()>(Step::Install, async { Err(JobError::fail("the installation failed")) });
    assert_eq!(judged.await.unwrap_err().to_string(), "the installation failed");
    watching.abort();
    yard.finish().await;
    gate.listening.abort();
}
