//! The routes on disk, for a start while the ops database is down.

use super::Route;
use serde::{Deserialize, Serialize};
use std::{fs, io, path::Path};

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Copy {
    version: u32,
    routes: Vec<Route>,
}

/// Replaces the file in one step: a reader sees the old routes or the new ones, whatever dies meanwhile.
pub fn write(path: &Path, routes: &[Route]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    // tempfile makes it with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    let copy = Copy { version: VERSION, routes: routes.to_vec() };
    serde_json::to_writer(io::BufWriter::new(&mut file), &copy)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// What was written last; nothing when there is no file yet.
pub fn read(path: &Path) -> io::Result<Vec<Route>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let copy: Copy = serde_json::from_slice(&bytes)?;
    if copy.version != VERSION {
        return Err(io::Error::other(format!("version {} is not known", copy.version)));
    }
    Ok(copy.routes)
}

#[cfg(test)]
mod tests {
    use super::{read, write};
    use crate::{
        environment::EnvironmentState,
        id::{EnvironmentId, HostId, RunId},
        project::Slug,
        proxy::{Node, Route},
    };
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy/routes.json");
        assert_eq!(read(&path).unwrap(), []);
        let routes = [Route {
            environment_id: EnvironmentId::new(),
            hostname: "library-main-0a1b2c".to_owned(),
            project: Slug::parse("library").unwrap(),
            run_id: Some(RunId::new()),
            state: EnvironmentState::Running,
            container_id: Some("c".to_owned()),
            address: Some(([172, 30, 0, 2], 8069).into()),
            websocket_port: Some(8072),
            node: Some(Node { host: HostId::new(), address: "node2.example.com:3443".to_owned() }),
        }];
        for written in [&routes[..], &[]] {
            write(&path, written).unwrap();
            assert_eq!(read(&path).unwrap(), written);
        }
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(path.parent().unwrap().read_dir().unwrap().count(), 1, "no leftovers");

        for broken in ["", "{", r#"{"version":2,"routes":[]}"#, r#"{"version":1}"#] {
            std::fs::write(&path, broken).unwrap();
            read(&path).unwrap_err();
        }
    }
}
