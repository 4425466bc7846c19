//! Which faults are tried with which seeds, and what is said of each.

use rand::{SeedableRng, rngs::StdRng};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// The ordinary run tries one.
const SEEDS: &str = "ODOOOPS_FAULT_SEEDS";
const POINT: &str = "ODOOOPS_FAULT_POINT";

/// `1` or `1-20`.
pub fn seeds() -> Vec<u64> {
    let text = std::env::var(SEEDS).unwrap_or_else(|_| "1".to_owned());
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    let number =
        |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{SEEDS} is 7 or 1-20, not {text:?}"));
    (number(first)..=number(last)).collect()
}

/// Whether this point is to be tried: all are, unless one is named.
pub fn is_wanted(point: &str) -> bool {
    std::env::var(POINT).map_or(true, |only| only.is_empty() || point == only)
}

/// The same seed and point give the same choices.
pub fn chance(point: &str, seed: u64) -> StdRng {
    let digest = Sha256::digest(format!("{point} {seed}"));
    StdRng::from_seed(digest.into())
}

/// How a seed went.
#[derive(Debug, Default)]
pub struct Figures {
    /// What was broken, and where exactly it hit.
    pub what: String,
    /// From the killed component being back to the first answer.
    pub serving: Option<Duration>,
    /// From the killed component being back to the next claim.
    pub claiming: Option<Duration>,
}

/// What is promised. A test waits for ten times as long.
pub const SERVING_WITHIN: Duration = Duration::from_secs(2);
pub const CLAIMING_WITHIN: Duration = Duration::from_secs(3);

impl Figures {
    pub fn judged(self) -> Result<Self, String> {
        for (name, figure, bound) in
            [("serving", self.serving, SERVING_WITHIN), ("claiming", self.claiming, CLAIMING_WITHIN)]
        {
            if let Some(figure) = figure.filter(|figure| *figure > bound * 10) {
                return Err(format!(
                    "{name} again took {:.1} s; {} s are promised",
                    figure.as_secs_f64(),
                    bound.as_secs()
                ));
            }
        }
        Ok(self)
    }
}

/// One line for each seed; a failed one says how to repeat it, and ends the test.
pub fn report(point: &str, seed: u64, took: Duration, outcome: Result<Figures, String>) {
    let shown = |figure: Option<Duration>| {
        figure.map_or("-".to_owned(), |f| format!("{:.0} ms", f.as_secs_f64() * 1e3))
    };
    match outcome.and_then(Figures::judged) {
        Ok(figures) => println!(
            "ok   {point:<22} seed {seed:<3} serving {:>8}, claiming {:>8}, {:>4.1} s in all; {}",
            shown(figures.serving),
            shown(figures.claiming),
            took.as_secs_f64(),
            figures.what
        ),
        Err(why) => panic!(
            "FAIL {point} seed {seed}: {why}\nAgain: cargo xtask test --chaos --point {point} --seed {seed}"
        ),
    }
}
