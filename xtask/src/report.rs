//! What the runners said, read from their own summaries, and the one line at the end that sums it up.

use anyhow::{Context, Result};
use serde_json::Value;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl Tally {
    pub fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }

    pub fn one(passed: bool) -> Self {
        Self { passed: u64::from(passed), failed: u64::from(!passed), skipped: 0 }
    }

    /// The line continuous integration reads.
    pub fn line(self) -> String {
        format!("{} passed, {} failed", self.passed, self.failed)
    }

    /// A runner that ended badly while every test it counted passed did not finish: that is a failure too.
    pub fn judged_by(self, succeeded: bool) -> Self {
        if !succeeded && self.failed == 0 { Self { failed: 1, ..self } } else { self }
    }
}

/// nextest's last `Summary` line: `Summary [  12.3s] 5 tests run: 3 passed (1 slow), 1 failed, 1 timed out, 4 skipped`
pub fn nextest(output: &str) -> Result<Tally> {
    let line = output.lines().rfind(|line| line.trim_start().starts_with("Summary ["));
    let line = line.context("nextest printed no summary: the tests were not run")?;
    let counts = line.split_once(" run:").context("nextest's summary has no counts")?.1;
    let mut tally = Tally::default();
    for part in without_parentheses(counts).split(',') {
        let mut words = part.split_whitespace();
        let (Some(number), Some(what)) = (words.next().and_then(|n| n.parse::<u64>().ok()), words.next())
        else {
            anyhow::bail!("nextest's summary is not understood: {line}");
        };
        match what {
            "passed" => tally.passed += number,
            "skipped" => tally.skipped += number,
            // failed, timed out, exec failed, and whatever it may call its failures one day
            _ => tally.failed += number,
        }
    }
    Ok(tally)
}

fn without_parentheses(text: &str) -> String {
    let mut depth = 0_u32;
    let keep = |c: &char| match c {
        '(' => {
            depth += 1;
            false
        }
        ')' => {
            depth = depth.saturating_sub(1);
            false
        }
        _ => depth == 0,
    };
    text.chars().filter(keep).collect()
}

/// Playwright's JSON report. A flaky test failed once: it counts as failed. Errors outside tests count too.
pub fn playwright(report: &str) -> Result<Tally> {
    let report: Value = serde_json::from_str(report).context("Playwright's report is not JSON")?;
    let stats = report.get("stats").context("Playwright's report has no stats")?;
    let count =
        |name: &str| stats.get(name).and_then(Value::as_u64).with_context(|| format!("no count of {name}"));
    let errors = report.get("errors").and_then(Value::as_array).map_or(0, Vec::len);
    Ok(Tally {
        passed: count("expected")?,
        failed: count("unexpected")? + count("flaky")? + errors as u64,
        skipped: count("skipped")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nextests_summary_with_everything_in_it() -> Result<()> {
        let output = "    PASS [ 0.1s] a::b\n────\n     Summary [  12.345s] 12 tests run: 7 passed (2 slow, 1 leaky), \
                      3 failed, 1 timed out, 1 exec failed, 4 skipped\n    FAIL x\n";
        assert_eq!(nextest(output)?, Tally { passed: 7, failed: 5, skipped: 4 });
        Ok(())
    }

    #[test]
    fn nextests_summary_of_a_cancelled_run() -> Result<()> {
        let output = "Summary [   0.1s] 5/20 tests run: 4 passed, 1 failed, 0 skipped\n";
        assert_eq!(nextest(output)?, Tally { passed: 4, failed: 1, skipped: 0 });
        Ok(())
    }

    #[test]
    fn of_two_summaries_the_last_counts() -> Result<()> {
        let output =
            "Summary [ 1s] 1 test run: 1 passed, 0 skipped\nSummary [ 1s] 2 tests run: 2 passed, 0 skipped\n";
        assert_eq!(nextest(output)?.passed, 2);
        Ok(())
    }

    #[test]
    fn no_summary_is_no_success() {
        assert!(nextest("error: could not compile `server`").is_err());
        assert!(playwright("").is_err());
        assert!(playwright("{}").is_err());
    }

    #[test]
    fn playwrights_flaky_tests_and_stray_errors_are_failures() -> Result<()> {
        let report = r#"{"suites": [], "errors": [{"message": "global setup"}],
            "stats": {"startTime": "x", "duration": 1, "expected": 9, "skipped": 1, "unexpected": 2, "flaky": 1}}"#;
        assert_eq!(playwright(report)?, Tally { passed: 9, failed: 4, skipped: 1 });
        Ok(())
    }

    #[test]
    fn a_runner_that_ends_badly_cannot_look_green() {
        let all_passed = Tally { passed: 3, failed: 0, skipped: 0 };
        assert_eq!(all_passed.judged_by(false).line(), "3 passed, 1 failed");
        assert_eq!(all_passed.judged_by(true).line(), "3 passed, 0 failed");
        let one_failed = Tally { passed: 3, failed: 1, skipped: 0 };
        assert_eq!(one_failed.judged_by(false), one_failed);
    }

    #[test]
    fn the_last_line_is_the_sum() {
        let sum = Tally { passed: 3, failed: 1, skipped: 5 }.plus(Tally { passed: 4, failed: 0, skipped: 1 });
        assert_eq!(sum.line(), "7 passed, 1 failed");
    }
}
