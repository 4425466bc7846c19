//! Containers, networks and events at a real daemon.

use super::{testing::*, *};
use crate::id::{EnvironmentId, RunId};
use bollard::query_parameters::{InspectContainerOptions, InspectNetworkOptions, LogsOptions};
use futures::{StreamExt, TryStreamExt};

async fn output(docker: &Docker, id: &str) -> String {
    let options = LogsOptions { stdout: true, stderr: true, ..Default::default() };
    let chunks: Vec<_> = docker.client().logs(id, Some(options)).try_collect().await.unwrap();
    chunks.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn containers_live_and_end_as_told() {
    let test = start().await;
    let docker = &test.docker;
    let spec = test.script("exit", "echo done; exit 7");
    let id = docker.create_container(&spec).await.unwrap();
    assert_eq!(docker.create_container(&spec).await.unwrap(), id, "the same once more is the same container");
    let mut other = spec.clone();
    other.env = vec![("A".into(), "b".into())];
    assert!(matches!(docker.create_container(&other).await, Err(DockerError::NameTaken(_))));

    docker.start_container(&id).await.unwrap();
    assert_eq!(docker.wait_container(&id).await.unwrap(), Exit { code: 7, oom_killed: false });
    let found = docker.container(&id).await.unwrap().unwrap();
    assert_eq!(
        (found.status, found.exit_code, found.labels),
        (ContainerStatus::Exited, Some(7), test.labels())
    );
    assert_eq!(output(docker, &id).await, "done\n");

    let sleeper = test.run_script("sleep", "trap 'exit 3' TERM; echo ready; sleep 1000 & wait").await;
    docker.start_container(&sleeper).await.unwrap();
    while !output(docker, &sleeper).await.contains("ready") {}
    docker.stop_container(&sleeper, Duration::from_secs(20)).await.unwrap();
    assert_eq!(docker.wait_container(&sleeper).await.unwrap().code, 3);
    docker.kill_container(&sleeper).await.unwrap();
    assert_eq!(docker.containers().await.unwrap().len(), 2);

    for _ in 0..2 {
        docker.remove_container(&id).await.unwrap();
        docker.stop_container(&id, Duration::ZERO).await.unwrap();
        docker.kill_container(&id).await.unwrap();
    }
    assert_eq!(docker.container(&id).await.unwrap(), None);
    test.clean().await;
}

#[tokio::test]
async fn threat_07_the_daemon_shows_a_hardened_container() {
    let test = start().await;
    std::fs::create_dir(test.root.path().join("src")).unwrap();
    std::fs::write(test.root.path().join("src/file"), "from the host").unwrap();
    let mut spec = test.script(
        "hard",
        "cat /proc/self/status | grep -E '^(CapEff|CapBnd|NoNewPrivs)'; touch /x; touch /mnt/src/x; touch /tmp/x; \
         cat /mnt/src/file; echo; df -k /tmp /dev/shm | tail -n +2 | while read a b c; do echo $b; done",
    );
    spec.mounts =
        vec![Mount { source: test.root.path().join("src"), target: "/mnt/src".into(), read_only: true }];
    spec.tmpfs = vec![Tmpfs::new("/tmp", 1024 * 1024)];
    let id = test.docker.create_container(&spec).await.unwrap();
    test.docker.start_container(&id).await.unwrap();
    test.docker.wait_container(&id).await.unwrap();
    let text = output(&test.docker, &id).await;
    for expected in [
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "touch: /x: Read-only file system",
        "touch: /mnt/src/x: Read-only file system",
        "from the host",
        "\n1024\n",
        "\n131072\n",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in {text}");
    }
    assert!(!text.contains("/tmp/x"), "{text}");

    let found = test.docker.client().inspect_container(&id, None::<InspectContainerOptions>).await.unwrap();
    let host = found.host_config.unwrap();
    assert_eq!(host.privileged, Some(false));
    assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
    assert_eq!(host.cap_add.unwrap_or_default(), [""; 0]);
    assert_eq!(host.security_opt.unwrap(), ["no-new-privileges"]);
    assert_eq!(host.memory, Some(64 * 1024 * 1024));
    assert_eq!(host.memory_swap, host.memory);
    assert_eq!(host.pids_limit, Some(512));
    assert_eq!(host.nano_cpus, Some(2_000_000_000));
    assert_eq!(host.init, Some(true));
    assert_eq!(host.network_mode.unwrap(), "none");
    assert_eq!(host.log_config.unwrap().typ.unwrap(), "json-file");
    test.clean().await;
}

#[tokio::test]
async fn threat_07_no_link_leads_a_mount_out_of_its_root() {
    let test = start().await;
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), test.root.path().join("link")).unwrap();
    std::fs::create_dir_all(test.root.path().join("a")).unwrap();
    std::os::unix::fs::symlink("a", test.root.path().join("inner")).unwrap();
    for source in [
        outside.path().to_owned(),
        test.root.path().join("link"),
        test.root.path().join("inner"),
        test.root.path().join("a/../link"),
        test.root.path().join("missing"),
        "/var/run/docker.sock".into(),
        "/".into(),
    ] {
        let mut spec = test.script("mount", "true");
        spec.mounts = vec![Mount { source: source.clone(), target: "/mnt".into(), read_only: true }];
        let refused = test.docker.create_container(&spec).await;
        assert!(matches!(refused, Err(DockerError::Refused(_))), "{}: {refused:?}", source.display());
    }
    assert_eq!(test.docker.containers().await.unwrap(), []);
    test.clean().await;
}

