//! The browser's files: compressed where the build compressed them, and kept no longer than their names allow.

use super::{
    Fixture,
    fixture::{Answer, json, send},
};
use axum::http::{Request, header};
use std::{fs, path::Path};

/// As a release build leaves it; the copies' contents tell which of them was sent.
fn build(site: &Path) {
    for folder in ["pkg", "fonts"] {
        fs::create_dir(site.join(folder)).unwrap();
    }
    for (file, content) in [
        ("pkg/odooops.abc.wasm", "plain"),
        ("pkg/odooops.abc.wasm.br", "brotli"),
        ("pkg/odooops.abc.wasm.gz", "gzip"),
        ("pkg/debug.wasm", "plain"),
        ("fonts/inter.woff2", "font"),
    ] {
        fs::write(site.join(file), content).unwrap();
    }
}

async fn get(f: &Fixture, path: &str, encodings: Option<&str>) -> Answer {
    let mut request = Request::get(path);
    if let Some(encodings) = encodings {
        request = request.header(header::ACCEPT_ENCODING, encodings);
    }
    send(&f.console, json(request, None)).await
}

#[tokio::test]
async fn a_browser_gets_the_smallest_copy_that_it_understands() {
    let f = Fixture::new().await;
    build(&f.web.config.site_root);
    for (path, encodings, content, encoding) in [
        ("/pkg/odooops.abc.wasm", Some("gzip, deflate, br, zstd"), "brotli", Some("br")),
        ("/pkg/odooops.abc.wasm", Some("gzip"), "gzip", Some("gzip")),
        ("/pkg/odooops.abc.wasm", None, "plain", None),
        // What has no compressed copy comes as it is.
        ("/pkg/debug.wasm", Some("br"), "plain", None),
    ] {
        let answer = get(&f, path, encodings).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, content), "{path} {encodings:?}");
        let told = answer.headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap());
        assert_eq!(told, encoding, "{path} {encodings:?}");
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/wasm");
        assert_eq!(answer.headers[header::VARY], "accept-encoding", "caches keep the copies apart");
    }
}

#[tokio::test]
async fn only_what_is_there_is_kept_and_only_what_its_name_pins_is_kept_for_ever() {
    let f = Fixture::new().await;
    build(&f.web.config.site_root);
    let hashed = get(&f, "/pkg/odooops.abc.wasm", None).await;
    assert_eq!(hashed.headers[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
    assert_eq!(hashed.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    let font = get(&f, "/fonts/inter.woff2", None).await;
    assert_eq!(font.headers[header::CACHE_CONTROL], "public, max-age=86400");

    // The browser asks again with what it was told, and keeps its copy for as long again.
    let since = hashed.headers[header::LAST_MODIFIED].clone();
    let again = Request::get("/pkg/odooops.abc.wasm").header(header::IF_MODIFIED_SINCE, since);
    let unchanged = send(&f.console, json(again, None)).await;
    assert_eq!(unchanged.status, 304);
    assert_eq!(unchanged.headers[header::CACHE_CONTROL], "public, max-age=31536000, immutable");

    for path in ["/pkg/odooops.old.wasm", "/fonts/none.woff2", "/pkg/../hash.txt", "/pkg/%2e%2e/hash.txt"] {
        let missing = get(&f, path, Some("br")).await;
        assert_eq!(missing.status, 404, "{path}");
        assert_eq!(missing.headers[header::CACHE_CONTROL], "no-store", "{path}");
    }
}
