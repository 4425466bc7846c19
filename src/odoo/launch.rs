//! How Odoo is started inside an environment: by a few lines of Python around its own `main`, so that it stays inside
//! its own database (see `launch.py`). Without them it dies at once, because its role cannot enter `postgres`.

use std::{
    fs, io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt, chown},
    path::Path,
};

pub const SCRIPT: &str = include_str!("launch.py");

/// The folder of `odoo.conf` and `launch.py` inside the container; mounted read-only.
pub const FOLDER: &str = "/etc/odoo";
const CONF: &str = "odoo.conf";
const LAUNCH: &str = "launch.py";

/// The beginning of every command line: `python` is that of the image or of a requirements layer.
pub fn command(python: &str) -> Vec<String> {
    vec![python.to_owned(), format!("{FOLDER}/{LAUNCH}")]
}

/// `--config=/etc/odoo/odoo.conf`.
pub fn config_option() -> String {
    format!("--config={FOLDER}/{CONF}")
}

/// The uid and gid of Odoo's processes: numbers that neither a host nor an image has, so that no file of theirs is
/// readable to them by accident. Without root we cannot give files away and are it ourselves.
pub fn owner() -> (u32, u32) {
    const TENANTS: u32 = 64_100;
    let uid = nix::unistd::Uid::effective();
    if uid.is_root() { (TENANTS, TENANTS) } else { (uid.as_raw(), nix::unistd::Gid::effective().as_raw()) }
}

/// Writes the folder that is mounted at [`FOLDER`], anew. The configuration holds a password: only Odoo's uid reads
/// it, and nobody writes it.
pub fn write_folder(folder: &Path, conf: &str) -> io::Result<()> {
    use std::io::Write;
    fs::create_dir_all(folder)?;
    let (uid, gid) = owner();
    for (name, content, mode) in [(CONF, conf, 0o400), (LAUNCH, SCRIPT, 0o444)] {
        let path = folder.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(content.as_bytes())?;
        chown(&path, Some(uid), Some(gid))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn only_odoo_reads_the_password() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("etc");
        write_folder(&folder, "[options]\n").unwrap();
        write_folder(&folder, "[options]\ndb_name = x\n").unwrap();
        let conf = fs::metadata(folder.join(CONF)).unwrap();
        assert_eq!((conf.mode() & 0o777, conf.uid(), conf.gid()), (0o400, owner().0, owner().1));
        assert_eq!(fs::read_to_string(folder.join(CONF)).unwrap(), "[options]\ndb_name = x\n");
        assert_eq!(fs::metadata(folder.join(LAUNCH)).unwrap().mode() & 0o777, 0o444);
    }
}
