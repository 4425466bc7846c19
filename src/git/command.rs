//! Starting git: the one place that does.
//!
//! Repositories are written by strangers, so nothing of the machine's or the repository's own configuration may
//! decide what git does: the environment is emptied, system and user configuration are off, ours comes through
//! `GIT_CONFIG_COUNT`, which wins over the repository's file. Each git leads a process group, so that stopping it
//! also stops its `git-remote-https` and `index-pack`.

use super::error::{GitError, Result};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

/// What the administrator decides about git.
#[derive(Debug, Clone)]
pub struct GitSettings {
    /// `<data>/git`.
    pub root: PathBuf,
    /// The `ops` binary, which hooks and ssh are links to.
    pub ops: PathBuf,
    /// Whether `file://` URLs may be fetched: they read everything that this user can read.
    pub allow_file: bool,
    /// Whether hosts with loopback, private or link-local addresses may be fetched from.
    pub allow_private_hosts: bool,
    /// The key for ssh URLs.
    pub ssh_key: Option<PathBuf>,
}

impl GitSettings {
    /// How this installation runs git, in every role.
    pub fn of(config: &crate::config::Config) -> std::io::Result<Self> {
        let key = config.secrets_dir().join("git_ssh_key");
        Ok(Self {
            root: config.git_dir(),
            ops: std::env::current_exe()?,
            allow_file: config.allow_file_remotes,
            allow_private_hosts: config.allow_private_remotes,
            ssh_key: key.is_file().then_some(key),
        })
    }
}

/// A git to run commands with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Git(Arc<GitSettings>);

/// Commands that only read or write the local repository.
const LOCAL_TIMEOUT: Duration = Duration::from_secs(120);
const DEFAULT_OUTPUT: usize = 16 << 20;
const STDERR_LIMIT: usize = 16 << 10;

/// What holds for every git.
const CONFIG: &[(&str, &str)] = &[
    ("safe.directory", "*"),
    ("core.symlinks", "false"),
    ("core.protectHFS", "true"),
    ("core.protectNTFS", "true"),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.quotePath", "false"),
    // A bare repository keeps what a forced push dropped, so that its builds can be run again.
    ("core.logAllRefUpdates", "always"),
    ("credential.helper", ""),
    ("gc.autoDetach", "false"),
    ("gc.reflogExpire", "90.days"),
    ("gc.reflogExpireUnreachable", "90.days"),
    ("pack.windowMemory", "128m"),
    ("pack.threads", "2"),
    ("protocol.allow", "never"),
    ("protocol.https.allow", "always"),
    ("protocol.ssh.allow", "always"),
    ("protocol.ext.allow", "never"),
    ("http.followRedirects", "false"),
    // Give up on a host that sends less than 1 kB/s for a minute.
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", "60"),
    ("transfer.fsckObjects", "true"),
    ("transfer.credentialsInUrl", "die"),
    // Flaws of old tools that harmless old history has; everything else is refused.
    ("fetch.fsck.zeroPaddedFilemode", "warn"),
    ("fetch.fsck.badTimezone", "warn"),
    ("fetch.fsck.missingSpaceBeforeDate", "warn"),
    ("receive.fsck.zeroPaddedFilemode", "warn"),
    ("receive.fsck.badTimezone", "warn"),
    ("receive.fsck.missingSpaceBeforeDate", "warn"),
    ("submodule.recurse", "false"),
    ("init.defaultBranch", "main"),
    ("advice.detachedHead", "false"),
    ("maintenance.auto", "false"),
    ("gc.auto", "0"),
];

/// No hook of any kind, unless a push is being received.
const NO_HOOKS: (&str, &str) = ("core.hooksPath", "/dev/null");

impl Git {
    /// Makes what git needs below `root`, and refuses a git that is too old for merges without a worktree.
    pub async fn open(settings: GitSettings) -> Result<Self> {
        let root = settings.root.clone();
        for folder in [root.clone(), root.join("home"), root.join("modules"), root.join("links")] {
            std::fs::create_dir_all(&folder).map_err(GitError::io(&folder))?;
        }
        super::repository::link(&settings.ops, &root.join("links").join("ops-ssh"))?;
        let git = Self(Arc::new(settings));
        let version = git.command("version").run_text().await?;
        let found = version.trim().trim_start_matches("git version ").to_owned();
        let mut numbers = found.split('.').map_while(|part| part.parse::<u32>().ok());
        if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (2, 38) {
            return Err(GitError::TooOld { found });
        }
        Ok(git)
    }

