//! Labels and limits: where runs may go, and how many at a time.

use super::Shell;

#[tokio::test]
async fn a_project_asks_for_labels_and_a_run_that_no_host_can_take_says_so() {
    let shell = Shell::new().await;
    assert_eq!(shell.says("ops project labels demo").await, "Runs of demo go to any host.\n");
    let said = shell.says("ops project labels demo --set ssd,eu,ssd").await;
    assert_eq!(said, "Runs of demo go to hosts with ssd, eu.\n");
    let kept = "select required_labels::text from ops.projects where slug = 'demo'";
    assert_eq!(shell.truth(kept).await, "{ssd,eu}");
    assert!(shell.says("ops project show demo").await.contains("labels:       ssd, eu\n"));

    let moved = shell.says("ops branch move --project demo feature-x --stage staging").await;
    let run = moved.split_whitespace().rev().nth(2).unwrap().to_owned();
    let requires = format!("select requires::text from ops.runs where id = '{run}'");
    assert_eq!(shell.truth(&requires).await, "{ssd,eu}");
    let waits = async || {
        let list = shell.json("ops queue list").await;
        let found =
            list["runs"].as_array().unwrap().iter().find(|queued| queued["id"] == run.as_str()).cloned();
        found.unwrap()["waits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|wait| wait["for"].to_string())
            .collect::<String>()
    };
    assert!(waits().await.contains("labels"), "{}", waits().await);
    let list = shell.says("ops queue list").await;
    let row = list.lines().find(|line| line.starts_with(&run)).unwrap();
    assert!(row.contains("ssd, eu"), "{row}");
    shell.says("ops worker labels host-one --set eu,ssd,gpu").await;
    assert!(!waits().await.contains("labels"), "{}", waits().await);

    shell.refuses("ops project labels demo --set a,b*c", "letters, digits").await;
    let many = (0..17).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    shell.refuses(&format!("ops project labels demo --set {many}"), "at most 16").await;
    shell.refuses("ops project labels demo --set a --clear", "cannot be used with").await;
    shell.refuses("ops project labels nope --set a", "There is no such project").await;
    assert_eq!(shell.truth(kept).await, "{ssd,eu}");
    let said = shell.json("ops project labels demo --clear").await;
    assert_eq!(said["required_labels"], serde_json::json!([]));
    assert_eq!(shell.truth(kept).await, "{}");
    assert_eq!(shell.truth(&requires).await, "{}", "what waits is freed");
    let audited =
        "select string_agg(detail::text, ' ' order by id) from ops.audit_log where action = 'project.labels'";
    assert_eq!(shell.truth(audited).await, r#"{"labels": ["ssd", "eu"]} {"labels": []}"#);
}

#[tokio::test]
async fn any_host_is_given_labels() {
    let shell = Shell::new().await;
    let kept = "select labels::text from ops.hosts where name = 'host-one'";
    let before = shell.truth(kept).await;
    let said = shell.says("ops worker labels host-one --set gpu,ssd").await;
    assert_eq!(said, "host-one has these labels: gpu, ssd.\n");
    assert_ne!(shell.truth(kept).await, before);
    assert_eq!(shell.truth(kept).await, "{gpu,ssd}");
    assert_eq!(shell.says("ops worker labels host-one").await, said);
    assert_eq!(shell.json("ops worker labels host-one --clear").await["labels"], serde_json::json!([]));
    assert_eq!(shell.truth(kept).await, "{}");
    shell.refuses("ops worker labels host-two --set a", "no host of that name").await;
    shell.refuses("ops worker labels host-one --set a$", "letters, digits").await;
    assert_eq!(shell.truth("select count(*) from ops.audit_log where action = 'host.labels'").await, "2");
}

#[tokio::test]
async fn what_stays_free_on_a_host_is_set() {
    let shell = Shell::new().await;
    let kept = "select concat_ws(' ', min_free_memory_bytes, min_free_disk_bytes) from ops.hosts where name = 'host-one'";
    let before = shell.truth(kept).await;
    let disk = before.split(' ').nth(1).unwrap();
    shell.says("ops worker limits host-one").await;
    assert_eq!(shell.truth(kept).await, before);
    let said = shell.says("ops worker limits host-one --min-free-memory 2GiB").await;
    assert!(said.starts_with("Runs begin on host-one while 2.1 GB of memory and "), "{said}");
    assert_eq!(shell.truth(kept).await, format!("2147483648 {disk}"));
    let said = shell.json("ops worker limits host-one --min-free-disk 10GB").await;
    assert_eq!(said["min_free_disk_bytes"], 10_000_000_000_i64);
    assert_eq!(shell.truth(kept).await, "2147483648 10000000000");
    shell.refuses("ops worker limits host-one --min-free-disk lots", "write a size").await;
    shell.refuses("ops worker limits host-two --min-free-disk 1GiB", "no host of that name").await;
    assert_eq!(shell.truth("select count(*) from ops.audit_log where action = 'host.limits'").await, "2");
}

#[tokio::test]
async fn kinds_are_limited_and_the_queue_says_so() {
    let shell = Shell::new().await;
    let kept = "select string_agg(concat_ws(' ', kind, max_running), ', ') from ops.kind_limits";
    let said = shell.says("ops queue limit backup 2").await;
    assert_eq!(said, "At most 2 runs of kind backup are under way at once.\n");
    assert_eq!(shell.says("ops queue limit build 0").await, "No run of kind build begins.\n");
    assert_eq!(shell.json("ops queue list").await["limits"][1]["kind"], "build");
    let list = shell.says("ops queue list").await;
    assert!(shell.notes.text().contains("At most 2 runs of kind backup at once."), "{}", shell.notes.text());
    assert!(list.contains("build"), "{list}");
    assert_eq!(shell.says("ops queue limit build none").await, "Runs of kind build have no limit.\n");
    assert_eq!(shell.truth(kept).await, "backup 2");
    for (line, says) in [
        ("ops queue limit dance 2", "dance"),
        ("ops queue limit build -1", "-1"),
        ("ops queue limit build many", "or none"),
    ] {
        shell.refuses(line, says).await;
    }
    assert_eq!(shell.truth(kept).await, "backup 2");
}
