//! Brings the machine to what a command needs: lists what is missing, asks once, installs it.

use crate::machine::Machine;
use crate::tools::{self, Tool};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, IsTerminal, Write};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Building and starting OdooOps.
    Up,
    /// Running the tests.
    Test,
    /// Running the checks.
    Check,
    /// Making the Odoo image.
    Image,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Consent {
    Given,
    Ask,
}

impl Consent {
    pub fn from_flag(yes: bool) -> Self {
        if yes { Self::Given } else { Self::Ask }
    }
}

pub fn prepare(machine: &Machine, consent: Consent, purposes: &[Purpose]) -> Result<()> {
    bring(machine, consent, tools::needed_for(purposes))
}

fn bring<'a>(machine: &Machine, consent: Consent, needed: impl Iterator<Item = &'a Tool>) -> Result<()> {
    let missing: Vec<&Tool> = needed.filter(|tool| (tool.is_there)(machine).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("Missing on this machine:");
    for tool in &missing {
        println!("  {:<24} {}", tool.name, tool.why);
    }
    let stdin = std::io::stdin();
    let somebody = stdin.is_terminal();
    agree(consent, missing.len(), somebody.then(|| stdin.lock()))?;
    for tool in missing {
        install(machine, tool)?;
    }
    Ok(())
}

fn install(machine: &Machine, tool: &Tool) -> Result<()> {
    // An earlier one may have brought it along.
    if (tool.is_there)(machine).is_some() {
        return Ok(());
    }
    (tool.install)(machine).with_context(|| format!("cannot install {}", tool.name))?;
    if (tool.is_there)(machine).is_none() {
        bail!(
            "{} was installed and is still not found; `cargo xtask doctor` shows what was looked for",
            tool.name
        );
    }
    Ok(())
}

/// `answers`: where somebody types, if there is somebody.
fn agree(consent: Consent, count: usize, answers: Option<impl BufRead>) -> Result<()> {
    if consent == Consent::Given {
        return Ok(());
    }
    let Some(mut answers) = answers else {
        bail!(
            "nothing was installed: there is nobody to ask here. Add --yes to install what is listed above"
        );
    };
    let what = if count == 1 { "it" } else { "all of it" };
    print!("Install {what} now? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    answers.read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => bail!("nothing was installed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(text: &str) -> bool {
        agree(Consent::Ask, 2, Some(text.as_bytes())).is_ok()
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        assert!(answered("y\n") && answered("YES\n"));
        assert!(!answered("\n") && !answered("n\n") && !answered("") && !answered("yeah\n"));
    }

    #[test]
    fn the_second_time_nothing_is_installed_and_nobody_is_asked() -> Result<()> {
        const HAMMER: Tool = Tool {
            name: "hammer",
            why: "hits",
            purposes: &[Purpose::Up],
            is_there: |machine| machine.tools.join("hammer").exists().then(|| "1".to_owned()),
            install: |machine| {
                // A second installation would find the file and fail.
                std::fs::File::create_new(machine.tools.join("hammer")).map(drop).context("installed twice")
            },
        };
        let directory = tempfile::tempdir()?;
        let mut machine = Machine::look()?;
        machine.tools = directory.path().to_path_buf();
        bring(&machine, Consent::Given, [&HAMMER].into_iter())?;
        bring(&machine, Consent::Given, [&HAMMER].into_iter())?;
        bring(&machine, Consent::Ask, [&HAMMER].into_iter())
    }

    #[test]
    fn with_nobody_to_ask_nothing_is_installed_and_the_way_out_is_named() -> Result<()> {
        let error = agree(Consent::Ask, 1, None::<&[u8]>).err().context("it refuses")?;
        assert!(error.to_string().contains("--yes"));
        agree(Consent::Given, 1, None::<&[u8]>)
    }
}