#[tokio::test]
async fn installations_leave_each_other_alone() {
    let (one, two) = tokio::join!(start(), start());
    let id = one.run_script("sleep", "sleep 1000").await;
    let name = names::environment_network(one.environment);
    one.docker.ensure_network(&name, one.labels()).await.unwrap();
    assert!(matches!(two.docker.container(&id).await, Err(DockerError::Foreign(_))));
    assert!(matches!(two.docker.remove_container(&id).await, Err(DockerError::Foreign(_))));
    assert!(matches!(two.docker.kill_container(&id).await, Err(DockerError::Foreign(_))));
    assert!(matches!(two.docker.remove_network(&name).await, Err(DockerError::Foreign(_))));
    assert!(matches!(two.docker.ensure_network(&name, two.labels()).await, Err(DockerError::Foreign(_))));
    assert!(matches!(two.docker.remove_image(BUSYBOX).await, Err(DockerError::Foreign(_))));
    assert!(matches!(two.docker.network("bridge").await, Err(DockerError::Foreign(_))));
    assert_eq!(two.docker.containers().await.unwrap(), []);
    assert_eq!(two.docker.networks().await.unwrap(), []);
    assert_eq!(one.docker.container(&id).await.unwrap().unwrap().status, ContainerStatus::Running);
    tokio::join!(one.clean(), two.clean());
}

#[tokio::test]
async fn networks_have_no_way_out_or_across() {
    let test = start().await;
    let (here, there) = (EnvironmentId::new(), EnvironmentId::new());
    let name = names::environment_network(here);
    let network = test.docker.ensure_network(&name, Labels::environment(test.run, here)).await.unwrap();
    assert_eq!(test.docker.ensure_network(&name, test.labels()).await.unwrap(), network);
    let other_name = names::environment_network(there);
    let other = test.docker.ensure_network(&other_name, Labels::environment(test.run, there)).await.unwrap();
    assert!(!other.subnet.overlaps(network.subnet));
    assert_eq!(network.gateway, network.subnet.gateway());
    let found = test.docker.client().inspect_network(&name, None::<InspectNetworkOptions>).await.unwrap();
    assert_eq!(found.internal, Some(true));

    // A server on each; the host reaches it, the neighbour does not, and the client has no route anywhere.
    let mut addresses = Vec::new();
    for (purpose, network) in [("web-1", &name), ("web-2", &other_name)] {
        let mut spec = test
            .script(purpose, "while true; do /bin/busybox nc -l -p 8069 -e /bin/busybox echo hello; done");
        spec.network = Some(network.clone());
        let id = test.docker.create_container(&spec).await.unwrap();
        test.docker.start_container(&id).await.unwrap();
        let container = test.docker.container(&id).await.unwrap().unwrap();
        addresses.push(container.addresses[network]);
    }
    for address in &addresses {
        wait_for_port(*address).await;
    }
    let script = format!(
        "until /bin/busybox nc -w 5 {} 8069 | grep hello; do true; done
         for i in 1 2 3; do /bin/busybox nc -w 1 {} 8069 </dev/null && exit; done; echo isolated",
        addresses[0], addresses[1]
    );
    let mut spec = test.script("client", &script);
    spec.network = Some(name.clone());
    let id = test.docker.create_container(&spec).await.unwrap();
    test.docker.start_container(&id).await.unwrap();
    test.docker.wait_container(&id).await.unwrap();
    let text = output(&test.docker, &id).await;
    assert!(text.matches("hello\n").count() == 1 && text.contains("isolated\n"), "{text}");

    assert_eq!(test.docker.networks().await.unwrap().len(), 2);
    for container in test.docker.containers().await.unwrap() {
        test.docker.remove_container(&container.id).await.unwrap();
    }
    for _ in 0..2 {
        test.docker.remove_network(&name).await.unwrap();
    }
    assert_eq!(test.docker.network(&name).await.unwrap(), None);
    test.clean().await;
}

