//! The terminal that we are run in, made raw while somebody else's program is at its other end.

use super::CliError;
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use odooops::environment::shell::Size;
use std::io::{self, IsTerminal, Read};
use tokio::sync::mpsc;

const PIECE: usize = 16 << 10;

/// Bytes go through as they are typed. Restored when dropped, so on every way out.
pub struct Raw(());

impl Raw {
    /// None where there is no terminal at either end.
    pub fn enter() -> Result<Option<Self>, CliError> {
        if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            return Ok(None);
        }
        enable_raw_mode().map_err(CliError::Terminal)?;
        Ok(Some(Self(())))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        _ = disable_raw_mode();
    }
}

pub fn size() -> Size {
    let (columns, rows) = crossterm::terminal::size().unwrap_or((80, 24));
    Size { columns, rows }.bounded()
}

/// What is typed or piped in, until its end. By a thread that nobody waits for: a read of a terminal cannot be given
/// up, and must not keep us from ending.
pub fn typed() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        let mut piece = vec![0; PIECE];
        loop {
            match input.read(&mut piece) {
                Ok(0) => return,
                Ok(length) => {
                    if sender.blocking_send(piece[..length].to_vec()).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    receiver
}
