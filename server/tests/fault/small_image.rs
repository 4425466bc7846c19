//! An image of some megabytes that stands where Odoo's would be: `odoo.sh` with busybox and psql.

use crate::daemon::Daemon;
use odooops::postgres::Programs;
use std::{path::Path, process::Command};

pub const NAME: &str = "odooops/stand-in";
const SCRIPT: &str = include_str!("odoo.sh");
const FOLDERS: [&str; 10] = [
    "tmp/",
    "proc/",
    "sys/",
    "dev/",
    "etc/odoo/",
    "var/lib/odoo/",
    "var/run/postgresql/",
    "mnt/src/",
    "root/",
    "run/",
];

/// Puts the image there under this tag.
pub async fn import(daemon: &Daemon, tag: &str) -> String {
    import_as(daemon, tag, "first").await;
    format!("{NAME}:{tag}")
}

/// The same tag with another mark is another image: template databases are made for it again.
pub async fn import_as(daemon: &Daemon, tag: &str, mark: &str) {
    daemon.import(NAME, tag, &format!("LABEL odooops.test={mark}"), archive().await).await;
}

async fn archive() -> Vec<u8> {
    let psql = Programs::find(None, None).await.expect("tests need PostgreSQL's programs").program("psql");
    let mut tar = tar::Builder::new(Vec::new());
    for folder in FOLDERS {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(if folder == "tmp/" { 0o1777 } else { 0o755 });
        header.set_size(0);
        tar.append_data(&mut header, folder, std::io::empty()).unwrap();
    }
    let mut add = |path: &str, mode: u32, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path.trim_start_matches('/'), content).unwrap();
    };
    // How the platform calls Odoo: with the image's own Python.
    add("usr/bin/python3", 0o755, SCRIPT.as_bytes());
    add("bin/busybox", 0o755, &std::fs::read("/bin/busybox").expect("tests need Debian's busybox-static"));
    add("bin/psql", 0o755, &std::fs::read(&psql).expect("tests need psql"));
    for library in libraries(&psql) {
        add(&library, 0o755, &std::fs::read(&library).unwrap());
    }
    add("etc/passwd", 0o644, b"root:x:0:0::/:/bin/false\nodoo:x:64100:64100::/var/lib/odoo:/bin/false\n");
    for page in ["index.html", "web/health", "web/login"] {
        add(&format!("srv/www/{page}"), 0o644, b"ok\n");
    }
    tar.into_inner().unwrap()
}

/// What the program is linked with: `libpq.so.5 => /lib/x86_64-linux-gnu/libpq.so.5 (0x...)`.
fn libraries(program: &Path) -> Vec<String> {
    let output = Command::new("ldd").arg(program).output().expect("tests need ldd");
    let text = String::from_utf8(output.stdout).unwrap();
    let paths = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    paths.map(str::to_owned).collect()
}
