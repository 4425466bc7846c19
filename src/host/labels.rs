//! Labels: what a host has, and what the runs of a project ask of a host.

use crate::{Error, Result, error::Detail};

/// Most that a host or a project has. `ops.are_labels` says the same.
pub const MOST: usize = 16;

/// The labels as they are kept: each once, in the order in which they were said.
pub fn checked(labels: &[String]) -> Result<Vec<String>> {
    let mut kept: Vec<String> = Vec::new();
    for label in labels {
        if !is_label(label) {
            return Err(Error::invalid("labels", Detail::new("host.label")));
        }
        if !kept.contains(label) {
            kept.push(label.clone());
        }
    }
    if kept.len() > MOST {
        return Err(Error::invalid("labels", Detail::new("host.labels")));
    }
    Ok(kept)
}

fn is_label(label: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"-_.=/".contains(&b);
    (1..=63).contains(&label.len()) && label.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use super::checked;

    fn kept(labels: &[&str]) -> Option<Vec<String>> {
        let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
        checked(&labels).ok()
    }

    #[test]
    fn labels_are_plain_few_and_each_is_there_once() {
        assert_eq!(kept(&["disk=ssd", "GPU", "disk=ssd"]).unwrap(), ["disk=ssd", "GPU"]);
        assert_eq!(kept(&[]).unwrap(), [""; 0]);
        for bad in ["", "a b", "a,b", "a\n", "\u{e9}", &"a".repeat(64)] {
            assert!(kept(&["x", bad]).is_none(), "{bad}");
        }
        let many: Vec<String> = (0..17).map(|n| n.to_string()).collect();
        assert!(checked(&many).is_err() && checked(&many[..16]).is_ok());
    }
}
