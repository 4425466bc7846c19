//! Lines that the platform stored of a run, against everything that the run's containers printed.

use crate::outputs::Output;
use std::collections::BTreeSet;

#[derive(Debug)]
pub struct Line {
    pub seq: i64,
    pub stream: String,
    pub message: String,
}

/// How much of each output is stored, in the outputs' order. No sequence is missing or there twice; each line of a
/// container's is the next one that one of the run's containers printed, so that none is missing, repeated, changed or
/// in another place; and of containers that do not run any more all lines are there, however they ended.
///
/// The lines have to be read before the outputs: what runs prints on.
pub fn check(lines: &[Line], outputs: &[Output], running: &BTreeSet<String>) -> Result<Vec<usize>, String> {
    for (expected, line) in (1..).zip(lines) {
        if line.seq != expected {
            return Err(format!("line {} stands where line {expected} should: {:?}", line.seq, line.message));
        }
    }
    let mut stored = vec![0; outputs.len()];
    for line in lines.iter().filter(|line| ["template", "install", "odoo"].contains(&line.stream.as_str())) {
        // Of two hosts of which one was lost, the first one's last lines may come between the other's.
        let next = |at: &usize| {
            let output = &outputs[*at];
            output.stream() == line.stream && output.lines.get(stored[*at]) == Some(&line.message)
        };
        match (0..outputs.len()).find(next) {
            Some(at) => stored[at] += 1,
            None => return Err(wrong(line, outputs, &stored)),
        }
    }
    for (output, stored) in outputs.iter().zip(&stored) {
        if *stored < output.lines.len() && !running.contains(&output.id) {
            return Err(format!(
                "{} printed {} lines, {stored} are stored; the first that is missing: {:?}",
                output.name,
                output.lines.len(),
                output.lines[*stored]
            ));
        }
    }
    Ok(stored)
}

fn wrong(line: &Line, outputs: &[Output], stored: &[usize]) -> String {
    let of_stream = outputs.iter().zip(stored).filter(|(output, _)| output.stream() == line.stream);
    let next: Vec<_> =
        of_stream.map(|(output, stored)| (&output.name, stored, output.lines.get(*stored))).collect();
    format!("stream {}, line {} is {:?}; next were {next:?}", line.stream, line.seq, line.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(id: &str, stream: &str, count: u32) -> Output {
        let mut lines = vec![format!("Odoo in {id}")];
        lines.extend((1..=count).map(|n| format!("{id} line {n}")));
        Output { id: id.to_owned(), name: format!("odooops-{stream}-{stream}-1"), lines }
    }

    fn stored(lines: impl IntoIterator<Item = String>) -> Vec<Line> {
        let line = |(seq, message)| Line { seq, stream: "install".to_owned(), message };
        (1..).zip(lines).map(line).collect()
    }

    #[test]
    fn attempts_are_whole_one_after_another_or_between_each_other() {
        let (a, b) = (output("aa", "install", 7), output("bb", "install", 9));
        let none = BTreeSet::new();
        let outputs = [a.clone(), b.clone()];
        let in_order = stored([a.lines.clone(), b.lines.clone()].concat());
        assert_eq!(check(&in_order, &outputs, &none), Ok(vec![8, 10]));
        let late = stored([&a.lines[..3], &b.lines[..6], &a.lines[3..], &b.lines[6..]].concat());
        assert_eq!(check(&late, &outputs, &none), Ok(vec![8, 10]));
    }

    #[test]
    fn what_an_ended_container_printed_last_may_not_be_missing() {
        let (a, b) = (output("aa", "install", 7), output("bb", "install", 9));
        let outputs = [a.clone(), b.clone()];
        let cut_off = stored([a.lines[..5].to_vec(), b.lines.clone()].concat());
        let missing = check(&cut_off, &outputs, &BTreeSet::new()).unwrap_err();
        assert!(missing.contains("printed 8 lines, 5 are stored"), "{missing}");
        // Nor may all of it.
        assert!(check(&stored(b.lines.clone()), &outputs, &BTreeSet::new()).is_err());
        // What runs is read on.
        let running = BTreeSet::from(["aa".to_owned()]);
        assert_eq!(check(&cut_off, &outputs, &running), Ok(vec![5, 10]));
    }

    #[test]
    fn gaps_repeats_mixtures_and_changes_are_seen() {
        let whole = output("aa", "install", 9);
        let changed = |change: fn(&mut Vec<String>)| {
            let mut lines = whole.lines.clone();
            change(&mut lines);
            check(&stored(lines), std::slice::from_ref(&whole), &BTreeSet::new()).is_err()
        };
        assert!(!changed(|_| ()));
        assert!(changed(|lines| drop(lines.remove(4))));
        assert!(changed(|lines| drop(lines.pop())));
        assert!(changed(|lines| lines.insert(4, lines[3].clone())));
        assert!(changed(|lines| lines.extend(lines.clone())));
        assert!(changed(|lines| lines.swap(4, 5)));
        assert!(changed(|lines| lines[4].push(' ')));
        assert!(changed(|lines| lines.insert(4, "another's".to_owned())));
        assert!(changed(|lines| lines.push("too late".to_owned())));
        let mut gap = stored(whole.lines.clone());
        gap.iter_mut().skip(3).for_each(|line| line.seq += 1);
        assert!(check(&gap, std::slice::from_ref(&whole), &BTreeSet::new()).is_err());
        // In the place of another's.
        let server = output("aa", "server", 9);
        assert!(check(&stored(whole.lines), &[server], &BTreeSet::new()).is_err());
    }
}
