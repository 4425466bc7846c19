//! Where a fault test breaks things: a test that needs more than an installation of its own runs in namespaces of its
//! own (network, mounts, processes, host name). Its ports, its Docker daemon's bridges and its mounts exist nowhere
//! else, and the kernel ends all of it with the namespace's first process, however the test ends.

use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{Pid, geteuid, sethostname},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, exit},
};

const LEVEL: &str = "ODOOOPS_FAULT_LEVEL";
const SCRATCH: &str = "ODOOOPS_FAULT_SCRATCH";
const PREFIX: &str = "odooops-fault-";

/// Runs a test inside. It gets a directory that is gone afterwards.
pub fn enclosed<F: Future<Output = ()>>(test: &str, inside: impl FnOnce(PathBuf) -> F) {
    match std::env::var(LEVEL).as_deref() {
        Ok("inside") => {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.unwrap().block_on(inside(std::env::var_os(SCRATCH).unwrap().into()));
        }
        Ok("first") => first(test),
        _ => outside(test),
    }
}

fn outside(test: &str) {
    assert!(
        geteuid().is_root(),
        "fault tests have a Docker daemon and mounts of their own: run them as root"
    );
    remove_what_killed_tests_left();
    let scratch = std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()));
    fs::create_dir(&scratch).unwrap();
    // The user that PostgreSQL runs as goes through it.
    fs::set_permissions(&scratch, fs::Permissions::from_mode(0o711)).unwrap();
    let mut command = Command::new("unshare");
    command.args([
        "--net",
        "--mount",
        "--uts",
        "--pid",
        "--fork",
        "--kill-child=SIGKILL",
        "--mount-proc",
        "--",
    ]);
    let ended = again(&mut command, test).env(LEVEL, "first").env(SCRATCH, &scratch).status().unwrap();
    remove(&scratch);
    assert!(
        !scratch.exists() && control_groups(&scratch).is_empty(),
        "something holds {}",
        scratch.display()
    );
    let held = loop_devices(&scratch);
    assert!(held.is_empty(), "loop devices are left: {held:?}");
    assert!(ended.success(), "{test} failed inside: {ended}");
}

/// The same test in the same program, once more.
fn again<'a>(command: &'a mut Command, test: &str) -> &'a mut Command {
    command.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"])
}

/// The first process of the namespace: it takes in what others leave, and everything ends with it.
fn first(test: &str) {
    sethostname("odooops-fault").unwrap();
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(LEVEL, "inside");
    let child = Pid::from_raw(i32::try_from(command.spawn().unwrap().id()).unwrap());
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => exit(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                eprintln!("the test was ended by {signal}");
                exit(1);
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// What Docker and the tests made on disk, and the daemon's control groups.
fn remove(scratch: &Path) {
    let _ = fs::remove_dir_all(scratch);
    for group in control_groups(scratch) {
        let folders = walk(&group);
        for folder in folders.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// The parent of the control groups of this test's containers.
pub fn control_group(scratch: &Path) -> String {
    scratch.file_name().unwrap().to_str().unwrap().to_owned()
}

fn control_groups(scratch: &Path) -> Vec<PathBuf> {
    let name = control_group(scratch);
    let controllers = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let within = controllers.map(|entry| entry.path().join(&name));
    std::iter::once(Path::new("/sys/fs/cgroup").join(&name))
        .chain(within)
        .filter(|path| path.is_dir())
        .collect()
}

/// Folders before what is in them.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        found.extend(walk(&entry.path()));
    }
    found
}

fn loop_devices(scratch: &Path) -> Vec<PathBuf> {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten().map(|entry| entry.path());
    let backed = |device: &PathBuf| {
        let file = fs::read_to_string(device.join("loop/backing_file")).unwrap_or_default();
        Path::new(file.trim()).starts_with(scratch)
    };
    devices.filter(backed).collect()
}

/// A test that was killed could not tidy up.
fn remove_what_killed_tests_left() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let maker = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if maker.is_some_and(|pid| !fs::exists(format!("/proc/{pid}")).unwrap_or(true)) {
            remove(&entry.path());
        }
    }
}
