//! The lines that the page holds, and what the viewer asks of them. Pure, so that it is tested without a browser.

use odooops::{log::LogLine, odoo::Record, run::LogLevel};

/// Lines in order of their sequence, each once.
#[derive(Debug, Clone, Default)]
pub struct LogBuffer {
    lines: Vec<LogLine>,
    /// Indexes of lines that begin an error or a warning.
    errors: Vec<usize>,
    warnings: Vec<usize>,
}

impl LogBuffer {
    pub fn new(lines: Vec<LogLine>) -> Self {
        let mut buffer = Self::default();
        buffer.extend(lines);
        buffer
    }

    /// Adds what is new. Lines that are there already (a resume may overlap) change nothing.
    pub fn extend(&mut self, lines: Vec<LogLine>) {
        for line in lines {
            if line.seq <= self.last_seq() {
                continue;
            }
            // Only the first line of a record counts: a traceback is one error.
            if self.begins_record(&line) {
                match line.level {
                    LogLevel::Error => self.errors.push(self.lines.len()),
                    LogLevel::Warn => self.warnings.push(self.lines.len()),
                    LogLevel::Debug | LogLevel::Info => {}
                }
            }
            self.lines.push(line);
        }
    }

    fn begins_record(&self, line: &LogLine) -> bool {
        let continues_part =
            self.lines.last().is_some_and(|last| last.continued && last.stream == line.stream);
        !continues_part && (Record::parse(&line.message).is_some() || !is_odoo(&line.stream))
    }

    pub fn lines(&self) -> &[LogLine] {
        &self.lines
    }

    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// 0 when nothing came yet.
    pub fn last_seq(&self) -> i64 {
        self.lines.last().map_or(0, |line| line.seq)
    }

    pub fn errors(&self) -> &[usize] {
        &self.errors
    }

    pub fn warnings(&self) -> &[usize] {
        &self.warnings
    }

    /// Indexes of the lines that hold the text, whatever its case.
    pub fn find(&self, text: &str) -> Vec<usize> {
        let text = lowercase(text);
        if text.is_empty() {
            return Vec::new();
        }
        let holds = |line: &LogLine| lowercase(&line.message).contains(&text);
        self.lines.iter().enumerate().filter(|(_, line)| holds(line)).map(|(index, _)| index).collect()
    }
}

/// The browser knows all alphabets' letters: what it loads need not.
fn lowercase(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    #[cfg(target_arch = "wasm32")]
    return js_sys::JsString::from(text).to_lower_case().into();
    #[cfg(not(target_arch = "wasm32"))]
    text.to_lowercase()
}

/// Streams in which a line without Odoo's prefix belongs to the line before it.
fn is_odoo(stream: &str) -> bool {
    matches!(stream, "odoo" | "install" | "update")
}

/// Height of one line in pixels; the style sheet says the same.
pub const LINE_HEIGHT: f64 = 18.0;

/// Browsers cap the height of an element; beyond this the scroll bar is mapped to lines.
const MAX_HEIGHT: f64 = 8_000_000.0;

/// Which lines are drawn, and where, for a scroll position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    pub first: usize,
    /// One past the last.
    pub end: usize,
    /// Height of the whole list.
    pub height: f64,
    /// Where the first drawn line stands.
    pub top: f64,
}

impl Window {
    /// A screen's worth above and below is drawn too, so that scrolling shows no blank.
    pub fn of(total: usize, scroll_top: f64, viewport: f64) -> Self {
        let full = total as f64 * LINE_HEIGHT;
        let height = full.min(MAX_HEIGHT);
        let visible = (viewport / LINE_HEIGHT).ceil().max(1.0) as usize;
        let range = (height - viewport).max(1.0);
        let position = (scroll_top.clamp(0.0, range) / range) * (full - viewport).max(0.0);
        let at = if full <= MAX_HEIGHT { scroll_top.max(0.0) } else { position };
        let line = ((at / LINE_HEIGHT) as usize).min(total.saturating_sub(1));
        let first = line.saturating_sub(visible);
        let end = (line + 2 * visible + 1).min(total);
        let shift = (line - first) as f64 * LINE_HEIGHT + at % LINE_HEIGHT;
        Self { first, end, height, top: (scroll_top.clamp(0.0, height) - shift).max(0.0) }
    }

    /// The scroll position that brings a line to the upper third.
    pub fn scroll_to(total: usize, line: usize, viewport: f64) -> f64 {
        let full = total as f64 * LINE_HEIGHT;
        let wanted = (line as f64 * LINE_HEIGHT - viewport / 3.0).clamp(0.0, (full - viewport).max(0.0));
        if full <= MAX_HEIGHT {
            wanted
        } else {
            wanted / (full - viewport).max(1.0) * (MAX_HEIGHT - viewport)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn line(seq: i64, level: LogLevel, message: &str) -> LogLine {
        LogLine {
            seq,
            stream: "odoo".to_owned(),
            level,
            message: message.to_owned(),
            created_at: DateTime::UNIX_EPOCH,
            continued: false,
        }
    }

    #[test]
    fn an_overlapping_resume_repeats_nothing() {
        let mut buffer = LogBuffer::new((1..=5).map(|n| line(n, LogLevel::Info, "x")).collect());
        buffer.extend((3..=8).map(|n| line(n, LogLevel::Info, "x")).collect());
        let sequences: Vec<_> = buffer.lines().iter().map(|l| l.seq).collect();
        assert_eq!(sequences, (1..=8).collect::<Vec<_>>());
    }

    #[test]
    fn a_traceback_is_one_error() {
        let buffer = LogBuffer::new(vec![
            line(1, LogLevel::Error, "2026-11-21 01:37:29,074 1 ERROR db odoo.x: failed"),
            line(2, LogLevel::Error, "Traceback (most recent call last):"),
            line(3, LogLevel::Error, "ValueError: 7"),
            line(4, LogLevel::Warn, "2026-11-21 01:37:29,075 1 WARNING db odoo.x: hm"),
        ]);
        assert_eq!(buffer.errors(), [0]);
        assert_eq!(buffer.warnings(), [3]);
        assert_eq!(buffer.find("valueERROR"), [2]);
        assert!(buffer.find("").is_empty());
    }

    #[test]
    fn every_line_can_be_reached() {
        for total in [1, 10, 1_000, 100_000, 1_000_000, 3_000_000] {
            let viewport = 600.0;
            let top = Window::of(total, 0.0, viewport);
            assert_eq!(top.first, 0);
            let bottom = Window::of(total, top.height - viewport, viewport);
            assert_eq!(bottom.end, total, "{total}");
            for line in [0, total / 3, total / 2, total - 1] {
                let window = Window::of(total, Window::scroll_to(total, line, viewport), viewport);
                assert!(window.first <= line && line < window.end, "{total} {line} {window:?}");
                assert!(window.end - window.first < 200);
            }
        }
    }
}
