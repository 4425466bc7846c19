//! Artifacts whose time is over: first their bytes, then their rows. Bytes on this machine are removed; a row that
//! names somebody else's store is only forgotten.

use super::{
    look::{Look, Reconciler, Round},
    trouble::Trouble,
};
use std::{
    io::ErrorKind,
    path::{Component, Path, PathBuf},
};
use uuid::Uuid;

pub struct ExpiredArtifacts;

pub struct Job {
    id: Uuid,
    file: Option<PathBuf>,
}

/// Where an artifact is.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Here(PathBuf),
    /// On a disk that is not ours to touch, or another host's.
    OtherDisk,
    Store,
}

impl Reconciler for ExpiredArtifacts {
    const NAME: &'static str = "expired_artifacts";
    type Job = Job;

    async fn look(&self, round: &Round<'_>) -> Result<Look<Job>, Trouble> {
        let rows = sqlx::query!(
            "select id, artifact_key, s3_url from ops.run_artifacts where expires_at < clock_timestamp()
             order by expires_at limit 1000"
        );
        let rows = rows.fetch_all(&round.shop.pool).await?;
        let mut look = Look::at(rows.len());
        for row in rows {
            let file = match place(&round.shop.config.artifacts_dir(), &row.s3_url) {
                // Every host looks; the one that has it removes it.
                Place::Here(path) if tokio::fs::try_exists(&path).await? => Some(path),
                Place::Here(_) | Place::OtherDisk => continue,
                Place::Store => None,
            };
            look.finds(row.artifact_key, "remove", "its time is over", Job { id: row.id, file });
        }
        Ok(look)
    }

    async fn act(&self, round: &Round<'_>, job: &Job) -> Result<(), Trouble> {
        if let Some(path) = &job.file {
            match tokio::fs::remove_file(path).await {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        // False: another host was faster.
        sqlx::query_scalar!("select ops.remove_expired_artifact($1)", job.id)
            .fetch_one(&round.shop.pool)
            .await?;
        Ok(())
    }
}

fn place(artifacts: &Path, url: &str) -> Place {
    let Some(path) = url.strip_prefix("file://") else { return Place::Store };
    let path = PathBuf::from(path);
    let is_plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if is_plain && path.starts_with(artifacts) { Place::Here(path) } else { Place::OtherDisk }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_our_own_are_removed() {
        let artifacts = Path::new("/data/artifacts");
        assert_eq!(place(artifacts, "file:///data/artifacts/a/b"), Place::Here("/data/artifacts/a/b".into()));
        for url in ["file:///etc/passwd", "file:///data/artifacts/../control/data", "file://data/artifacts/a"]
        {
            assert_eq!(place(artifacts, url), Place::OtherDisk, "{url}");
        }
        assert_eq!(place(artifacts, "s3://bucket/key"), Place::Store);
    }
}
