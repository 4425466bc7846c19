//! Clocks that jump: those of the platform's processes, of PostgreSQL, of both, forth and back.

use crate::{
    ground::Ground,
    installation::Setting,
    others::{recovered, under_way, unharmed},
    seed::{self, Figures},
};
use odooops::postgres::Programs;
use rand::{Rng, rngs::StdRng};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};
use tokio::time::Instant;

/// Two clocks, each a file that libfaketime reads whenever somebody asks for the time.
pub struct Clocks {
    library: PathBuf,
    platform: PathBuf,
    postgres: PathBuf,
    programs: PathBuf,
}

impl Clocks {
    pub async fn new(scratch: &Path) -> Self {
        let folders = fs::read_dir("/usr/lib").unwrap().flatten();
        let mut libraries = folders.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
        let library = libraries.find(|library| library.is_file()).expect("fault tests need libfaketime");
        let clocks = Self {
            library,
            platform: scratch.join("platform.time"),
            postgres: scratch.join("postgres.time"),
            programs: scratch.join("programs"),
        };
        clocks.set(0, 0);
        // The platform gives PostgreSQL none of its own variables: a program of this name does.
        let real = Programs::find(None, None).await.unwrap().bin;
        fs::create_dir(&clocks.programs).unwrap();
        for entry in fs::read_dir(&real).unwrap().flatten().filter(|entry| entry.file_name() != "postgres") {
            symlink(entry.path(), clocks.programs.join(entry.file_name())).unwrap();
        }
        let mut script = "#!/bin/sh\n".to_owned();
        for (name, value) in variables(&clocks.library, &clocks.postgres) {
            script.push_str(&format!("export {name}={value}\n"));
        }
        script.push_str(&format!("exec {} \"$@\"\n", real.join("postgres").display()));
        fs::write(clocks.programs.join("postgres"), script).unwrap();
        for path in [&clocks.programs, &clocks.programs.join("postgres")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        clocks
    }

    pub fn setting(&self) -> Setting {
        Setting {
            flags: vec![format!("--postgres-bin={}", self.programs.display())],
            variables: variables(&self.library, &self.platform),
            ..Setting::default()
        }
    }

    /// Seconds off the machine's clock.
    fn set(&self, platform: i64, postgres: i64) {
        for (path, offset) in [(&self.platform, platform), (&self.postgres, postgres)] {
            let aside = path.with_extension("new");
            fs::write(&aside, format!("{offset:+}s\n")).unwrap();
            fs::set_permissions(&aside, fs::Permissions::from_mode(0o644)).unwrap();
            fs::rename(&aside, path).unwrap();
        }
    }
}

fn variables(library: &Path, clock: &Path) -> Vec<(String, String)> {
    let variables = [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        // A machine's clock is set, not its count of seconds since it started.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("FAKETIME_DISABLE_SHM", "1".to_owned()),
    ];
    variables.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

pub async fn all(ground: &mut Ground, clocks: &Clocks) {
    let points = [("clock-platform", (1, 0)), ("clock-postgres", (0, 1)), ("clock-both", (1, 1))];
    for seed in seed::seeds() {
        for (point, of) in points.into_iter().filter(|(point, _)| seed::is_wanted(point)) {
            let begun = Instant::now();
            let outcome = jumped(ground, clocks, of, &mut seed::chance(point, seed)).await;
            seed::report(point, seed, begun.elapsed(), outcome);
        }
    }
}

async fn jumped(
    ground: &mut Ground,
    clocks: &Clocks,
    of: (i64, i64),
    chance: &mut StdRng,
) -> Result<Figures, String> {
    let traffic = ground.traffic().await;
    let (what, run, other) = under_way(ground, chance).await;
    let jump = chance.random_range(60..7200) * if chance.random() { 1 } else { -1 };
    clocks.set(jump * of.0, jump * of.1);
    let jumped = Instant::now();
    let figures = recovered(ground, jumped, run, other, format!("{what}, jumped {jump} s")).await?;
    // Back to the machine's time, which is a jump as well.
    let (_, run, other) = under_way(ground, chance).await;
    clocks.set(0, 0);
    recovered(ground, Instant::now(), run, other, String::new()).await?;
    unharmed(traffic).await?;
    Ok(figures)
}
