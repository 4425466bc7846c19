//! Requirements layers on the real Odoo images, with pip at work.

use super::{testing::*, *};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

fn request(test: &TestDocker, requirements: &str) -> LayerRequest {
    LayerRequest {
        run: test.run,
        base: "odoo:19.0".into(),
        build_image: "odoo:19.0-build".into(),
        requirements: vec![RequirementsFile {
            name: "addons/requirements.txt".into(),
            content: requirements.as_bytes().to_vec(),
        }],
        index_url: None,
        index_hosts: vec![],
        ca_bundle: None,
        limits: Limits::default(),
        timeout: Duration::from_secs(300),
    }
}

async fn build(test: &TestDocker, requirements: &str) -> (Result<String, LayerError>, Vec<String>) {
    let (sender, mut receiver) = mpsc::channel(16);
    let lines = tokio::spawn(async move {
        let mut lines = Vec::new();
        while let Some(line) = receiver.recv().await {
            lines.push(line);
        }
        lines
    });
    let built =
        test.docker.requirements_layer(&request(test, requirements), sender, &CancellationToken::new()).await;
    (built, lines.await.unwrap())
}

#[tokio::test]
async fn odoo_requirements_become_a_layer_once() {
    let test = start().await;
    // A comment of its own, so that no other run has made this layer.
    let requirements = format!("# {}\niniconfig==2.1.0\n", test.run);
    let (built, lines) = build(&test, &requirements).await;
    let tag = built.unwrap_or_else(|error| panic!("{error}: {lines:#?}"));
    assert!(lines.iter().any(|line| line.contains("Successfully installed iniconfig-2.1.0")), "{lines:#?}");

    let name = names::container(test.environment, "python");
    let mut spec = ContainerSpec::new(name, &tag, test.labels());
    spec.entrypoint = ["/opt/venv/bin/python3", "-c", "import iniconfig, odoo"].map(String::from).into();
    let id = test.docker.create_container(&spec).await.unwrap();
    test.docker.start_container(&id).await.unwrap();
    assert_eq!(test.docker.wait_container(&id).await.unwrap().code, 0);
    test.docker.remove_container(&id).await.unwrap();

    let (again, lines) = build(&test, &requirements).await;
    assert_eq!((again.unwrap(), lines.len()), (tag.clone(), 0), "the second time it is there");
    let built = test.docker.built_images().await.unwrap();
    assert_eq!(built.iter().flat_map(|image| &image.layers).collect::<Vec<_>>(), [&tag]);
    assert_eq!(test.docker.networks().await.unwrap(), []);
    assert_eq!(test.docker.containers().await.unwrap(), []);
    assert_eq!(test.docker.untagged_images(test.run).await.unwrap(), [""; 0]);
    test.clean().await;
}

#[tokio::test]
async fn odoo_requirements_that_do_not_resolve_say_why() {
    let test = start().await;
    for (requirements, expected) in [
        ("iniconfig==99.0\n", "No matching distribution found for iniconfig==99.0"),
        ("iniconfig==2.1.0\niniconfig==2.0.0\n", "have conflicting dependencies."),
        ("; touch /tmp/pwned $(id)\n", "InvalidMarker: Expected a marker variable"),
        ("thing @ https://example.invalid/thing.tar.gz\n", "refused: example.invalid:443"),
        ("-r /etc/shadow\n", "Permission denied"),
    ] {
        let (built, lines) = build(&test, requirements).await;
        match built {
            Err(LayerError::Requirements(message)) => {
                assert!(message.contains(expected), "{requirements:?} says {message:?}: {lines:#?}");
            }
            other => panic!("{requirements:?}: {other:?}: {lines:#?}"),
        }
        assert_eq!(test.docker.networks().await.unwrap(), []);
    }
    assert_eq!(test.docker.containers().await.unwrap(), []);
    assert_eq!(test.docker.untagged_images(test.run).await.unwrap(), [""; 0]);
    test.clean().await;
}

#[tokio::test]
async fn odoo_a_layer_is_canceled() {
    let test = start().await;
    let (sender, _receiver) = mpsc::channel(16);
    let cancel = CancellationToken::new();
    let request = request(&test, &format!("# {}\niniconfig==2.1.0\n", test.run));
    let (docker, watched) = (test.docker.clone(), cancel.clone());
    let build = tokio::spawn(async move { docker.requirements_layer(&request, sender, &watched).await });
    // The virtual environment alone takes seconds.
    while test.docker.containers().await.unwrap().is_empty() {
        assert!(!build.is_finished());
    }
    let begun = Instant::now();
    cancel.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(60), build).await.unwrap().unwrap();
    assert!(matches!(ended, Err(LayerError::Canceled)), "{ended:?} after {:?}", begun.elapsed());
    assert_eq!(test.docker.networks().await.unwrap(), []);
    assert_eq!(test.docker.containers().await.unwrap(), []);
    assert_eq!(test.docker.untagged_images(test.run).await.unwrap(), [""; 0]);
    test.clean().await;
}
