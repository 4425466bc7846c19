//! One supervisor per data directory. The kernel gives the lock up with the process, however it ends.

use crate::Failure;
use nix::fcntl::{Flock, FlockArg};
use std::{fs::File, path::Path};

pub fn hold(path: &Path) -> Result<Flock<File>, Failure> {
    let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, _)| {
        format!("`ops up` already runs for this data directory ({} is locked)", path.display()).into()
    })
}

#[cfg(test)]
mod tests {
    use super::hold;

    #[test]
    fn a_second_supervisor_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("up.lock");
        let first = hold(&path).unwrap();
        assert!(hold(&path).is_err());
        drop(first);
        assert!(hold(&path).is_ok());
    }
}
