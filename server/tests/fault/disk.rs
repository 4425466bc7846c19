//! A file system of some hundred MiB that fills up while a build is under way, and is given room again.

use crate::{
    ground::Ground,
    others::{recovered, under_way},
    seed::{self, Figures},
};
use nix::{
    fcntl::{FallocateFlags, fallocate},
    sys::statvfs::statvfs,
};
use rand::{Rng, rngs::StdRng};
use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Folders of the data directory, and their size in MiB. The whole first: what is mounted inside comes after. No build
/// is claimed where less than 2 GiB are free.
pub const DISKS: [(&str, u64); 3] = [(".", 4096), ("control", 300), ("tenants", 300)];
const POINTS: [(&str, &str); 3] =
    [("disk-data", "."), ("disk-control", "control"), ("disk-tenants", "tenants")];

/// Mounts a file system of its own there. It is gone with the namespace of the test.
pub fn mount(at: &Path, size: u64) {
    // Without a dot at its end.
    let at: PathBuf = at.components().collect();
    fs::create_dir_all(&at).unwrap();
    let name = at.display().to_string().replace('/', "-");
    let scratch = std::env::temp_dir().join(format!("odooops-fault-{}-disk{name}", std::process::id()));
    let file = fs::File::create(&scratch).unwrap();
    file.set_len(size << 20).unwrap();
    run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&scratch));
    run(Command::new("mount").args(["-o", "loop"]).arg(&scratch).arg(&at));
    // The loop device holds it.
    fs::remove_file(&scratch).unwrap();
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

pub async fn all(ground: &mut Ground) {
    for seed in seed::seeds() {
        for (point, folder) in POINTS.into_iter().filter(|(point, _)| seed::is_wanted(point)) {
            let begun = Instant::now();
            let outcome = filled(ground, folder, &mut seed::chance(point, seed)).await;
            seed::report(point, seed, begun.elapsed(), outcome);
        }
    }
}

async fn filled(ground: &mut Ground, folder: &str, chance: &mut StdRng) -> Result<Figures, String> {
    let (what, run, other) = under_way(ground, chance).await;
    // It is tried as often as its attempts allow; then the platform says that it was the platform.
    ground.forgiven.insert(run);
    let filler = ground.installation.data.join(folder).join("filler");
    let length = Duration::from_millis(chance.random_range(1000..9000));
    let begun = Instant::now();
    while begun.elapsed() < length {
        fill(&filler);
        sleep(Duration::from_millis(20)).await;
    }
    fs::remove_file(&filler).unwrap();
    accepts(ground).await;
    let what = format!("{what}, full for {:.1} s", length.as_secs_f64());
    let figures = recovered(ground, Instant::now(), run, other, what).await?;
    if ground.status(run).await.map_err(|error| error.to_string())? == "failed" {
        let branch = if other == "staging" { "feature-x" } else { "staging" };
        let again = ground.build(branch).await;
        ground.ended(again).await?;
        ground.settled().await?;
    }
    Ok(figures)
}

/// Takes what is free.
fn fill(filler: &Path) {
    let mut file = OpenOptions::new().create(true).append(true).open(filler).unwrap();
    let folder = statvfs(filler.parent().unwrap()).unwrap();
    let free = i64::try_from(folder.blocks_available() * folder.fragment_size()).unwrap();
    let length = i64::try_from(file.metadata().unwrap().len()).unwrap();
    if free > 0 && fallocate(&file, FallocateFlags::empty(), length, free).is_err() {
        // Less than was said, because the map of a large file takes room as well: in small pieces.
        while file.write_all(&[0; 4096]).is_ok() {}
    }
}

/// Waits until both clusters take connections.
async fn accepts(ground: &Ground) {
    let begun = Instant::now();
    while ground.installation.superuser().await.is_err()
        || crate::belongings::tenants(&ground.installation, "postgres").await.is_none()
    {
        assert!(begun.elapsed() < crate::ground::PATIENCE, "the clusters do not come back");
        sleep(Duration::from_millis(10)).await;
    }
}
