//! Against logs that a real Odoo 19 printed.

use super::*;
use proptest::prelude::*;

fn judged(log: &str, wanted: &[&str], exit_code: Option<i64>, states: &[(&str, &str)]) -> Judgement {
    let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    let mut judge = Judge::new(&wanted);
    log.lines().for_each(|line| judge.feed(line));
    let state = |(name, state): &(&str, &str)| ((*name).to_owned(), (*state).to_owned());
    judge.finish(exit_code, &states.iter().map(state).collect::<Vec<_>>())
}

const GREEN: &str = include_str!("samples/green.txt");
const LIBRARY: &[(&str, &str)] =
    &[("base", "installed"), ("library", "installed"), ("library_loan", "installed")];
const WANTED: &[&str] = &["library", "library_loan"];

#[test]
fn green() {
    let judgement = judged(GREEN, WANTED, Some(0), LIBRARY);
    assert_eq!(judgement.verdict, Verdict::Green, "{judgement:?}");
    assert_eq!(judgement.summary, "2 modules installed, 7 tests passed");
    assert_eq!((judgement.warnings, judgement.errors, judgement.tests), (0, 0, Some(7)));
    assert!(judgement.reasons.is_empty() && judgement.first_error.is_none());
}

#[test]
fn a_failing_test_is_red_and_keeps_its_traceback() {
    let log = include_str!("samples/broken_test.txt");
    let judgement = judged(log, &["broken_test"], Some(1), &[("broken_test", "installed")]);
    assert_eq!(judgement.verdict, Verdict::Red);
    assert_eq!(
        judgement.summary,
        "The test TestSum.test_sum failed: AssertionError: 2 != 3 : two and three are not the same"
    );
    assert_eq!(judgement.failed_tests, ["TestSum.test_sum"]);
    assert_eq!(judgement.tests, Some(2));
    let first = judgement.first_error.unwrap();
    assert!(first.contains("FAIL: TestSum.test_sum") && first.contains("test_sum.py\", line 8"), "{first}");
    assert!(!first.contains("filestore gc"), "the next record is not part of it: {first}");
    let failed = judgement.reasons.iter().find(|r| r.code == ReasonCode::FailedTest).unwrap();
    let line = usize::try_from(failed.line.unwrap()).unwrap();
    assert!(log.lines().nth(line - 1).unwrap().contains("FAIL: TestSum.test_sum"));
    // Series before 17 exit with 0 here.
    let judgement = judged(log, &["broken_test"], Some(0), &[("broken_test", "installed")]);
    assert_eq!(judgement.verdict, Verdict::Red);
}

#[test]
fn a_warning_is_yellow() {
    let log = include_str!("samples/warns.txt");
    let judgement = judged(log, &["warns"], Some(0), &[("warns", "installed")]);
    assert_eq!((judgement.verdict, judgement.warnings), (Verdict::Yellow, 1));
    assert_eq!(
        judgement.summary,
        "warns installed; one warning: the fixture warns, as it should (odoo.addons.warns)"
    );
}

#[test]
fn what_odoo_refuses_is_said_in_its_own_words() {
    let unknown = include_str!("samples/unknown_dep.txt");
    let judgement = judged(unknown, &["unknown_dep"], Some(255), &[("base", "installed")]);
    assert_eq!(judgement.verdict, Verdict::Red);
    assert_eq!(
        judgement.summary,
        "UserError: You try to install module \"unknown_dep\" that depends on module \
         \"module_that_does_not_exist\". But the latter module is not available in your system."
    );
    let view = judged(include_str!("samples/xmlerr.txt"), &["xmlerr"], Some(255), &[]);
    assert_eq!(view.verdict, Verdict::Red);
    assert!(
        view.summary.starts_with("ParseError: while parsing /mnt/src/xmlerr/v.xml:1"),
        "{}",
        view.summary
    );
    assert!(view.summary.contains("Field \"nope\" does not exist"), "{}", view.summary);
    let python = judged(include_str!("samples/pyerr.txt"), &["pyerr"], Some(255), &[]);
    assert_eq!(python.summary, "ModuleNotFoundError: No module named 'nothing_like_this'");
}

