//! Lines that the platform stored, against what the small image prints: see `odoo.sh`.

use sha2::{Digest, Sha256};

pub struct Line {
    pub seq: i64,
    pub stream: String,
    pub message: String,
}

/// What one container's life left in a run's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub stream: String,
    /// The short id.
    pub container: String,
    pub numbered: u64,
    /// Its last line is there, and all before it are what it says.
    pub complete: bool,
}

/// No sequence and no number is missing or there twice, no line is changed, none is in another container's part.
pub fn check(lines: &[Line]) -> Result<Vec<Part>, String> {
    for (expected, line) in (1..).zip(lines) {
        if line.seq != expected {
            return Err(format!("line {} stands where line {expected} should: {:?}", line.seq, line.message));
        }
    }
    let mut streams: Vec<&str> = lines.iter().map(|line| line.stream.as_str()).collect();
    streams.sort_unstable();
    streams.dedup();
    let mut parts = Vec::new();
    for stream in streams.into_iter().filter(|stream| ["template", "install", "odoo"].contains(stream)) {
        parts.extend(of_stream(stream, lines.iter().filter(|line| line.stream == stream))?);
    }
    Ok(parts)
}

fn of_stream<'a>(stream: &str, lines: impl Iterator<Item = &'a Line>) -> Result<Vec<Part>, String> {
    let mut parts: Vec<Part> = Vec::new();
    let (mut hash, mut count) = (Sha256::new(), 0_u64);
    let mut others = Vec::new();
    for line in lines {
        let text = line.message.as_str();
        let wrong = |why: &str| format!("stream {stream}, line {}: {why}: {text:?}", line.seq);
        if let Some((_, container)) = text.split_once(" odoo: Odoo version 19.0 in ") {
            let container = container.trim().to_owned();
            parts.push(Part { stream: stream.to_owned(), container, numbered: 0, complete: false });
            (hash, count) = (Sha256::new(), 0);
            others.clear();
        }
        let part = parts.last_mut().ok_or_else(|| wrong("nothing before it says whose it is"))?;
        if part.complete {
            return Err(wrong("a line after the last one"));
        }
        if let Some((_, told)) = text.split_once(" odoo.stand_in: ") {
            let sum = format!("{:x}", std::mem::take(&mut hash).finalize());
            if told != format!("{} said {count} lines, sha256 {sum}", part.container) {
                return Err(wrong(&format!(
                    "there are {count} lines with {sum}, not numbered are {others:?}"
                )));
            }
            part.complete = true;
            continue;
        }
        hash.update(text);
        hash.update("\n");
        count += 1;
        if let Some((_, numbered)) = text.split_once(" odoo.modules.loading: ")
            && numbered.contains(" of many, ")
        {
            let next = part.numbered + 1;
            let check = (next * 7919 + 13) % 1_000_003;
            if numbered != format!("{} line {next} of many, check {check}", part.container) {
                return Err(wrong(&format!("expected line {next} of {}", part.container)));
            }
            part.numbered = next;
        } else {
            others.push(text);
        }
    }
    Ok(parts)
}

/// The number of the last numbered line in a container's output.
pub fn last_number(output: &str) -> u64 {
    let (before, _) = output.rsplit_once(" of many, ").unwrap_or_default();
    before.rsplit_once(" line ").and_then(|(_, number)| number.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-21 01:37:29,074 1 INFO env";

    fn printed(container: &str, numbered: u64, end: bool) -> Vec<String> {
        let mut lines = vec![format!("{NOW} odoo: Odoo version 19.0 in {container}")];
        let line = |n: u64| format!("{container} line {n} of many, check {}", (n * 7919 + 13) % 1_000_003);
        lines.extend((1..=numbered).map(|n| format!("{NOW} odoo.modules.loading: {}", line(n))));
        if end {
            let sum = Sha256::digest(lines.iter().map(|line| format!("{line}\n")).collect::<String>());
            let told = format!("{container} said {} lines, sha256 {sum:x}", lines.len());
            lines.push(format!("{NOW} odoo.stand_in: {told}"));
        }
        lines
    }

    fn stored(texts: Vec<String>) -> Vec<Line> {
        let line = |(seq, message)| Line { seq, stream: "install".to_owned(), message };
        (1..).zip(texts).map(line).collect()
    }

    #[test]
    fn two_attempts_of_which_the_second_is_whole() {
        let lines = stored([printed("aa", 7, false), printed("bb", 9, true)].concat());
        let parts = check(&lines).unwrap();
        assert_eq!(
            parts.iter().map(|part| (part.numbered, part.complete)).collect::<Vec<_>>(),
            [(7, false), (9, true)]
        );
    }

    #[test]
    fn gaps_repeats_mixtures_and_changes_are_seen() {
        let whole = printed("aa", 9, true);
        let changed = |change: fn(&mut Vec<String>)| {
            let mut lines = whole.clone();
            change(&mut lines);
            check(&stored(lines)).is_err()
        };
        assert!(!changed(|_| ()));
        assert!(changed(|lines| drop(lines.remove(4))));
        assert!(changed(|lines| lines.insert(4, lines[3].clone())));
        assert!(changed(|lines| lines.swap(4, 5)));
        assert!(changed(|lines| lines[4].push(' ')));
        assert!(changed(|lines| lines.insert(4, "another's".to_owned())));
        assert!(changed(|lines| lines.push("too late".to_owned())));
        let mut gap = stored(whole.clone());
        gap.iter_mut().skip(3).for_each(|line| line.seq += 1);
        assert!(check(&gap).is_err());
    }
}
