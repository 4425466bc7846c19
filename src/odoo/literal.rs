//! Python literals, as `ast.literal_eval` reads them. A manifest is data in Python's clothes: this reads the data
//! and nothing else, so no name is looked up, nothing is called and nothing runs. Depth is bounded, and every error
//! knows its line.

/// A value. Numbers stay text: nobody here computes with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    None,
    Bool(bool),
    Number(String),
    Text(String),
    Bytes,
    Ellipsis,
    /// A list, a tuple or a set.
    Sequence(Vec<Literal>),
    Dict(Vec<(Literal, Literal)>),
}

impl Literal {
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What `bool(value)` gives in Python.
    pub fn truth(&self) -> bool {
        match self {
            Self::None => false,
            Self::Bool(value) => *value,
            Self::Number(digits) => digits.bytes().any(|b| (b'1'..=b'9').contains(&b)),
            Self::Text(text) => !text.is_empty(),
            Self::Bytes | Self::Ellipsis => true,
            Self::Sequence(items) => !items.is_empty(),
            Self::Dict(items) => !items.is_empty(),
        }
    }

    /// The value under `key`; the last one wins, as in Python.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Dict(items) => items.iter().rev().find(|(k, _)| k.as_text() == Some(key)).map(|(_, v)| v),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct LiteralError {
    pub line: usize,
    pub message: String,
}

const MAX_DEPTH: usize = 50;

