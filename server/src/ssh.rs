//! `ops-ssh`: what git starts to reach an ssh URL. It replaces itself by ssh with our options in front, of which
//! ssh takes the first: no configuration of the user that this runs as, no prompt, no agent, and the address that was
//! judged instead of asking the name server again.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

pub fn run() -> ExitCode {
    let error = Command::new("ssh").args(options(|key| env::var_os(key))).args(env::args_os().skip(1)).exec();
    eprintln!("ssh could not be started: {error}");
    ExitCode::FAILURE
}

fn options(variable: impl Fn(&str) -> Option<OsString>) -> Vec<OsString> {
    let mut options: Vec<OsString> = vec!["-F".into(), "none".into(), "-a".into(), "-x".into()];
    let mut set = |key: &str, value: &OsStr| {
        let mut option = OsString::from(key);
        option.push("=");
        option.push(value);
        options.extend(["-o".into(), option]);
    };
    for (key, value) in [
        ("BatchMode", "yes"),
        ("StrictHostKeyChecking", "accept-new"),
        ("GlobalKnownHostsFile", "/dev/null"),
        ("IdentitiesOnly", "yes"),
        ("IdentityAgent", "none"),
        ("PermitLocalCommand", "no"),
        ("ProxyCommand", "none"),
        ("ClearAllForwardings", "yes"),
        ("ConnectTimeout", "20"),
        ("ServerAliveInterval", "30"),
    ] {
        set(key, OsStr::new(value));
    }
    set("UserKnownHostsFile", &quoted(variable("OPS_SSH_KNOWN_HOSTS").unwrap_or_else(|| "/dev/null".into())));
    match variable("OPS_SSH_KEY") {
        Some(key) => set("IdentityFile", &quoted(key)),
        None => set("IdentityFile", OsStr::new("none")),
    }
    // Without an address nothing was judged: a host that does not exist is where ssh then goes.
    set("HostName", &variable("OPS_SSH_ADDRESS").unwrap_or_else(|| "invalid.".into()));
    if let Some(host) = variable("OPS_SSH_HOST") {
        set("HostKeyAlias", &host);
    }
    options
}

/// ssh splits values at blanks.
fn quoted(path: OsString) -> OsString {
    let mut quoted = OsString::from("\"");
    quoted.push(path);
    quoted.push("\"");
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(values: &[(&str, &str)]) -> Vec<String> {
        let find = |key: &str| values.iter().find(|(k, _)| *k == key).map(|(_, v)| OsString::from(v));
        options(find).into_iter().map(|o| o.into_string().unwrap()).collect()
    }

    #[test]
    fn ssh_goes_to_the_judged_address_only() {
        let options =
            with(&[("OPS_SSH_ADDRESS", "1.1.1.1"), ("OPS_SSH_HOST", "example.com"), ("OPS_SSH_KEY", "/k y")]);
        for expected in
            ["HostName=1.1.1.1", "HostKeyAlias=example.com", "IdentityFile=\"/k y\"", "BatchMode=yes"]
        {
            assert!(options.iter().any(|o| o == expected), "{expected}: {options:?}");
        }
        assert!(with(&[]).iter().any(|o| o == "HostName=invalid."));
        assert_eq!(with(&[])[..2], ["-F", "none"]);
    }

    /// The real ssh reads the options as they are meant: `-G` prints them and connects nowhere.
    #[test]
    fn ssh_understands_the_options() {
        let options = options(|key| (key == "OPS_SSH_ADDRESS").then(|| "192.0.2.1".into()));
        let Ok(output) = Command::new("ssh").args(options).args(["-G", "git@example.com"]).output() else {
            // Machines that fetch nothing by ssh may lack it.
            return;
        };
        let text = String::from_utf8(output.stdout).unwrap();
        for line in ["hostname 192.0.2.1", "batchmode yes", "user git", "clearallforwardings yes"] {
            assert!(
                text.lines().any(|l| l == line),
                "{line} not in {text} {output:?}",
                output = output.stderr
            );
        }
    }
}
