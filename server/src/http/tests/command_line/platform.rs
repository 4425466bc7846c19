//! Status, hosts, workers and schedules.

use super::Shell;
use crate::http::tests::Fixture;
use odooops::session::Fingerprint;

#[tokio::test]
async fn status_ends_with_1_while_something_is_to_be_seen_to() {
    let shell = Shell::new().await;
    let said = shell.says("ops status").await;
    for line in [
        "queue        1 waiting, 0 later, 0 running, the oldest for ",
        "quarantine   1 objects",
        "worker       worker-one on host-one: alive, 0 of 2 runs, heard of ",
        "All is well.",
    ] {
        assert!(said.lines().any(|said| said.starts_with(line)), "{line}: {said}");
    }
    shell.set("update ops.workers set last_heartbeat_at = now() - interval '1 hour'").await;
    let said = shell.ends("ops status", 1).await;
    assert!(said.contains("worker-one on host-one: silent"), "{said}");
    assert!(said.lines().any(|line| line.starts_with("! Nothing was heard of worker worker-one")), "{said}");
    assert!(!said.contains("All is well."), "{said}");
    let said = shell.ends("ops status --json", 1).await;
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(said["problems"].as_array().unwrap().iter().any(|p| p["worker"] == "worker-one"), "{said}");
}

#[tokio::test]
async fn status_tells_what_each_reconciler_did_and_what_went_wrong() {
    let shell = Shell::new().await;
    let report = async |name: &str, acted: i32, would: i32, mode: &str, error: &str| {
        let sql = format!(
            "select ops.report_reconciler('{}', '{name}', now(), 7, {acted}, {would}, '{mode}', null, {error}, '[]')",
            shell.f.host
        );
        shell.set(&sql).await;
    };
    let line = |said: &str, name: &str| {
        let begin = format!("reconciler   {name} on host-one: ");
        let found = said.lines().find_map(|line| line.strip_prefix(&begin));
        found.unwrap_or_else(|| panic!("{name}: {said}")).to_owned()
    };
    report("containers", 2, 0, "act", "null").await;
    report("databases", 0, 3, "report", "null").await;
    let said = shell.says("ops status").await;
    assert_eq!(said.lines().filter(|line| line.starts_with("reconciler ")).count(), 2, "{said}");
    let containers = line(&said, "containers");
    assert!(containers.starts_with("looked at 7, acted on 2, ") && containers.ends_with("s ago"), "{said}");
    assert!(line(&said, "databases").starts_with("looked at 7, only reports, would act on 3, "), "{said}");

    report("containers", 0, 0, "act", "'docker is away'").await;
    let said = shell.ends("ops status", 1).await;
    assert!(line(&said, "containers").ends_with("s ago, failed: docker is away"), "{said}");
    assert!(said.lines().any(|line| line == "! containers on host-one: docker is away"), "{said}");
}

#[tokio::test]
async fn workers_are_listed_and_drained() {
    let shell = Shell::new().await;
    let list = shell.says("ops worker list").await;
    let row: Vec<_> = list.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..7], ["worker-one", "host-one", "alive", "0", "of", "2", "build"], "{list}");
    let drains = "select (draining_since is not null)::text from ops.workers where id = 'worker-one'";
    let said = shell.says("ops worker drain worker-one").await;
    assert_eq!(said, "worker-one finishes what it holds and takes nothing more.\n");
    assert_eq!(shell.truth(drains).await, "true");
    assert!(shell.says("ops worker list").await.contains(" draining "));
    let said = shell.json("ops worker drain worker-one --undo").await;
    assert_eq!(said["draining"], false);
    assert_eq!(shell.truth(drains).await, "false");
    shell.refuses("ops worker drain nobody", "There is no such worker").await;
}

#[tokio::test]
async fn a_worker_that_another_took_the_place_of_is_forgotten() {
    let shell = Shell::new().await;
    shell.refuses("ops worker forget nobody", "There is no such worker").await;
    shell.refuses("ops worker forget worker-one", "within the last thirty seconds").await;
    shell
        .set(
            "update ops.workers set last_heartbeat_at = now() - interval '1 hour';
             update ops.hosts set created_at = created_at - interval '1 day';
             delete from ops.quarantine; update ops.environments set host_id = null;
             insert into ops.workers (id, version, capacity) values ('worker-two', '1', 2)",
        )
        .await;
    assert!(shell.ends("ops status", 1).await.contains("worker-one"));
    assert_eq!(shell.says("ops worker forget worker-one").await, "worker-one is forgotten.\n");
    shell.says("ops status").await;
    assert_eq!(shell.truth("select count(*) from ops.workers where id = 'worker-one'").await, "0");
}

/// After the ops database was restored.
#[tokio::test]
async fn a_host_that_only_reports_is_let_act_again_by_its_name() {
    let shell = Shell::new().await;
    let standing = "select concat_ws(' ', epoch_standing, epoch, confirmed_at is not null) from ops.hosts";
    shell.refuses("ops worker confirm host-one", "nothing to confirm").await;
    for behind in ["behind", "unknown"] {
        shell
            .set(&format!(
                "update ops.hosts set epoch = 3, file_epoch = 7, confirmed_at = null, epoch_standing = '{behind}'"
            ))
            .await;
        assert!(shell.ends("ops status", 1).await.contains("! Host host-one only reports"));
        shell.refuses("ops worker confirm host-two", "no host of that name").await;
        assert_eq!(shell.truth(standing).await, format!("{behind} 3 f"));
        let said = shell.says("ops worker confirm host-one").await;
        assert_eq!(said, "host-one acts again with its next round.\n");
        assert_eq!(shell.truth(standing).await, "agrees 8 t");
        assert!(shell.says("ops status").await.contains("All is well."));
    }
    let audited = "select count(*) from ops.audit_log where action like 'reconcile.confirm%'";
    assert_eq!(shell.truth(audited).await, "2");
    shell.set("update ops.hosts set epoch_standing = 'foreign'").await;
    shell.refuses("ops worker confirm host-one", "nothing to confirm").await;
    assert_eq!(shell.truth("select epoch_standing from ops.hosts").await, "foreign");
}