/// Odoo exits with 0 and only warns: the database tells.
#[test]
fn an_unknown_module_is_red_although_odoo_exits_with_0() {
    let log = include_str!("samples/nonexist.txt");
    let judgement = judged(log, &["base", "nonexistent"], Some(0), &[("base", "installed")]);
    assert_eq!(judgement.verdict, Verdict::Red);
    assert_eq!(judgement.summary, "Odoo does not know the module nonexistent");
}

/// Take one proof of success away at a time from a green log: each alone is enough for red.
#[test]
fn every_proof_is_needed() {
    let without = |text: &str| GREEN.lines().filter(|l| !l.contains(text)).collect::<Vec<_>>().join("\n");
    let with = |line: &str| format!("{GREEN}{line}\n");
    let red = [
        judged(GREEN, WANTED, Some(1), LIBRARY),
        judged(GREEN, WANTED, Some(137), LIBRARY),
        judged(GREEN, WANTED, None, LIBRARY),
        judged(GREEN, WANTED, Some(0), &LIBRARY[..2]),
        judged(GREEN, WANTED, Some(0), &[LIBRARY[0], LIBRARY[1], ("library_loan", "to install")]),
        judged(GREEN, WANTED, Some(0), &[LIBRARY, &[("sale", "to upgrade")]].concat()),
        judged(&without("Modules loaded."), WANTED, Some(0), LIBRARY),
        judged(&without("Initiating shutdown"), WANTED, Some(0), LIBRARY),
        judged(&with("Traceback (most recent call last):"), WANTED, Some(0), LIBRARY),
        judged(&with("2026-11-21 01:00:00,000 1 ERROR db odoo.sql_db: bad query"), WANTED, Some(0), LIBRARY),
        judged(&with("2026-11-21 01:00:00,000 1 CRITICAL db odoo: x"), WANTED, Some(0), LIBRARY),
        judged("", WANTED, Some(0), LIBRARY),
    ];
    for (n, judgement) in red.iter().enumerate() {
        assert_eq!(judgement.verdict, Verdict::Red, "case {n}: {judgement:?}");
        assert!(!judgement.summary.is_empty() && !judgement.reasons.is_empty());
    }
    assert!(red[1].summary.contains("signal 9"), "{}", red[1].summary);
    assert!(red[4].summary.contains("library_loan is to install"), "{}", red[4].summary);
    assert!(red[9].summary.contains("Bad query"), "{}", red[9].summary);
}

#[test]
fn of_chained_exceptions_the_last_one_counts() {
    let log = "2026-11-21 01:00:00,000 1 ERROR db odoo.x: boom\nTraceback (most recent call last):\n  File \"a\"\n\
               KeyError: 'x'\n\nDuring handling of the above exception, another exception occurred:\n\n\
               Traceback (most recent call last):\n  File \"b\"\nodoo.exceptions.UserError: Sorry\n";
    assert_eq!(judged(log, &[], Some(1), &[]).summary, "UserError: Sorry");
}

#[test]
fn what_is_kept_is_bounded() {
    let mut judge = Judge::new(&[]);
    for n in 0..10_000 {
        judge.feed(&format!(
            "2026-11-21 01:00:00,000 1 ERROR db odoo.addons.x.tests.t: FAIL: T.test_{n}{}",
            "ä".repeat(500)
        ));
        judge.feed(&"ö".repeat(10_000));
    }
    let judgement = judge.finish(Some(1), &[]);
    assert_eq!(judgement.errors, 10_000);
    assert!(judgement.reasons.len() <= MAX_REASONS && judgement.failed_tests.len() <= MAX_FAILED);
    assert!(judgement.first_error.unwrap().len() <= MAX_FIRST_ERROR + 8);
    assert!(judgement.summary.len() < 1000);
}

proptest! {
    /// Whatever a build prints, it cannot hide an error that was logged before or after.
    #[test]
    fn noise_hides_nothing(before in "[\\PC\n]{0,80}", after in "[\\PC\n]{0,80}") {
        let log = format!("{before}\n2026-11-21 01:00:00,000 1 ERROR db odoo.x: lost\n{after}\n{GREEN}");
        let judgement = judged(&log, WANTED, Some(0), LIBRARY);
        prop_assert_eq!(judgement.verdict, Verdict::Red);
        prop_assert!(judgement.errors >= 1);
    }
}