    /// Inside a hook, where everything is made and checked already.
    pub(super) fn in_hook(root: PathBuf) -> Self {
        Self(Arc::new(GitSettings {
            root,
            ops: PathBuf::new(),
            allow_file: false,
            allow_private_hosts: false,
            ssh_key: None,
        }))
    }

    pub fn settings(&self) -> &GitSettings {
        &self.0
    }

    /// `what` is git's subcommand.
    pub(super) fn command(&self, what: &'static str) -> GitCommand {
        self.command_with_hooks(what).config(NO_HOOKS.0, NO_HOOKS.1)
    }

    /// For receiving pushes: the repository's own `hooks` folder counts, which holds nothing but our links.
    pub(super) fn command_with_hooks(&self, what: &'static str) -> GitCommand {
        let root = &self.0.root;
        let mut protocols = "https:ssh".to_owned();
        let mut config: Vec<(String, String)> =
            CONFIG.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        if self.0.allow_file {
            protocols.push_str(":file");
            config.push(("protocol.file.allow".to_owned(), "always".to_owned()));
        }
        let mut env: Vec<(OsString, OsString)> = Vec::new();
        let mut set = |key: &str, value: &OsStr| env.push((key.into(), value.into()));
        set("PATH", &std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()));
        set("HOME", root.join("home").as_os_str());
        set("XDG_CONFIG_HOME", root.join("home").as_os_str());
        for (key, value) in [
            ("LC_ALL", "C.UTF-8"),
            ("TZ", "UTC"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", ""),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            ("GIT_NO_LAZY_FETCH", "1"),
            ("GIT_LITERAL_PATHSPECS", "1"),
            ("GIT_SSH_VARIANT", "ssh"),
        ] {
            set(key, OsStr::new(value));
        }
        // Takes precedence over protocol.* of any configuration file.
        set("GIT_ALLOW_PROTOCOL", OsStr::new(&protocols));
        set("GIT_SSH", root.join("links").join("ops-ssh").as_os_str());
        set("OPS_SSH_KNOWN_HOSTS", root.join("known_hosts").as_os_str());
        if let Some(key) = &self.0.ssh_key {
            set("OPS_SSH_KEY", key.as_os_str());
        }
        GitCommand {
            what,
            args: Vec::new(),
            env,
            config,
            stdin: Vec::new(),
            output_limit: DEFAULT_OUTPUT,
            timeout: LOCAL_TIMEOUT,
        }
    }
}

pub(super) struct GitCommand {
    what: &'static str,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    config: Vec<(String, String)>,
    stdin: Vec<u8>,
    output_limit: usize,
    timeout: Duration,
}

