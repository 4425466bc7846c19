//! `--set a,b` and `--clear`, as projects and hosts take them.

use clap::Args;

/// Without either, the labels are shown.
#[derive(Debug, Args)]
pub struct Change {
    /// The labels from now on, separated by commas. They replace what was there.
    #[arg(long, value_delimiter = ',', value_name = "LABELS", conflicts_with = "clear")]
    set: Option<Vec<String>>,
    /// None from now on.
    #[arg(long)]
    clear: bool,
}

impl Change {
    /// None: nothing is to change.
    pub fn labels(self) -> Option<Vec<String>> {
        if self.clear { Some(Vec::new()) } else { self.set }
    }
}

pub fn text(labels: &[String]) -> String {
    if labels.is_empty() { "none".to_owned() } else { labels.join(", ") }
}
