//! `ops` under another name. Git starts its hooks and its ssh as programs without a shell: these are links to this
//! binary, and the name that it was called by tells which one is meant.
//!
//! Hooks decide nothing themselves. They read what git says, ask the server over `ops.sock`, and print its answer,
//! which the person who pushes reads behind `remote:`.

use hyper_util::rt::TokioIo;
use odooops::{
    branch::CommitSha,
    git::Quarantine,
    id::{ProjectId, UserId},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    env,
    io::{BufRead, BufReader, Read},
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};
use tokio::net::UnixStream;

/// More refs in one push are an accident or an attack.
const MAX_REFS: usize = 500;
/// A line is two hashes and a ref; git allows refs of 4 kB and more.
const MAX_LINE: u64 = 4096;
const TIMEOUT: Duration = Duration::from_secs(30);
const ZERO: &str = "0000000000000000000000000000000000000000";

/// One ref of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefUpdate {
    /// None: the ref is new.
    pub old: Option<CommitSha>,
    /// None: the ref is deleted.
    pub new: Option<CommitSha>,
    /// The full name, whatever it is.
    pub name: String,
    /// The ref drops commits that it had.
    pub forced: bool,
    /// The new object is a commit.
    pub commit: bool,
}

/// What both hooks tell the server.
#[derive(Debug, Serialize, Deserialize)]
pub struct Push {
    pub project_id: ProjectId,
    pub user_id: UserId,
    /// From where they push.
    #[serde(default)]
    pub address: Option<IpAddr>,
    pub refs: Vec<RefUpdate>,
}

/// The server's answer, line by line for the person who pushes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Only the pre-receive hook can refuse.
    pub accepted: bool,
    pub lines: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hook {
    PreReceive,
    PostReceive,
}

/// Does what the name asks for; None when this was called as `ops`.
pub fn called_as_link() -> Option<ExitCode> {
    let name = env::args_os().next()?;
    let hook = match Path::new(&name).file_name()?.to_str()? {
        "pre-receive" => Hook::PreReceive,
        "post-receive" => Hook::PostReceive,
        "ops-ssh" => return Some(crate::ssh::run()),
        _ => return None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(hook)),
        Err(error) => Err(format!("OdooOps could not start its hook: {error}")),
    };
    Some(match (hook, outcome) {
        (_, Ok(true)) => ExitCode::SUCCESS,
        (_, Ok(false)) => ExitCode::FAILURE,
        (Hook::PreReceive, Err(why)) => {
            eprintln!("{why}");
            eprintln!("Nothing was stored. Please push again later.");
            ExitCode::FAILURE
        }
        (Hook::PostReceive, Err(why)) => {
            eprintln!("{why}");
            eprintln!(
                "The push is stored; its builds are queued as soon as OdooOps notices it, within a minute or so."
            );
            ExitCode::SUCCESS
        }
    })
}

async fn run(hook: Hook) -> Result<bool, String> {
    let variable = |key| {
        env::var(key)
            .map_err(|_| "Push over OdooOps' own address: this repository has no other door.".to_owned())
    };
    let socket = PathBuf::from(variable("OPS_HOOK_SOCKET")?);
    let project_id = variable("OPS_PROJECT_ID")?.parse().map_err(|_| "The project's id is damaged.")?;
    let user_id = variable("OPS_USER_ID")?.parse().map_err(|_| "The user's id is damaged.")?;
    let address = env::var("OPS_CLIENT_ADDRESS").ok().and_then(|address| address.parse().ok());
    let mut refs = read_refs(std::io::stdin().lock())?;
    if hook == Hook::PreReceive {
        inspect(&mut refs).await.map_err(|error| format!("OdooOps could not look at the push: {error}"))?;
    }
    let path = match hook {
        Hook::PreReceive => "/internal/hooks/pre-receive",
        Hook::PostReceive => "/internal/hooks/post-receive",
    };
    let push = Push { project_id, user_id, address, refs };
    let asked = tokio::time::timeout(TIMEOUT, ask::<Answer>(&socket, path, &push)).await;
    let answer = asked.map_err(|_| "OdooOps does not answer in time.".to_owned())??;
    for line in &answer.lines {
        eprintln!("{line}");
    }
    Ok(answer.accepted || hook == Hook::PostReceive)
}