pub(super) struct Output {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl GitCommand {
    /// An argument. What comes from outside follows `--end-of-options` or `--`, or has a type that no option fits.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub fn args<I: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = I>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub fn git_dir(self, path: &Path) -> Self {
        self.env("GIT_DIR", path)
    }

    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.into(), value.as_ref().to_owned()));
        self
    }

    pub fn config(mut self, key: &str, value: &str) -> Self {
        self.config.push((key.to_owned(), value.to_owned()));
        self
    }

    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    pub fn output_limit(mut self, bytes: usize) -> Self {
        self.output_limit = bytes;
        self
    }

    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn prepared(&self) -> Command {
        let mut command = Command::new("git");
        command.env_clear().envs(self.env.iter().map(|(key, value)| (key, value)));
        command.env("GIT_CONFIG_COUNT", self.config.len().to_string());
        for (index, (key, value)) in self.config.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{index}"), key);
            command.env(format!("GIT_CONFIG_VALUE_{index}"), value);
        }
        command.arg(self.what).args(&self.args);
        command.current_dir("/").process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts it with open pipes, for bodies that are too large to hold.
    pub fn spawn(&self) -> Result<(Child, Group)> {
        let what = self.what;
        let child = self.prepared().spawn().map_err(|source| GitError::Spawn { what, source })?;
        let group = Group::of(&child);
        Ok((child, group))
    }

    /// Runs it to its end, whatever its exit code.
    pub async fn output(self) -> Result<Output> {
        let (what, limit, after) = (self.what, self.output_limit, self.timeout);
        let (mut child, mut group) = self.spawn()?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let bytes = self.stdin;
        let feed = async move {
            if let Some(mut pipe) = stdin {
                // A git that ends early closes the pipe: its exit code tells, not this.
                let _ = pipe.write_all(&bytes).await;
            }
        };
        let run = async {
            let (out, err, ()) = tokio::join!(read_bounded(stdout, limit), read_start(stderr), feed);
            let out = match out {
                Ok(Some(out)) => out,
                Ok(None) => return Err(GitError::OutputTooLarge { what, limit }),
                Err(source) => return Err(GitError::Spawn { what, source }),
            };
            let status = child.wait().await.map_err(|source| GitError::Spawn { what, source })?;
            Ok(Output { code: status.code(), stdout: out, stderr: err })
        };
        // Too much output and too much time end alike: the group is killed when it is dropped.
        let output =
            tokio::time::timeout(after, run).await.map_err(|_| GitError::TimedOut { what, after })??;
        group.ended();
        Ok(output)
    }

    /// Runs it and expects success.
    pub async fn run(self) -> Result<Vec<u8>> {
        let what = self.what;
        let output = self.output().await?;
        if output.code == Some(0) {
            return Ok(output.stdout);
        }
        Err(GitError::Failed { what, code: output.code, stderr: output.stderr })
    }

    pub async fn run_text(self) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.run().await?).into_owned())
    }
}

/// None when there is more than `limit`. On the way out the pipe is closed, which ends the writer.
async fn read_bounded(
    pipe: Option<impl AsyncRead + Unpin>,
    limit: usize,
) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(limit as u64 + 1).read_to_end(&mut bytes).await?;
    }
    Ok((bytes.len() <= limit).then_some(bytes))
}

/// The start of what git complains about, as text without control characters; the rest is read and dropped.
pub(super) async fn read_start(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        let mut chunk = [0; 4096];
        while let Ok(n @ 1..) = pipe.read(&mut chunk).await {
            let room = STDERR_LIMIT.saturating_sub(kept.len()).min(n);
            kept.extend_from_slice(&chunk[..room]);
        }
    }
    let text = String::from_utf8_lossy(&kept);
    text.trim().chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

/// The process group of a git: killed whole when this is dropped before it ended.
pub struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    /// The leader was waited for: its number may belong to another process now.
    pub(super) fn ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fixture;
    use super::*;

    #[tokio::test]
    async fn environment_and_configuration_are_ours_only() {
        let fixture = Fixture::new().await;
        let text = fixture.git.command("config").args(["--list", "--show-scope"]).run_text().await.unwrap();
        assert!(text.lines().all(|line| line.starts_with("command\t")), "{text}");
        for line in ["protocol.allow=never", "transfer.fsckobjects=true", "core.hookspath=/dev/null"] {
            assert!(text.contains(line), "{line} missing in {text}");
        }
        assert!(!text.contains("protocol.file.allow"), "{text}");
    }

    #[tokio::test]
    async fn output_and_time_are_bounded() {
        let fixture = Fixture::new().await;
        let long = fixture.git.command("help").arg("-a").output_limit(10).run().await;
        assert!(matches!(long, Err(GitError::OutputTooLarge { limit: 10, .. })), "{long:?}");
        // Waits for an end of input that never comes: this side holds the pipe open.
        let command = fixture.git.command("hash-object").arg("--stdin");
        let (mut child, group) = command.spawn().unwrap();
        drop(group);
        let status = child.wait().await.unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }

    #[tokio::test]
    async fn a_slow_git_is_stopped() {
        let fixture = Fixture::new().await;
        let repo = fixture.bare("slow").await;
        let started = std::time::Instant::now();
        // `cat-file --batch` with a fifo nobody writes to as its alternates file blocks for ever.
        let fifo = repo.path().join("objects/info/alternates");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        let outcome = fixture
            .git
            .command("cat-file")
            .git_dir(repo.path())
            .args(["-e", "0123456789012345678901234567890123456789"])
            .timeout(Duration::from_millis(300))
            .run()
            .await;
        assert!(matches!(outcome, Err(GitError::TimedOut { .. })), "{outcome:?}");
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}
