use axum::Router;
use std::{
    fs, io,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

/// A Unix socket that only its owner can open.
pub struct SocketFile {
    listener: UnixListener,
}

impl SocketFile {
    /// Listens at `path`. What a killed process left there is replaced; a living one is not.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if UnixStream::connect(path).is_ok() {
            let message = format!("{} is served by another process already", path.display());
            return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
        }
        // Bound in a folder of our own and moved: at its place the socket never had another mode.
        let folder = Made::folder(path)?;
        let inner = folder.0.join("s");
        let listener = std::os::unix::net::UnixListener::bind(&inner)?;
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o600))?;
        fs::rename(&inner, path)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener: UnixListener::from_std(listener)? })
    }

    pub fn listen(
        self,
        router: Router,
        ending: &CancellationToken,
    ) -> impl Future<Output = io::Result<()>> + Send + use<> {
        axum::serve(self.listener, router)
            .with_graceful_shutdown(ending.clone().cancelled_owned())
            .into_future()
    }
}

/// A folder of mode 0700 beside the socket, gone afterwards.
struct Made(PathBuf);

impl Made {
    fn folder(beside: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let name = beside.file_name().unwrap_or_default().to_string_lossy();
        let path = beside.with_file_name(format!(".{name}.{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // What is left is an empty folder; the next start makes one of another name.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileTypeExt;

    #[tokio::test]
    async fn the_socket_is_its_owners_and_a_dead_ones_place_is_taken() {
        let dir = std::env::temp_dir().join(format!("ops-socket-{}", uuid::Uuid::now_v7()));
        fs::create_dir(&dir).unwrap();
        let path = dir.join("ops.sock");
        let first = SocketFile::bind(&path).unwrap();
        let meta = fs::symlink_metadata(&path).unwrap();
        assert!(meta.file_type().is_socket());
        assert_eq!(meta.permissions().mode() & 0o777, 0o600);
        assert_eq!(SocketFile::bind(&path).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        // Killed: the file stays, nobody listens.
        drop(first);
        assert!(path.exists());
        SocketFile::bind(&path).unwrap();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        fs::remove_dir_all(&dir).unwrap();
    }
}