async fn wait_for_port(address: std::net::IpAddr) {
    let connect = async { while tokio::net::TcpStream::connect((address, 8069)).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(20), connect).await.unwrap();
}

#[tokio::test]
async fn a_pool_that_is_used_up_says_so() {
    let test = start_with("10.214.7.0/27".parse().unwrap()).await;
    for n in 0..3 {
        let made = test
            .docker
            .ensure_network(&names::environment_network(EnvironmentId::new()), test.labels())
            .await;
        assert_eq!(made.is_ok(), n < 2, "{made:?}");
        if n == 2 {
            assert!(matches!(made, Err(DockerError::NoSubnet(_))), "{made:?}");
        }
    }
    test.clean().await;
}

#[tokio::test]
async fn many_networks_are_made_at_once() {
    let (one, two) = tokio::join!(start(), start());
    let name = names::environment_network(one.environment);
    let same =
        futures::future::join_all((0..6).map(|_| one.docker.ensure_network(&name, one.labels()))).await;
    let first = same[0].as_ref().unwrap().clone();
    assert!(same.into_iter().all(|network| network.unwrap() == first));
    let of =
        |test: &TestDocker| {
            let (docker, labels) = (test.docker.clone(), test.labels());
            futures::future::join_all((0..4).map(move |_| {
                let docker = docker.clone();
                async move {
                    docker.ensure_network(&names::environment_network(EnvironmentId::new()), labels).await
                }
            }))
        };
    let (a, b) = tokio::join!(of(&one), of(&two));
    let networks: Vec<Network> = a.into_iter().chain(b).map(Result::unwrap).chain([first]).collect();
    for (i, network) in networks.iter().enumerate() {
        assert!(networks[..i].iter().all(|other| !other.subnet.overlaps(network.subnet)));
    }
    tokio::join!(one.clean(), two.clean());
}

#[tokio::test]
async fn deaths_and_memory_kills_are_told() {
    let test = start().await;
    let other = start().await;
    let mut events = test.docker.container_events(None);
    // The daemon gives no sign that it listens: begin with a death that is waited for until it is seen.
    let mut first = None;
    for n in 0..50 {
        let id = test.run_script(&format!("first-{n}"), "exit 4").await;
        test.docker.wait_container(&id).await.unwrap();
        if let Ok(event) = tokio::time::timeout(Duration::from_secs(1), events.next()).await {
            first = Some((id, event.unwrap().unwrap()));
            break;
        }
    }
    let (_, event) = first.expect("an event");
    assert_eq!((event.kind, event.labels), (ContainerEventKind::Died { exit_code: 4 }, test.labels()));
    // Of another installation: not to be seen here.
    let foreign = other.run_script("foreign", "exit 1").await;
    other.docker.wait_container(&foreign).await.unwrap();

    let mut spec = test.script("greedy", "/bin/busybox dd if=/dev/zero of=/dev/null bs=200M count=1; exit 9");
    spec.limits.memory_bytes = 16 * 1024 * 1024;
    let id = test.docker.create_container(&spec).await.unwrap();
    test.docker.start_container(&id).await.unwrap();
    let exit = test.docker.wait_container(&id).await.unwrap();
    assert!(exit.oom_killed, "{exit:?}");
    let mut kinds = Vec::new();
    while kinds.len() < 2 {
        let event =
            tokio::time::timeout(Duration::from_secs(20), events.next()).await.unwrap().unwrap().unwrap();
        assert_ne!(event.container_id, foreign);
        if event.container_id == id {
            kinds.push(event.kind);
        }
    }
    assert!(kinds.contains(&ContainerEventKind::OutOfMemory), "{kinds:?}");
    let again = test.docker.container_events(Some(event.time_nano)).next().await.unwrap().unwrap();
    assert_eq!(again, event, "events can be asked for again");
    tokio::join!(test.clean(), other.clean());
}