#[tokio::test]
async fn machines_are_invited_and_cut_off() {
    let shell = Shell::of(Fixture::with(&[("node_listen", "127.0.0.1:3443")]).await).await;
    let said = shell.json("ops worker token --name host-two --labels ssd,eu").await;
    let hash: String = Fingerprint::of(said["token"].as_str().unwrap())
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let known = format!(
        "select concat_ws(' ', name, labels::text) from ops.host_tokens
         where token_hash = decode('{hash}', 'hex') and used_at is null and expires_at > now()"
    );
    assert_eq!(shell.truth(&known).await, "host-two {ssd,eu}");
    let said = shell.says("ops worker token").await;
    assert!(said.contains("ops worker join https://127.0.0.1:3443 --token "), "{said}");

    shell
        .set("insert into ops.hosts (name, db_role) values ('host-two', 'ops_host_' || repeat('0', 32))")
        .await;
    let said = shell.says("ops worker revoke host-two").await;
    assert_eq!(said, "host-two is revoked; its runs go on elsewhere.\n");
    let revoked = "select string_agg(name, ' ') from ops.hosts where revoked_at is not null";
    assert_eq!(shell.truth(revoked).await, "host-two");
    shell.refuses("ops worker revoke host-one", "machine of the console").await;
    assert_eq!(shell.truth(revoked).await, "host-two");
}

#[tokio::test]
async fn schedules_are_made_listed_changed_and_stopped() {
    let shell = Shell::new().await;
    let id = shell.f.schedule;
    let made = shell
        .says("ops schedule create weekly --cron @weekly --time-zone Europe/Brussels -p demo -b feature-x")
        .await;
    assert!(made.starts_with("weekly (") && made.contains("does: build feature-x\n"), "{made}");
    let known =
        "select concat_ws(' ', cron, time_zone, kind, enabled, params ->> 'branch_id') from ops.schedules
                 where name = 'weekly'";
    let expected = format!("@weekly Europe/Brussels build t {}", shell.f.feature);
    assert_eq!(shell.truth(known).await, expected);
    let made = shell.json("ops schedule create sweep --cron @hourly --task reconcile").await;
    assert_eq!((made["name"].as_str(), made["task"].as_str()), (Some("sweep"), Some("reconcile")));
    let known = "select concat_ws(' ', kind, params ->> 'task') from ops.schedules
                 where name = 'sweep' and project_id is null";
    assert_eq!(shell.truth(known).await, "maintenance reconcile");

    let all = shell.says("ops schedule list").await;
    for name in [" weekly ", " nightly ", " sweep ", " retention "] {
        assert!(all.contains(name), "{name}: {all}");
    }
    let of_project = shell.says("ops schedule list --project demo").await;
    assert!(of_project.contains(" nightly ") && !of_project.contains(" sweep "), "{of_project}");

    let is = |column: &str| format!("select {column} from ops.schedules where id = '{id}'");
    let said = shell.says(&format!("ops schedule change {id} --cron @daily")).await;
    assert!(said.contains("when: @daily"), "{said}");
    assert_eq!(shell.truth(&is("cron")).await, "@daily");
    assert!(shell.says(&format!("ops schedule disable {id}")).await.contains("next: stopped"));
    assert_eq!(shell.truth(&is("enabled")).await, "false");
    shell.says(&format!("ops schedule enable {id}")).await;
    assert_eq!(shell.truth(&is("enabled")).await, "true");

    for (line, says) in [
        ("ops schedule create x --cron @never -p demo -b feature-x", "does not read as five fields"),
        ("ops schedule create x --cron @daily -p demo", "--branch"),
        ("ops schedule create x --cron @daily -p demo -b main", "production branch is not rebuilt"),
    ] {
        shell.refuses(line, says).await;
    }
    assert_eq!(shell.truth("select count(*) from ops.schedules where name = 'x'").await, "0");
}

#[tokio::test]
async fn a_schedule_is_run_now_and_tells_why_it_queued_nothing() {
    let shell = Shell::new().await;
    let id = shell.f.schedule;
    let line = format!("ops schedule run {id}");
    // The fixture's own build of the branch still waits.
    let said = shell.ends(&line, 1).await;
    assert!(said.starts_with("Nothing was queued: "), "{said}");
    let lease = shell.f.start_run().await;
    shell.f.finish_run(lease, "succeeded").await;
    let said = shell.says(&line).await;
    let run = said.split_whitespace().nth(1).unwrap().to_owned();
    assert_eq!(said, format!("Run {run} is queued.\n"));
    let queued = format!(
        "select r.status from ops.schedules s join ops.runs r on r.id = s.last_run_id
         where s.id = '{id}' and r.id = '{run}'"
    );
    assert_eq!(shell.truth(&queued).await, "queued");
    let history = shell.says(&format!("ops schedule history {id}")).await;
    let lines: Vec<_> = history.lines().skip(1).collect();
    assert!(lines.len() == 2 && lines[0].contains(&run) && lines[1].contains("waits already"), "{history}");
    let said = shell.says(&format!("ops schedule delete {id}")).await;
    assert_eq!(said, format!("Schedule {id} is deleted.\n"));
    let left = format!("select count(*) from ops.schedules where id = '{id}'");
    assert_eq!(shell.truth(&left).await, "0");
}
