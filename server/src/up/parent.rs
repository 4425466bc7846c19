//! The other end of the supervisor's hold on a role: its standard input is a pipe that nobody writes to. When it
//! closes, the supervisor is gone, even if it was killed with -9, and the role must make room for the next one.

use nix::{
    sys::signal::{Signal, raise},
    unistd::read,
};
use std::{process::exit, time::Duration};

/// Set for processes that `ops up` starts.
pub const SUPERVISED: &str = "OPS_SUPERVISED";

/// How long an orphan may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Signals of one kind that come together are one.
const BETWEEN: Duration = Duration::from_millis(500);

#[expect(clippy::disallowed_methods, reason = "a thread of its own, not an async worker")]
fn sleep(time: Duration) {
    std::thread::sleep(time);
}

/// Watches the pipe in a thread of its own, when there is a supervisor.
pub fn watch() {
    if std::env::var_os(SUPERVISED).is_none() {
        return;
    }
    std::thread::spawn(|| {
        let mut byte = [0_u8; 1];
        while matches!(read(std::io::stdin(), &mut byte), Ok(1..) | Err(nix::errno::Errno::EINTR)) {}
        // Nothing is said: the log's reader is gone too. The same way as a SIGTERM from it: what runs is finished or handed back.
        _ = raise(Signal::SIGTERM);
        sleep(BETWEEN);
        // Nobody waits for a grace: the worker hands back now.
        _ = raise(Signal::SIGTERM);
        sleep(PATIENCE);
        exit(1);
    });
}
