//! Figures, their goals, and whether they are met. A missed goal is shown and is no failure of the program.

use serde_json::{Value, json};
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Figure {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    /// At most this; None for a figure that only explains another.
    pub goal: Option<f64>,
    /// At least the goal, instead.
    pub more_is_better: bool,
}

impl Figure {
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, goal: None, more_is_better: false }
    }

    pub fn seconds(name: impl Into<String>, duration: Duration) -> Self {
        Self::new(name, duration.as_secs_f64(), "s")
    }

    pub fn milliseconds(name: impl Into<String>, duration: Duration) -> Self {
        Self::new(name, duration.as_secs_f64() * 1000.0, "ms")
    }

    #[must_use]
    pub fn at_most(mut self, goal: f64) -> Self {
        self.goal = Some(goal);
        self
    }

    #[must_use]
    pub fn at_least(mut self, goal: f64) -> Self {
        self.goal = Some(goal);
        self.more_is_better = true;
        self
    }

    /// None without a goal.
    pub fn is_met(&self) -> Option<bool> {
        self.goal.map(|goal| if self.more_is_better { self.value >= goal } else { self.value <= goal })
    }

    pub fn verdict(&self) -> &'static str {
        match self.is_met() {
            None => "",
            Some(true) => "met",
            Some(false) => "missed",
        }
    }
}

/// Prints the table, or one JSON object.
pub fn report(bench: &str, figures: &[Figure], as_json: bool) {
    if as_json {
        println!("{}", to_json(bench, figures));
    } else {
        print!("{}", to_table(figures));
    }
}

fn to_json(bench: &str, figures: &[Figure]) -> Value {
    let figures: Vec<Value> = figures
        .iter()
        .map(|it| {
            json!({
                "name": it.name, "value": it.value, "unit": it.unit, "goal": it.goal, "met": it.is_met(),
                "more_is_better": it.more_is_better,
            })
        })
        .collect();
    json!({"bench": bench, "figures": figures})
}

fn to_table(figures: &[Figure]) -> String {
    let width = figures.iter().map(|figure| figure.name.chars().count()).max().unwrap_or_default();
    let line = |figure: &Figure| {
        let value = format!("{:.2} {}", figure.value, figure.unit);
        let bound = if figure.more_is_better { "at least" } else { "at most" };
        let goal = figure.goal.map_or_else(String::new, |goal| format!("{bound} {goal} {}", figure.unit));
        let goal = goal.trim_end();
        let text = format!("  {:<width$}  {value:>14}  {goal:<16} {}", figure.name, figure.verdict());
        text.trim_end().to_owned() + "\n"
    };
    figures.iter().map(line).collect()
}

/// The value below which this part of the samples lies.
pub fn percentile(samples: &[Duration], part: f64) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    let index = (last as f64 * part).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_goal_says_so() {
        let figures = [
            Figure::new("memory", 61.0, "MB").at_most(60.0),
            Figure::seconds("overhead", Duration::from_millis(2999)).at_most(3.0),
            Figure::new("requests", 1.5, "/s"),
            Figure::new("part", 0.7, "").at_least(0.8),
        ];
        let table = to_table(&figures);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "  memory          61.00 MB  at most 60 MB    missed");
        assert_eq!(lines[1], "  overhead          3.00 s  at most 3 s      met");
        assert_eq!(lines[2], "  requests         1.50 /s");
        assert_eq!(lines[3], "  part               0.70   at least 0.8     missed");
        let json = to_json("idle", &figures);
        assert_eq!(json["figures"][0]["met"], false);
        assert_eq!(json["figures"][1]["met"], true);
        assert!(json["figures"][2]["met"].is_null());
    }

    #[test]
    fn percentiles() {
        let samples: Vec<_> = (1..=101).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&samples, 0.5), Duration::from_millis(51));
        assert_eq!(percentile(&samples, 0.99), Duration::from_millis(100));
        assert_eq!(percentile(&samples, 1.0), Duration::from_millis(101));
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
    }
}
