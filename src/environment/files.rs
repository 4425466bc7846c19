//! Files of an environment, as its worker reads them: from the folders that are mounted into its container, so that
//! one that is stopped has files too. The tenant writes there, links and pipes included; the kernel itself resolves
//! every path below the folder and refuses what leads out (`openat2` with RESOLVE_BENEATH).

use super::{FileEntry, FileKind, FileList, FilePath, FileRoot};
use crate::{config::Config, id::EnvironmentId};
use chrono::DateTime;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2, statat},
    io::Errno,
};
use std::{fs::File, io, os::fd::OwnedFd, path::PathBuf};

/// Of one folder.
pub const MAX_ENTRIES: usize = 5_000;

/// What a path leads to.
#[derive(Debug)]
pub enum Found {
    Folder(FileList),
    File { file: File, size: u64 },
}

#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("there is no such file")]
    NotFound,
    /// A link that leads out, a pipe, a device.
    #[error("it is neither a file nor a folder of the environment")]
    Refused,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for FilesError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::NOTDIR => Self::NotFound,
            // XDEV: out of the folder. NXIO: a socket, or a pipe that nobody writes.
            Errno::XDEV | Errno::LOOP | Errno::NXIO => Self::Refused,
            other => Self::Io(other.into()),
        }
    }
}

/// Where a root begins on this machine, and what follows from there. The tenant cannot replace the folder itself: it
/// is a mount point in the container, and its parent is not mounted.
fn place(config: &Config, environment: EnvironmentId, root: FileRoot) -> (PathBuf, &'static str) {
    let folder = config.environment_dir(environment);
    match root {
        FileRoot::Src => (folder.join("src"), ""),
        FileRoot::Filestore => (folder.join("data"), "filestore"),
    }
}

/// Blocks.
pub fn look(config: &Config, environment: EnvironmentId, path: &FilePath) -> Result<Found, FilesError> {
    let Some(root) = path.root() else { return Ok(Found::Folder(roots())) };
    let (folder, first) = place(config, environment, root);
    let within: Vec<&str> = [first, path.within()].into_iter().filter(|part| !part.is_empty()).collect();
    let within = if within.is_empty() { ".".to_owned() } else { within.join("/") };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    let folder = rustix::fs::open(&folder, flags | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    // A pipe that nobody writes to would be waited for.
    let found = openat2(&folder, within.as_str(), flags | OFlags::NONBLOCK, Mode::empty(), resolve)?;
    let stat = fstat(&found)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(Found::File { file: File::from(found), size: size(&stat) }),
        FileType::Directory => Ok(Found::Folder(list(path, found)?)),
        _ => Err(FilesError::Refused),
    }
}

fn roots() -> FileList {
    let entry = |root: FileRoot| FileEntry {
        name: root.as_str().to_owned(),
        kind: FileKind::Folder,
        size: 0,
        modified_at: None,
    };
    FileList { path: String::new(), entries: FileRoot::ALL.map(entry).into(), more: false }
}

fn list(path: &FilePath, folder: OwnedFd) -> Result<FileList, FilesError> {
    let (mut entries, mut more) = (Vec::new(), false);
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        // A name that is no text cannot be asked for either.
        let Ok(name) = entry.file_name().to_str() else { continue };
        if matches!(name, "." | "..") {
            continue;
        }
        if entries.len() == MAX_ENTRIES {
            more = true;
            break;
        }
        // Gone meanwhile: not there.
        let Ok(stat) = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        entries.push(FileEntry {
            name: name.to_owned(),
            kind: match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => FileKind::File,
                FileType::Directory => FileKind::Folder,
                FileType::Symlink => FileKind::Link,
                _ => FileKind::Other,
            },
            size: size(&stat),
            modified_at: DateTime::from_timestamp(stat.st_mtime, 0),
        });
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(FileList { path: path.to_string(), entries, more })
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;
    use std::{collections::BTreeMap, fs, io::Read, os::unix::fs::symlink};

    fn found(config: &Config, id: EnvironmentId, path: &str) -> Result<Found, FilesError> {
        look(config, id, &FilePath::parse(path).unwrap())
    }

    #[test]
    fn threat_12_links_pipes_and_tricks_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let keys = BTreeMap::from([("data_dir", dir.path().display().to_string())]);
        let config = Config::load(&Flags { file: None, keys }, |_| None).unwrap();
        let id = EnvironmentId::new();
        let folder = config.environment_dir(id);
        for made in ["src/sale", "data/filestore/env", "data/sessions", "etc"] {
            fs::create_dir_all(folder.join(made)).unwrap();
        }
        fs::write(folder.join("etc/odoo.conf"), "secret").unwrap();
        fs::write(folder.join("src/sale/models.py"), "class Sale").unwrap();
        symlink("sale", folder.join("src/alias")).unwrap();
        for (name, target) in [
            ("absolute", "/etc/passwd".to_owned()),
            ("up", "../etc/odoo.conf".to_owned()),
            ("deep", "sale/../../etc".to_owned()),
            ("own", folder.join("src/sale/models.py").display().to_string()),
            ("magic", "/proc/self/root/etc/passwd".to_owned()),
            ("loop", "loop".to_owned()),
        ] {
            symlink(target, folder.join("src").join(name)).unwrap();
            let refused = found(&config, id, &format!("src/{name}"));
            assert!(matches!(refused, Err(FilesError::Refused)), "{name}: {refused:?}");
        }
        let pipe = folder.join("src/pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        assert!(matches!(found(&config, id, "src/pipe"), Err(FilesError::Refused)));
        assert!(matches!(found(&config, id, "src/none"), Err(FilesError::NotFound)));
        assert!(matches!(found(&config, id, "src/sale/models.py/x"), Err(FilesError::NotFound)));
        assert!(matches!(found(&config, EnvironmentId::new(), "src"), Err(FilesError::NotFound)));
        // Links that stay inside are the project's own.
        let Found::File { mut file, size } = found(&config, id, "src/alias/models.py").unwrap() else {
            panic!()
        };
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), size), ("class Sale", 10));
        let Found::Folder(list) = found(&config, id, "src").unwrap() else { panic!() };
        let kinds: Vec<_> = list.entries.iter().map(|entry| (entry.name.as_str(), entry.kind)).collect();
        assert!(kinds.contains(&("sale", FileKind::Folder)) && kinds.contains(&("pipe", FileKind::Other)));
        assert!(kinds.contains(&("up", FileKind::Link)) && !list.more);
        // The tenant may put a link where the filestore is: it gets no further than its own data.
        fs::remove_dir_all(folder.join("data/filestore")).unwrap();
        symlink("../etc", folder.join("data/filestore")).unwrap();
        assert!(matches!(found(&config, id, "filestore"), Err(FilesError::Refused)));
        assert!(matches!(found(&config, id, "filestore/odoo.conf"), Err(FilesError::Refused)));
        let Found::Folder(list) = found(&config, id, "").unwrap() else { panic!() };
        assert_eq!(list.entries.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["src", "filestore"]);
    }

    #[test]
    fn a_folder_of_many_is_cut_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..MAX_ENTRIES + 1 {
            fs::write(dir.path().join(format!("{number}")), "").unwrap();
        }
        let folder = OwnedFd::from(File::open(dir.path()).unwrap());
        let listed = list(&FilePath::parse("src").unwrap(), folder).unwrap();
        assert_eq!((listed.entries.len(), listed.more), (MAX_ENTRIES, true));
    }
}