/// `old new ref` lines, as git writes them to both hooks.
fn read_refs(input: impl Read) -> Result<Vec<RefUpdate>, String> {
    let mut input = BufReader::new(input);
    let mut refs = Vec::new();
    loop {
        let mut line = Vec::new();
        let read = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        if read.map_err(|error| format!("git broke off: {error}"))? == 0 {
            return Ok(refs);
        }
        if line.last() != Some(&b'\n') {
            return Err("A ref's name is too long.".to_owned());
        }
        if refs.len() == MAX_REFS {
            return Err(format!("At most {MAX_REFS} refs can be pushed at once."));
        }
        let line = String::from_utf8_lossy(&line);
        let damaged = || "git wrote something unexpected.".to_owned();
        let mut fields = line.trim_end_matches('\n').splitn(3, ' ');
        let mut next = || fields.next().ok_or_else(damaged);
        let (old, new, name) = (next()?, next()?, next()?.to_owned());
        let sha = |text: &str| match text.starts_with(ZERO) {
            true => Ok(None),
            false => CommitSha::parse(text).map(Some).map_err(|_| damaged()),
        };
        refs.push(RefUpdate { old: sha(old)?, new: sha(new)?, name, forced: false, commit: true });
    }
}

/// Looks at the branches where only the hook can: the pushed objects are in quarantine.
async fn inspect(refs: &mut [RefUpdate]) -> Result<(), odooops::git::GitError> {
    let quarantine = Quarantine::of_this_hook()?;
    for update in refs.iter_mut().filter(|update| update.name.starts_with("refs/heads/")) {
        let Some(new) = &update.new else { continue };
        update.commit = quarantine.is_commit(new).await?;
        if let (Some(old), true) = (&update.old, update.commit) {
            update.forced = quarantine.is_forced(old, new).await?;
        }
    }
    Ok(())
}

/// A POST over the server's own socket.
async fn ask<T: DeserializeOwned>(socket: &Path, path: &str, body: &impl Serialize) -> Result<T, String> {
    let failed = |error: &dyn std::fmt::Display| format!("OdooOps does not answer: {error}");
    let stream = UnixStream::connect(socket).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    tokio::spawn(connection);
    let bytes = serde_json::to_vec(body).map_err(|error| failed(&error))?;
    let request = hyper::Request::post(path)
        .header(hyper::header::HOST, "localhost")
        .header(hyper::header::CONTENT_TYPE, "application/json")
        .body(axum::body::Body::from(bytes))
        .map_err(|error| failed(&error))?;
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let status = response.status();
    let body = axum::body::to_bytes(axum::body::Body::new(response.into_body()), 1 << 20).await;
    let body = body.map_err(|error| failed(&error))?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|error| failed(&error));
    }
    // The server's words for the person, when it found some.
    Err(match serde_json::from_slice::<Answer>(&body) {
        Ok(answer) if !answer.lines.is_empty() => answer.lines.join("\n"),
        _ => format!("OdooOps does not answer: {status}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_are_read_as_git_writes_them() {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let text = format!(
            "{ZERO} {a} refs/heads/x; touch pwned $(id)\n{a} {b} refs/heads/main\n{b} {ZERO} refs/heads/gone\n"
        );
        let refs = read_refs(text.as_bytes()).unwrap();
        assert_eq!(refs[0].name, "refs/heads/x; touch pwned $(id)");
        assert_eq!((refs[0].old.is_none(), refs[0].new.is_some()), (true, true));
        assert_eq!((refs[1].old.is_some(), refs[1].new.is_some()), (true, true));
        assert!(refs[2].new.is_none());
        assert!(read_refs(&b""[..]).unwrap().is_empty());
    }

    #[test]
    fn damaged_and_endless_input_is_refused() {
        let a = "a".repeat(40);
        assert!(read_refs(&b"nonsense\n"[..]).is_err());
        assert!(read_refs(format!("{a} xyz refs/heads/x\n").as_bytes()).is_err());
        assert!(read_refs(format!("{a} {a} refs/heads/{}\n", "x".repeat(5000)).as_bytes()).is_err());
        assert!(read_refs(format!("{a} {a} refs/heads/x\n").repeat(MAX_REFS + 1).as_bytes()).is_err());
        assert!(read_refs(std::io::repeat(b'x')).is_err());
    }
}