#[tokio::test]
async fn threat_06_a_build_network_reaches_the_proxy_and_nothing_else() {
    let test = start().await;
    let name = names::build_network(RunId::new());
    let network = test.docker.ensure_network(&name, test.labels()).await.unwrap();
    let allow = egress::AllowList::of_index(None, &[]).unwrap();
    let proxy =
        egress::EgressProxy::start(network.gateway.into(), network.subnet, allow, egress::Bounds::default())
            .await
            .unwrap();
    // Names that cannot exist: whatever goes wrong, nothing outside is asked for.
    let script = r#"
        ask() { printf "$1 HTTP/1.1\r\nHost: example.invalid\r\n\r\n" | /bin/busybox nc -w 5 "$ADDRESS" "$PORT"; }
        ask 'GET http://example.invalid/'
        ask 'CONNECT example.invalid:443'
    "#;
    let mut spec = test.script("build", script);
    let address = proxy.url().replace("http://", "");
    let (address, port) = address.split_once(':').unwrap();
    spec.env = vec![("ADDRESS".into(), address.into()), ("PORT".into(), port.into())];
    spec.network = Some(name.clone());
    let id = test.docker.create_container(&spec).await.unwrap();
    test.docker.start_container(&id).await.unwrap();
    test.docker.wait_container(&id).await.unwrap();
    let text = output(&test.docker, &id).await;
    assert!(text.contains("405 Method Not Allowed") && text.contains("403 Forbidden"), "{text}");
    assert_eq!(proxy.refused(), ["example.invalid:443"]);
    test.clean().await;
}

#[tokio::test]
async fn docker_a_terminal_runs_a_program_and_only_in_its_own_environment() {
    let test = start().await;
    let id = test.run_script("shell", "sleep 1000").await;
    let arguments =
        ["/bin/busybox", "sh", "-c", "read name; echo hello $name; busybox stty size; id -u; exit 3"];
    let spec = ShellSpec {
        arguments: arguments.map(str::to_owned).to_vec(),
        user: (64_100, 64_100),
        terminal: true,
    };
    let stranger = test.docker.open_shell(EnvironmentId::new(), &id, spec.clone()).await;
    assert!(matches!(stranger.err(), Some(DockerError::Foreign(_))));
    let mut shell = test.docker.open_shell(test.environment, &id, spec.clone()).await.unwrap();
    shell.resizer().resize(132, 43).await.unwrap();
    shell.input.write(b"Ada\n").await.unwrap();
    let mut printed = Vec::new();
    while let Some(Printed::Terminal(bytes)) = shell.output.next().await.transpose().unwrap() {
        printed.extend_from_slice(&bytes);
    }
    let printed = String::from_utf8_lossy(&printed);
    assert!(printed.contains("hello Ada\r\n43 132\r\n64100\r\n"), "{printed}");
    assert_eq!(shell.exit_code().await.unwrap(), Some(3));
    // One that is not there says so, in its output and by its code.
    let missing = ShellSpec { arguments: vec!["/bin/no-such-program".to_owned()], terminal: false, ..spec };
    let mut shell = test.docker.open_shell(test.environment, &id, missing).await.unwrap();
    while let Some(printed) = shell.output.next().await {
        _ = printed.unwrap();
    }
    assert!(matches!(shell.exit_code().await.unwrap(), Some(126 | 127)));
    test.clean().await;
}

#[tokio::test]
async fn docker_an_image_travels_whole() {
    let test = start().await;
    let chunks: Vec<_> = test.docker.save_image(BUSYBOX).try_collect().await.unwrap();
    assert!(chunks.len() > 1);
    test.docker
        .load_image(futures::stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>)))
        .await
        .unwrap();
    assert!(test.docker.image_exists(BUSYBOX).await.unwrap());
    let broken = futures::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from_static(b"no tar"))]);
    assert!(test.docker.load_image(broken).await.is_err());
    test.clean().await;
}
