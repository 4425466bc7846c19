//! Lines out of a stream of bytes.
//!
//! The stream arrives in pieces of any size; the lines are the same however it was cut. A line ends with LF or
//! CRLF. What is not UTF-8 becomes U+FFFD as in [`String::from_utf8_lossy`]; NUL is left out, because PostgreSQL has
//! no place for it. A line above [`MAX_LINE`] comes as parts, each but the last flagged `continued`, so memory is
//! bounded whatever the stream holds. Each line tells how many bytes of the stream it took: their sum is the
//! position from which a new splitter goes on as if it had never been another.

use super::MAX_LINE;

/// What is kept for the next line of the memory that a long one took.
const SPARE: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitLine<'a> {
    pub text: &'a str,
    /// More of the same line follows.
    pub continued: bool,
    /// Bytes of the stream that are done with, the line's end included.
    pub raw: usize,
}

/// One splitter per stream: standard output and error would tear each other's lines apart.
#[derive(Debug, Default)]
pub struct Splitter {
    text: String,
    raw: usize,
    /// The beginning of a character whose end has not come yet.
    torn: Vec<u8>,
}

impl Splitter {
    pub fn push(&mut self, mut bytes: &[u8], mut line: impl FnMut(SplitLine<'_>)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            if !self.pass(&bytes[..end], &mut line) {
                self.add(&bytes[..end], &mut line);
                self.settle(&mut line);
                self.raw += 1;
                if self.text.ends_with('\r') {
                    self.text.pop();
                }
                self.give(false, &mut line);
            }
            bytes = &bytes[end + 1..];
        }
        self.add(bytes, &mut line);
    }

    /// The stream is over: what has no end of line is a line too.
    pub fn finish(&mut self, mut line: impl FnMut(SplitLine<'_>)) {
        self.settle(&mut line);
        if self.raw > 0 {
            self.give(false, &mut line);
        }
    }

    /// Bytes that were pushed and are in no line yet.
    pub fn pending(&self) -> usize {
        self.raw + self.torn.len()
    }

    /// Almost every line comes in one piece, with nothing in it to be changed: it is given as it is. False: it is not
    /// such a line.
    fn pass(&self, bytes: &[u8], line: &mut impl FnMut(SplitLine<'_>)) -> bool {
        if self.pending() > 0 || bytes.len() > MAX_LINE {
            return false;
        }
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        if bytes.contains(&0) {
            return false;
        }
        let text = text.strip_suffix('\r').unwrap_or(text);
        line(SplitLine { text, continued: false, raw: bytes.len() + 1 });
        true
    }

    fn give(&mut self, continued: bool, line: &mut impl FnMut(SplitLine<'_>)) {
        line(SplitLine { text: &self.text, continued, raw: std::mem::take(&mut self.raw) });
        self.text.clear();
        self.text.shrink_to(SPARE);
    }

    /// Adds bytes without an end of line.
    fn add(&mut self, bytes: &[u8], line: &mut impl FnMut(SplitLine<'_>)) {
        let joined;
        let mut bytes = bytes;
        if !self.torn.is_empty() && !bytes.is_empty() {
            joined = [std::mem::take(&mut self.torn).as_slice(), bytes].concat();
            bytes = &joined;
        }
        loop {
            match std::str::from_utf8(bytes) {
                Ok(text) => return self.add_text(text, line),
                Err(error) => {
                    let (valid, rest) = bytes.split_at(error.valid_up_to());
                    // Just found to be valid.
                    self.add_text(&String::from_utf8_lossy(valid), line);
                    let Some(bad) = error.error_len() else {
                        self.torn = rest.to_vec();
                        return;
                    };
                    self.add_clean("\u{fffd}", bad, line);
                    bytes = &rest[bad..];
                }
            }
        }
    }

    /// Nothing more can come to complete a torn character.
    fn settle(&mut self, line: &mut impl FnMut(SplitLine<'_>)) {
        let torn = std::mem::take(&mut self.torn).len();
        if torn > 0 {
            self.add_clean("\u{fffd}", torn, line);
        }
    }

    fn add_text(&mut self, text: &str, line: &mut impl FnMut(SplitLine<'_>)) {
        let mut parts = text.split('\0');
        if let Some(first) = parts.next() {
            self.add_long(first, line);
        }
        for part in parts {
            self.raw += 1;
            self.add_long(part, line);
        }
    }

    /// Text of which each byte is one byte of the stream.
    fn add_long(&mut self, mut text: &str, line: &mut impl FnMut(SplitLine<'_>)) {
        while self.text.len() + text.len() > MAX_LINE {
            let (fits, rest) = text.split_at(text.floor_char_boundary(MAX_LINE - self.text.len()));
            self.text.push_str(fits);
            self.raw += fits.len();
            self.give(true, line);
            text = rest;
        }
        self.text.push_str(text);
        self.raw += text.len();
    }

    /// A character that stands for `raw` bytes of the stream.
    fn add_clean(&mut self, character: &str, raw: usize, line: &mut impl FnMut(SplitLine<'_>)) {
        if self.text.len() + character.len() > MAX_LINE {
            self.give(true, line);
        }
        self.text.push_str(character);
        self.raw += raw;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq)]
    struct Line {
        text: String,
        continued: bool,
        raw: usize,
    }

    fn split(chunks: &[&[u8]]) -> Vec<Line> {
        let (mut splitter, mut lines) = (Splitter::default(), Vec::new());
        let mut keep = |line: SplitLine<'_>| {
            lines.push(Line { text: line.text.to_owned(), continued: line.continued, raw: line.raw });
        };
        for chunk in chunks {
            splitter.push(chunk, &mut keep);
        }
        splitter.finish(&mut keep);
        lines
    }

    fn texts(bytes: &[u8]) -> Vec<String> {
        split(&[bytes]).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn ends_of_lines() {
        assert_eq!(texts(b"a\nb\r\n\nc\r\r\n\rd"), ["a", "b", "", "c\r", "\rd"]);
        assert_eq!(texts(b""), [""; 0]);
        assert_eq!(texts(b"\n"), [""]);
    }

    #[test]
    fn postgres_can_store_every_line() {
        assert_eq!(
            texts(b"a\0b\n\0\n\xffx\xe2\x82\ny\xe2\x82"),
            ["ab", "", "\u{fffd}x\u{fffd}", "y\u{fffd}"]
        );
    }

    #[test]
    fn a_long_line_comes_in_parts() {
        let euro = "\u{20ac}".repeat(MAX_LINE);
        let lines = split(&[euro.as_bytes(), b"\nnext\n"]);
        assert_eq!(lines.len(), 5);
        assert!(lines[..3].iter().all(|line| line.continued && line.text.len() <= MAX_LINE));
        assert!(!lines[3].continued);
        let whole: String = lines[..4].iter().map(|line| line.text.as_str()).collect();
        assert!(whole == euro);
        assert_eq!(lines[4].text, "next");
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_whole() {
        let text = vec![b'x'; MAX_LINE];
        let lines = split(&[&text, b"\n"]);
        assert_eq!((lines.len(), lines[0].continued, lines[0].raw), (1, false, MAX_LINE + 1));
    }

    #[test]
    fn memory_is_bounded_in_a_line_of_200_mb() {
        // What is not UTF-8 grows threefold, and is slow to look at in a debug build: less of it.
        for (byte, chunks) in [(b'x', 200 * 64), (0xff, 8 * 64), (0, 8 * 64)] {
            let (mut splitter, mut raw) = (Splitter::default(), 0);
            let chunk = vec![byte; 16 * 1024];
            for _ in 0..chunks {
                splitter.push(&chunk, |line| {
                    raw += line.raw;
                    assert!(line.text.len() <= MAX_LINE);
                });
                assert!(splitter.text.capacity() <= 2 * MAX_LINE && splitter.torn.len() < 4);
            }
            assert_eq!(raw + splitter.pending(), chunks * 16 * 1024);
        }
    }

    /// Bytes in which everything special is frequent.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\0".to_vec()),
            Just("\u{20ac}".as_bytes().to_vec()),
            Just("\u{1f600}".as_bytes().to_vec()),
            Just(vec![0xe2, 0x82]),
            Just(vec![0xf0, 0x9f]),
            prop::collection::vec(any::<u8>(), 0..6),
            (MAX_LINE - 4..MAX_LINE + 4).prop_map(|n| vec![b'x'; n]),
        ];
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_chunking_gives_the_same_lines(bytes in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40)) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let lines = split(&chunks);
            prop_assert!(lines == split(&[&bytes]));
            prop_assert_eq!(lines.iter().map(|line| line.raw).sum::<usize>(), bytes.len());
        }

        #[test]
        fn a_new_splitter_goes_on_behind_any_line(bytes in stream(), behind in any::<prop::sample::Index>()) {
            let lines = split(&[&bytes]);
            let n = behind.index(lines.len() + 1);
            let position: usize = lines[..n].iter().map(|line| line.raw).sum();
            prop_assert!(split(&[&bytes[position..]]) == lines[n..]);
        }

        #[test]
        fn short_lines_read_as_the_lossy_text(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let text = String::from_utf8_lossy(&bytes).replace('\0', "");
            let expected: Vec<&str> = text.split_terminator('\n').map(|l| l.strip_suffix('\r').unwrap_or(l)).collect();
            let lines = texts(&bytes);
            // The last line has no end, so its CR is its own; and one of only NULs is a line to us.
            let n = lines.len().saturating_sub(1).min(expected.len());
            prop_assert_eq!(&lines[..n], &expected[..n]);
        }
    }
}
