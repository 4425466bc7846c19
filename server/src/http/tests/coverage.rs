//! Every door that is not the described API: each route of the router's source must be named here with the test that
//! tries it without an identity and with a wrong one. Server functions are in `functions`, topics in `live`.

use std::collections::BTreeSet;

/// Route and why it is safe: the test, or what makes one needless.
const ROUTES: &[(&str, &str)] = &[
    ("/sign-in", "session::threat_10_a_link_signs_in_once_and_only_by_post"),
    ("/sign-out", "session::signing_out_ends_the_session_in_the_database"),
    ("/live", "live::threat_04_upgrades_from_elsewhere_or_without_identity_are_refused"),
    ("/api/v1", "matrix::threat_02_every_entry_of_the_api_as_everybody"),
    ("/openapi.json", "a description, the same for everybody"),
    ("/healthz", "tells that the process answers"),
    ("/readyz", "tells that the database answers"),
    ("/pkg", "the browser's code, the same for everybody"),
    ("/fonts", "the same for everybody"),
    ("/static", "the same for everybody"),
    ("/git/{repository}/info/refs", "git's own tests, by token"),
    ("/git/{repository}/git-upload-pack", "git's own tests, by token"),
    ("/git/{repository}/git-receive-pack", "git's own tests, by token"),
    ("/internal/hooks/pre-receive", "ops.sock only"),
    ("/internal/hooks/post-receive", "ops.sock only"),
];

const SOURCES: &[&str] = &[
    include_str!("../mod.rs"),
    include_str!("../api/mod.rs"),
    include_str!("../console.rs"),
    include_str!("../git.rs"),
    include_str!("../hooks.rs"),
    include_str!("../sign_in.rs"),
];

#[test]
fn threat_02_every_route_names_its_test() {
    let known: BTreeSet<_> = ROUTES.iter().map(|(route, _)| *route).collect();
    for source in SOURCES {
        for opening in [".route(\"", ".nest(\"", ".nest_service(\"", ".route_service(\""] {
            for rest in source.split(opening).skip(1) {
                let route = rest.split('"').next().unwrap();
                assert!(known.contains(route), "{route} has no entry in ROUTES: name its test");
            }
        }
    }
}