/// Reads the one literal that `source` consists of.
pub fn parse(source: &str) -> Result<Literal, LiteralError> {
    let mut reader = Reader { source: source.strip_prefix('\u{feff}').unwrap_or(source), at: 0 };
    reader.skip_blank()?;
    if reader.rest().is_empty() {
        return reader.fail("the file is empty");
    }
    let value = reader.value(0)?;
    reader.skip_blank()?;
    match reader.peek() {
        None => Ok(value),
        Some(c) => reader.fail(format!("unexpected {c:?} after the end of the value")),
    }
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take_if(&mut self, text: &str) -> bool {
        let there = self.rest().starts_with(text);
        if there {
            self.at += text.len();
        }
        there
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, LiteralError> {
        let line = 1 + self.source[..self.at].bytes().filter(|b| *b == b'\n').count();
        Err(LiteralError { line, message: message.into() })
    }

    /// White space, comments and continued lines.
    fn skip_blank(&mut self) -> Result<(), LiteralError> {
        loop {
            match self.peek() {
                Some(' ' | '\t' | '\r' | '\n' | '\x0c') => {
                    self.take();
                }
                Some('#') => {
                    let end = self.rest().find('\n').unwrap_or(self.rest().len());
                    self.at += end;
                }
                Some('\\') if self.rest().starts_with("\\\n") || self.rest().starts_with("\\\r\n") => {
                    self.take();
                }
                Some('\0') => return self.fail("a NUL character"),
                _ => return Ok(()),
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Literal, LiteralError> {
        if depth > MAX_DEPTH {
            return self.fail("nested too deeply");
        }
        match self.peek() {
            None => self.fail("the file ends in the middle of a value"),
            Some('{') => self.braces(depth),
            Some('[') => {
                self.take();
                Ok(Literal::Sequence(self.items(']', Vec::new(), depth)?))
            }
            Some('(') => self.parentheses(depth),
            Some('"' | '\'') => self.strings(),
            Some('+' | '-') => {
                let sign = self.take();
                self.skip_blank()?;
                match self.value(depth + 1)? {
                    Literal::Number(digits) if sign == Some('-') => Ok(Literal::Number(format!("-{digits}"))),
                    Literal::Number(digits) => Ok(Literal::Number(digits)),
                    _ => self.fail("a sign stands before something that is no number"),
                }
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_alphabetic() || c == '_' => self.word(),
            Some(c) => self.fail(format!("unexpected {c:?} where a value should be")),
        }
    }

    fn braces(&mut self, depth: usize) -> Result<Literal, LiteralError> {
        self.take();
        self.skip_blank()?;
        if self.take_if("}") {
            return Ok(Literal::Dict(Vec::new()));
        }
        let first = self.value(depth + 1)?;
        self.skip_blank()?;
        if self.peek() != Some(':') {
            return Ok(Literal::Sequence(self.items('}', vec![first], depth)?));
        }
        let mut pairs = Vec::new();
        let mut key = first;
        loop {
            if matches!(key, Literal::Sequence(_) | Literal::Dict(_)) {
                return self.fail("a key of a dictionary must be a text");
            }
            if !self.take_if(":") {
                return self.fail("expected ':' after a key of a dictionary");
            }
            self.skip_blank()?;
            let value = self.value(depth + 1)?;
            pairs.push((key, value));
            self.skip_blank()?;
            let comma = self.take_if(",");
            self.skip_blank()?;
            if self.take_if("}") {
                return Ok(Literal::Dict(pairs));
            }
            if !comma {
                return self.expected("',' or '}'");
            }
            key = self.value(depth + 1)?;
            self.skip_blank()?;
        }
    }

    fn parentheses(&mut self, depth: usize) -> Result<Literal, LiteralError> {
        self.take();
        self.skip_blank()?;
        if self.take_if(")") {
            return Ok(Literal::Sequence(Vec::new()));
        }
        let first = self.value(depth + 1)?;
        self.skip_blank()?;
        // One value in parentheses is that value; a comma makes the tuple.
        if self.take_if(")") {
            return Ok(first);
        }
        Ok(Literal::Sequence(self.items(')', vec![first], depth)?))
    }

    /// The values up to `close`; `items` holds those already read, with the comma after them still to come.
    fn items(
        &mut self,
        close: char,
        mut items: Vec<Literal>,
        depth: usize,
    ) -> Result<Vec<Literal>, LiteralError> {
        loop {
            self.skip_blank()?;
            let comma = items.is_empty() || self.take_if(",");
            self.skip_blank()?;
            if self.peek() == Some(close) {
                self.take();
                return Ok(items);
            }
            if !comma {
                return self.expected(&format!("',' or '{close}'"));
            }
            items.push(self.value(depth + 1)?);
        }
    }

    fn expected<T>(&self, what: &str) -> Result<T, LiteralError> {
        match self.peek() {
            Some(c) => self.fail(format!("expected {what}, found {c:?}")),
            None => self.fail(format!("expected {what}, found the end of the file")),
        }
    }

    fn number(&mut self) -> Result<Literal, LiteralError> {
        if self.take_if("...") {
            return Ok(Literal::Ellipsis);
        }
        let start = self.at;
        while let Some(c) = self.peek() {
            let hex = self.source[start..self.at].starts_with("0x");
            let exponent = !hex && self.source[start..self.at].ends_with(['e', 'E']);
            if c.is_ascii_alphanumeric() || c == '.' || c == '_' || (exponent && matches!(c, '+' | '-')) {
                self.take();
            } else {
                break;
            }
        }
        let digits = self.source[start..self.at].to_owned();
        if !digits.bytes().any(|b| b.is_ascii_digit()) {
            return self.fail(format!("unexpected {digits:?} where a value should be"));
        }
        Ok(Literal::Number(digits))
    }

    fn word(&mut self) -> Result<Literal, LiteralError> {
        let length =
            self.rest().find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest().len());
        let word = self.rest()[..length].to_owned();
        let next = self.rest()[length..].chars().next();
        if matches!(next, Some('"' | '\'')) {
            return match word.to_ascii_lowercase().as_str() {
                "r" | "u" | "b" | "br" | "rb" => self.strings(),
                "f" | "fr" | "rf" => self.fail("a formatted text (f\"...\") is code, not a literal"),
                _ => self.fail(format!("a text cannot begin with {}", shown(&word))),
            };
        }
        let value = match word.as_str() {
            "True" => Literal::Bool(true),
            "False" => Literal::Bool(false),
            "None" => Literal::None,
            "set" if self.rest()[length..].starts_with("()") => {
                self.at += 2;
                Literal::Sequence(Vec::new())
            }
            _ => return self.fail(format!("{} is code or a name, not a literal", shown(&word))),
        };
        self.at += length;
        Ok(value)
    }

    /// One or more texts side by side: Python joins them.
    fn strings(&mut self) -> Result<Literal, LiteralError> {
        let mut joined = String::new();
        let mut bytes = false;
        loop {
            let prefix = self.rest().find(['"', '\'']).unwrap_or(0);
            let flags = self.rest()[..prefix].to_ascii_lowercase();
            self.at += prefix;
            bytes |= flags.contains('b');
            self.string(flags.contains('r'), &mut joined)?;
            let end = self.at;
            self.skip_blank()?;
            let rest = self.rest();
            let more = ["\"", "'", "r\"", "r'", "R\"", "R'", "u\"", "u'", "b\"", "b'"];
            if !more.iter().any(|start| rest.starts_with(start)) {
                self.at = end;
                return Ok(if bytes { Literal::Bytes } else { Literal::Text(joined) });
            }
        }
    }

    fn string(&mut self, raw: bool, into: &mut String) -> Result<(), LiteralError> {
        let opened = self.at;
        let quote = if self.rest().starts_with("\"\"\"") || self.rest().starts_with("'''") {
            self.rest()[..3].to_owned()
        } else {
            self.rest()[..1].to_owned()
        };
        self.at += quote.len();
        loop {
            if self.take_if(&quote) {
                return Ok(());
            }
            match self.take() {
                None | Some('\n') if quote.len() == 1 => {
                    self.at = opened;
                    return self.fail("a text that is not closed on its line");
                }
                None => {
                    self.at = opened;
                    return self.fail("a text that is never closed begins here");
                }
                Some('\\') if raw => {
                    into.push('\\');
                    into.extend(self.take());
                }
                Some('\\') => self.escape(into)?,
                Some('\0') => return self.fail("a NUL character"),
                Some(c) => into.push(c),
            }
        }
    }

    fn escape(&mut self, into: &mut String) -> Result<(), LiteralError> {
        match self.take() {
            None => return self.fail("the file ends in the middle of a text"),
            Some('\n') => {}
            Some('\r') => {
                self.take_if("\n");
            }
            Some('n') => into.push('\n'),
            Some('t') => into.push('\t'),
            Some('r') => into.push('\r'),
            Some('a') => into.push('\x07'),
            Some('b') => into.push('\x08'),
            Some('f') => into.push('\x0c'),
            Some('v') => into.push('\x0b'),
            Some(c @ ('\\' | '\'' | '"')) => into.push(c),
            Some('x') => self.code_point(2, into)?,
            Some('u') => self.code_point(4, into)?,
            Some('U') => self.code_point(8, into)?,
            Some('N') if self.rest().starts_with('{') => {
                let Some(end) = self.rest().find('}') else {
                    return self.fail("a character name that is never closed");
                };
                self.at += end + 1;
                into.push(char::REPLACEMENT_CHARACTER);
            }
            Some(first) if first.is_digit(8) => {
                let mut code = first.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    match self.peek().and_then(|c| c.to_digit(8)) {
                        Some(digit) => {
                            code = code * 8 + digit;
                            self.take();
                        }
                        None => break,
                    }
                }
                into.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            // Python keeps the backslash of an escape that it does not know.
            Some(c) => into.extend(['\\', c]),
        }
        Ok(())
    }

    fn code_point(&mut self, digits: usize, into: &mut String) -> Result<(), LiteralError> {
        let mut code = 0u32;
        for _ in 0..digits {
            match self.take().and_then(|c| c.to_digit(16)) {
                Some(digit) => code = code.wrapping_mul(16).wrapping_add(digit),
                None => return self.fail("an escape with too few hexadecimal digits"),
            }
        }
        into.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        Ok(())
    }
}

/// A word of the file as an error may repeat it.
fn shown(word: &str) -> String {
    format!("{:?}", word.chars().take(40).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(value: &str) -> Literal {
        Literal::Text(value.to_owned())
    }

    #[test]
    fn reads_what_literal_eval_reads() {
        let cases = [
            ("None", Literal::None),
            ("  # a comment\n\n True # another\n", Literal::Bool(true)),
            ("-12.5e-3", Literal::Number("-12.5e-3".into())),
            ("0xff_ff", Literal::Number("0xff_ff".into())),
            ("'a' \"b\" r'\\n' '''c\nd'''", text("a b\\nc\nd".replace(' ', "").as_str())),
            ("('a'\n 'b')", text("ab")),
            ("'\\x41\\u00e9\\101\\q\\'\\\n'", text("Aé A\\q'".replace(' ', "").as_str())),
            ("b'x'", Literal::Bytes),
            ("...", Literal::Ellipsis),
            ("()", Literal::Sequence(vec![])),
            ("('a',)", Literal::Sequence(vec![text("a")])),
            ("{'a', 'b'}", Literal::Sequence(vec![text("a"), text("b")])),
            ("set()", Literal::Sequence(vec![])),
            ("['a', ['b',],]", Literal::Sequence(vec![text("a"), Literal::Sequence(vec![text("b")])])),
            ("{'a': 1, 'a': None,}", {
                Literal::Dict(vec![(text("a"), Literal::Number("1".into())), (text("a"), Literal::None)])
            }),
            ("{}", Literal::Dict(vec![])),
        ];
        for (source, expected) in cases {
            assert_eq!(parse(source), Ok(expected), "{source}");
        }
        let twice = parse("{'a': 1, 'a': 'last'}").unwrap();
        assert_eq!(twice.get("a"), Some(&text("last")));
    }

    #[test]
    fn code_is_refused_with_its_line() {
        let cases = [
            ("{\n'a': open('/etc/passwd').read(),\n}", 2, "\"open\" is code or a name"),
            ("__import__('os').system('id')", 1, "code or a name"),
            ("{'a': f'{x}'}", 1, "formatted text"),
            ("{'a': 1 + 1}", 1, "expected ',' or '}', found '+'"),
            ("{'a': 'b' % 'c'}", 1, "found '%'"),
            ("{**x}", 1, "unexpected '*'"),
            ("{'a': [x for x in y]}", 1, "code or a name"),
            ("{'a': 1}\nimport os", 2, "after the end"),
            ("{\n\n'a: 1}", 3, "not closed on its line"),
            ("{'a':", 1, "ends in the middle"),
            ("'''abc", 1, "never closed"),
            ("", 1, "empty"),
            ("<?xml version='1.0'?>", 1, "unexpected '<'"),
            ("{['a']: 1}", 1, "key"),
            ("-'a'", 1, "sign"),
        ];
        for (source, line, message) in cases {
            let error = parse(source).unwrap_err();
            assert_eq!(error.line, line, "{source}: {error}");
            assert!(error.message.contains(message), "{source}: {error}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(100_000);
        assert!(parse(&deep).unwrap_err().message.contains("deeply"));
        assert!(parse(&"-".repeat(100_000)).unwrap_err().message.contains("deeply"));
        assert!(parse(&"{'a':".repeat(100_000)).unwrap_err().message.contains("deeply"));
    }

    proptest! {
        #[test]
        fn any_text_comes_to_an_end(source in "[\\PC\n]{0,200}") {
            let _ = parse(&source);
        }

        #[test]
        fn python_like_noise_comes_to_an_end(source in "[\\[\\](){}:,'\"a-zA-Z0-9_.\\\\#\n -]{0,200}") {
            let _ = parse(&source);
        }

        #[test]
        fn a_quoted_text_is_that_text(value in "[^\\\\'\0\r\n]{0,60}") {
            prop_assert_eq!(parse(&format!("'{value}'")), Ok(Literal::Text(value)));
        }
    }
}
