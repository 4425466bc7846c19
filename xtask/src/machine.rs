//! What this machine is: where the clone, the caches and the tools are, and how to act as root on it.

use crate::toolchain::Toolchain;
use anyhow::{Context, Result, bail};
use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub struct Machine {
    /// The clone.
    pub root: PathBuf,
    /// Can be thrown away: compiled dependencies, shared by all clones.
    pub cache: PathBuf,
    /// Our own tools, so that nothing the user has for other projects is replaced.
    pub tools: PathBuf,
    toolchain: RefCell<Option<Toolchain>>,
}

impl Machine {
    pub fn look() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().context("xtask lies in the clone")?.to_path_buf();
        let home = std::env::var_os("HOME").map(PathBuf::from).context("HOME is not set")?;
        let cache = directory("XDG_CACHE_HOME", &home, ".cache").join("odooops");
        let tools = directory("XDG_DATA_HOME", &home, ".local/share").join("odooops/tools");
        std::fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
        Ok(Self { root, cache, tools, toolchain: RefCell::new(None) })
    }

    /// Things xtask writes for this clone alone: logs, stamps.
    pub fn scratch(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join("target").join("xtask-state").join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// The Rust that can compile for both sides, or `None` where none is installed yet.
    pub fn toolchain(&self) -> Option<Toolchain> {
        if self.toolchain.borrow().is_none() {
            *self.toolchain.borrow_mut() = Toolchain::detect(self);
        }
        self.toolchain.borrow().clone()
    }

    pub fn forget_toolchain(&self) {
        *self.toolchain.borrow_mut() = None;
    }

    /// The PATH children get: our own tools, the chosen Rust, then the user's.
    pub fn path(&self, rust: Option<&Path>) -> OsString {
        let user = std::env::var_os("PATH").unwrap_or_default();
        let ours = [self.tools.join("bin")].into_iter().chain(rust.map(Path::to_path_buf));
        let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
        let all = ours.chain(std::env::split_paths(&user)).chain(sbin);
        std::env::join_paths(all).unwrap_or(user)
    }

    /// Where a program is on the children's PATH. Ours come first.
    pub fn find(&self, program: &str) -> Option<PathBuf> {
        let path = self.path(None);
        std::env::split_paths(&path).map(|d| d.join(program)).find(|p| is_executable(p))
    }

    /// A command with the children's environment, in the clone.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).stdin(Stdio::null());
        // With CI set, some programs colour even what they print into a pipe, which we read.
        command.env("NO_COLOR", "1");
        crate::toolchain::without_cargos_traces(&mut command);
        match self.toolchain() {
            Some(toolchain) => toolchain.apply(self, &mut command),
            None => {
                command.env("PATH", self.path(None));
            }
        }
        command
    }

    /// The same command as root: itself where we are root, by sudo otherwise.
    pub fn as_root(&self, program: &str) -> Result<Command> {
        if self.is_root() {
            return Ok(self.command(program));
        }
        if self.find("sudo").is_none() {
            bail!(
                "`{program}` needs root and there is no sudo: run this as root, or run `{program}` by hand"
            );
        }
        let mut command = self.command("sudo");
        // Variables such as DEBIAN_FRONTEND are given with `env` by those who need them: sudo drops its own.
        command.arg("--").arg(program);
        Ok(command)
    }

    pub fn is_root(&self) -> bool {
        user_id(None) == Some(0)
    }

    pub fn is_debian_like(&self) -> bool {
        self.find("apt-get").is_some() && self.find("dpkg-query").is_some()
    }
}

fn directory(variable: &str, home: &Path, default: &str) -> PathBuf {
    match std::env::var_os(variable).map(PathBuf::from) {
        Some(path) if path.is_absolute() => path,
        _ => home.join(default),
    }
}

/// The numeric id of a user, or of ourselves.
pub fn user_id(name: Option<&str>) -> Option<u32> {
    let mut command = Command::new("id");
    command.arg("-u").args(name).stderr(Stdio::null());
    String::from_utf8(command.output().ok()?.stdout).ok()?.trim().parse().ok()
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// What a program prints, if it runs and succeeds.
pub fn output_of(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
