//! Lines as a busy Odoo prints them, and what tells whether they arrived.

use anyhow::Result;
use sha2::{Digest, Sha256};
use std::{
    fmt::Write as _,
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
};

const MODELS: [&str; 8] = [
    "sale.order",
    "res.partner",
    "account.move",
    "stock.picking",
    "mail.message",
    "product.product",
    "purchase.order",
    "crm.lead",
];
const METHODS: [&str; 5] = ["web_read", "web_search_read", "name_search", "write", "onchange"];

/// The same lines each time.
pub struct Lines {
    state: u64,
    text: String,
    number: u64,
}

impl Lines {
    pub fn new() -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15, text: String::new(), number: 0 }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % below
    }

    /// The next one, without its end.
    pub fn next_line(&mut self) -> &str {
        let (kind, pid) = (self.random(20), 7 + self.random(6));
        let millis = self.number * 13 / 10;
        let (hour, minute, second, milli) =
            (millis / 3_600_000 % 24, millis / 60_000 % 60, millis / 1000 % 60, millis % 1000);
        let model = MODELS[self.random(8) as usize];
        let method = METHODS[self.random(5) as usize];
        let (a, b, c) = (self.random(256), self.random(1000), self.random(1000));
        self.text.clear();
        // Writing to a string does not fail.
        let _ = match kind {
            0 => write!(
                self.text,
                "2026-11-21 {hour:02}:{minute:02}:{second:02},{milli:03} {pid} WARNING prod odoo.addons.base.models.ir_cron: Job '{model}: {method}' ({a}) took {b}.{c:03}s"
            ),
            1 => write!(
                self.text,
                "  File \"/usr/lib/python3/dist-packages/odoo/addons/{model}.py\", line {b}, in {method}"
            ),
            _ => write!(
                self.text,
                "2026-11-21 {hour:02}:{minute:02}:{second:02},{milli:03} {pid} INFO prod werkzeug: 10.0.0.{a} - - [21/Nov/2026 {hour:02}:{minute:02}:{second:02}] \"POST /web/dataset/call_kw/{model}/{method} HTTP/1.1\" 200 - {} 0.{b:03} 0.{c:03}",
                a / 3
            ),
        };
        self.number += 1;
        &self.text
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self::new()
    }
}

/// Of lines, each with its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    pub lines: u64,
    pub bytes: u64,
    pub sha256: String,
}

#[derive(Default)]
pub struct Summing {
    lines: u64,
    bytes: u64,
    hash: Sha256,
}

impl Summing {
    pub fn add(&mut self, line: &str) {
        self.lines += 1;
        self.bytes += line.len() as u64 + 1;
        self.hash.update(line);
        self.hash.update(b"\n");
    }

    pub fn end(self) -> Sum {
        let sha256 = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Sum { lines: self.lines, bytes: self.bytes, sha256 }
    }
}

/// Writes a file of so many lines.
pub fn write(path: &Path, count: u64) -> Result<Sum> {
    let (mut lines, mut sum) = (Lines::new(), Summing::default());
    let mut file = BufWriter::new(File::create(path)?);
    for _ in 0..count {
        let line = lines.next_line();
        sum.add(line);
        file.write_all(line.as_bytes())?;
        file.write_all(b"\n")?;
    }
    file.flush()?;
    Ok(sum.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_summed_as_its_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let sum = write(&path, 1000).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut again = Summing::default();
        text.lines().for_each(|line| again.add(line));
        assert_eq!(sum, again.end());
        assert_eq!((sum.lines, sum.bytes), (1000, text.len() as u64));
        assert_eq!(write(&path, 1000).unwrap(), sum);
    }
}
