//! Bare repositories: where they are, how they are made, what heads they have.

use super::{
    command::{Git, GitCommand},
    commit::{self, FIELDS},
    error::{GitError, Result},
};
use crate::{
    branch::{BranchName, CommitLine, CommitSha},
    id::ProjectId,
};
use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// The hooks that git calls while it receives a push.
pub const HOOKS: [&str; 2] = ["pre-receive", "post-receive"];

/// All repositories of the installation.
#[derive(Debug, Clone)]
pub struct Repositories {
    git: Git,
    fetching: Arc<Mutex<HashSet<ProjectId>>>,
    /// Held while a repository is made.
    making: Arc<tokio::sync::Mutex<()>>,
}

/// Who holds it fetches the project; nobody else of this process does.
pub struct Fetching {
    project: ProjectId,
    fetching: Arc<Mutex<HashSet<ProjectId>>>,
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.project);
    }
}

impl Repositories {
    pub fn new(git: Git) -> Self {
        Self { git, fetching: Arc::default(), making: Arc::default() }
    }

    /// None while it is being fetched already.
    pub(super) fn begin_fetch(&self, project: ProjectId) -> Option<Fetching> {
        let is_first = self.fetching.lock().unwrap_or_else(PoisonError::into_inner).insert(project);
        is_first.then(|| Fetching { project, fetching: self.fetching.clone() })
    }

    pub fn git(&self) -> &Git {
        &self.git
    }

    /// The repository of a project, whether it exists or not.
    pub fn of(&self, project: ProjectId) -> Repository {
        let path = self.git.settings().root.join(format!("{project}.git"));
        let modules = self.git.settings().root.join("modules").join(project.to_string());
        Repository { git: self.git.clone(), path, modules }
    }

    /// Makes the repository, or mends the one that is there: its hooks follow the binary when that has moved.
    pub async fn create(&self, project: ProjectId) -> Result<Repository> {
        let repository = self.of(project);
        // The first push and the reconciler may come at once, and `git init` locks what it writes.
        let _making = self.making.lock().await;
        repository.init().await?;
        repository.link_hooks()?;
        Ok(repository)
    }

    /// Links the hooks of all repositories to this binary again. Called at start.
    pub fn refresh_hooks(&self) -> Result<usize> {
        let projects = self.projects()?;
        for id in &projects {
            self.of(*id).link_hooks()?;
        }
        Ok(projects.len())
    }

    /// Packs what pushes left behind, repository by repository.
    pub async fn tidy(&self) {
        for id in self.projects().unwrap_or_default() {
            if let Err(error) = self.of(id).tidy().await {
                tracing::warn!(project = %id, %error, "the repository could not be tidied");
            }
        }
    }

    /// Projects that have a repository on disk.
    fn projects(&self) -> Result<Vec<ProjectId>> {
        let root = &self.git.settings().root;
        let mut found = Vec::new();
        for entry in fs::read_dir(root).map_err(GitError::io(root))? {
            let name = entry.map_err(GitError::io(root))?.file_name();
            found.extend(name.to_str().and_then(|name| name.strip_suffix(".git")?.parse::<ProjectId>().ok()));
        }
        Ok(found)
    }
}

/// One bare repository.
#[derive(Debug, Clone)]
pub struct Repository {
    pub(super) git: Git,
    pub(super) path: PathBuf,
    /// The folder of the project's submodule caches.
    pub(super) modules: PathBuf,
}

impl Repository {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn exists(&self) -> bool {
        self.path.join("HEAD").is_file()
    }

    pub(super) fn has_hooks(&self) -> bool {
        HOOKS.iter().all(|hook| self.path.join("hooks").join(hook).is_symlink())
    }

    pub(super) fn command(&self, what: &'static str) -> GitCommand {
        self.git.command(what).git_dir(&self.path)
    }

    /// `git init` may be repeated: it changes nothing that is there.
    pub(super) async fn init(&self) -> Result<()> {
        let command = self.git.command("init").args(["--quiet", "--bare", "--template="]).arg("--");
        command.arg(&self.path).run().await?;
        // The files hold customers' code.
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&self.path, private).map_err(GitError::io(&self.path))
    }

    fn link_hooks(&self) -> Result<()> {
        let folder = self.path.join("hooks");
        fs::create_dir_all(&folder).map_err(GitError::io(&folder))?;
        HOOKS.iter().try_for_each(|hook| link(&self.git.settings().ops, &folder.join(hook)))
    }

    /// All branches with their head commits, in one call. Names that are no [`BranchName`] are left out: no push
    /// can make them, a fetch from elsewhere can.
    pub async fn heads(&self) -> Result<Vec<(BranchName, CommitLine)>> {
        let format = format!("%(refname:lstrip=2)%00{}", FIELDS.for_each_ref);
        let command = self.command("for-each-ref").arg("--format").arg(format).arg("refs/heads/");
        let text = command.output_limit(64 << 20).run_text().await?;
        let mut heads = Vec::new();
        for line in text.lines() {
            let Some((name, rest)) = line.split_once('\0') else {
                return Err(GitError::Unexpected { what: "for-each-ref", found: line.to_owned() });
            };
            match BranchName::parse(name) {
                Ok(name) => heads.push((name, commit::parse("for-each-ref", rest)?)),
                Err(error) => tracing::warn!(%error, repository = %self.path.display(), "branch left out"),
            }
        }
        Ok(heads)
    }

    /// The head of a branch.
    pub async fn head(&self, branch: &BranchName) -> Result<Option<CommitSha>> {
        let command = self.command("rev-parse").args(["--verify", "--quiet", "--end-of-options"]);
        let output = command.arg(format!("{}^{{commit}}", branch.full())).output().await?;
        match output.code {
            Some(0) => commit::sha("rev-parse", &String::from_utf8_lossy(&output.stdout)).map(Some),
            Some(1) => Ok(None),
            code => Err(GitError::Failed { what: "rev-parse", code, stderr: output.stderr }),
        }
    }

    /// What a clone checks out: when `HEAD` names a branch that does not exist, a likely one that does.
    pub async fn mend_default_branch(&self) -> Result<()> {
        let current = self.command("symbolic-ref").args(["--quiet", "HEAD"]).run_text().await?;
        let heads =
            self.command("for-each-ref").args(["--format=%(refname)", "refs/heads/"]).run_text().await?;
        let heads: Vec<_> = heads.lines().collect();
        if heads.contains(&current.trim()) {
            return Ok(());
        }
        let likely = ["refs/heads/main", "refs/heads/master", "refs/heads/production"];
        match likely.into_iter().find(|name| heads.contains(name)).or(heads.first().copied()) {
            Some(name) => self.command("symbolic-ref").args(["HEAD", name]).run().await.map(drop),
            None => Ok(()),
        }
    }

    /// Moves a branch if it still is where the caller saw it; `old` None means that it must not exist.
    pub async fn update_branch(
        &self,
        branch: &BranchName,
        new: Option<&CommitSha>,
        old: Option<&CommitSha>,
        why: &str,
    ) -> Result<()> {
        const ZERO: &str = "0000000000000000000000000000000000000000";
        let sha = |sha: Option<&CommitSha>| sha.map_or(ZERO, CommitSha::as_str).to_owned();
        let name = branch.full();
        let line = match new {
            Some(new) => format!("update {name}\0{new}\0{}\0", sha(old)),
            None => format!("delete {name}\0{}\0", sha(old)),
        };
        let command = self.command("update-ref").args(["-m", why, "-z", "--stdin"]).stdin(line);
        match command.run().await {
            // A lock that is held, a value that differs: either way someone else was faster.
            Err(GitError::Failed { .. }) if self.head(branch).await?.as_ref() != old => {
                Err(GitError::Moved { branch: branch.to_string() })
            }
            Err(GitError::Failed { stderr, .. }) if stderr.contains("cannot lock ref") => {
                Err(GitError::Moved { branch: branch.to_string() })
            }
            outcome => outcome.map(drop),
        }
    }

    /// Packs and prunes what pushes left behind, when there is enough of it.
    pub async fn tidy(&self) -> Result<()> {
        self.remove_old_indexes()?;
        let command = self.command("gc").args(["--auto", "--quiet"]).config("gc.auto", "2000");
        command.timeout(std::time::Duration::from_secs(1800)).run().await.map(drop)
    }
}

impl Repository {
    /// Indexes of checkouts that were cut off.
    fn remove_old_indexes(&self) -> Result<()> {
        const OLD: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
        for entry in fs::read_dir(self.path.join("ops")).into_iter().flatten().flatten() {
            let is_index = entry.file_name().to_string_lossy().starts_with("index-");
            let age = entry.metadata().and_then(|data| data.modified()).map(|at| at.elapsed());
            if is_index && age.is_ok_and(|age| age.is_ok_and(|age| age > OLD)) {
                fs::remove_file(entry.path()).map_err(GitError::io(entry.path()))?;
            }
        }
        Ok(())
    }
}

/// Makes `at` a link to `target`, in one step, also when something else was there.
pub(super) fn link(target: &Path, at: &Path) -> Result<()> {
    if fs::read_link(at).is_ok_and(|found| found == target) {
        return Ok(());
    }
    let new = at.with_extension(format!("{}.new", std::process::id()));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(GitError::io(&new)(error)),
        _ => {}
    }
    symlink(target, &new).map_err(GitError::io(&new))?;
    fs::rename(&new, at).map_err(GitError::io(at))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fixture;
    use super::*;

    #[tokio::test]
    async fn heads_come_in_one_call_with_their_commits() {
        let fixture = Fixture::new().await;
        let repo = fixture.bare("heads").await;
        assert!(repo.heads().await.unwrap().is_empty());
        let first = fixture.commit(&repo, "main", &[("a.txt", "1")], "First: ✓ ünï\n\nBody").await;
        fixture.commit(&repo, "feature/x", &[("a.txt", "2")], "Second").await;
        let heads = repo.heads().await.unwrap();
        let names: Vec<_> = heads.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["feature/x", "main"]);
        assert_eq!(heads[1].1.sha, first);
        assert_eq!(heads[1].1.subject, "First: ✓ ünï");
        assert_eq!(heads[1].1.author, "Ada Tester");
        assert_eq!(heads[1].1.authored_at.timestamp(), 1_700_000_000);
    }

    /// Whoever comes second learns that the branch has moved, and changes nothing.
    #[tokio::test]
    async fn a_branch_moves_only_from_where_it_was_seen() {
        let fixture = Fixture::new().await;
        let repo = fixture.bare("cas").await;
        let main = BranchName::parse("main").unwrap();
        let base = fixture.commit(&repo, "main", &[("a", "1")], "base").await;
        let mut rivals = Vec::new();
        for n in 0..6 {
            let branch = format!("rival-{n}");
            rivals.push(fixture.commit(&repo, &branch, &[("a", &n.to_string())], "rival").await);
        }
        let moves = rivals.iter().map(|new| repo.update_branch(&main, Some(new), Some(&base), "race"));
        let outcomes = futures::future::join_all(moves).await;
        let won: Vec<_> = (0..rivals.len()).filter(|n| outcomes[*n].is_ok()).collect();
        assert_eq!(won.len(), 1, "{outcomes:?}");
        assert!(outcomes.iter().all(|o| matches!(o, Ok(()) | Err(GitError::Moved { .. }))), "{outcomes:?}");
        assert_eq!(repo.head(&main).await.unwrap().as_ref(), Some(&rivals[won[0]]));
        let again = repo.update_branch(&main, Some(&base), None, "must not exist").await;
        assert!(matches!(again, Err(GitError::Moved { .. })), "{again:?}");
    }

    /// As the first push and the reconciler may.
    #[tokio::test(flavor = "multi_thread")]
    async fn many_make_the_same_repository_at_once() {
        let fixture = Fixture::new().await;
        for _ in 0..4 {
            let project = ProjectId::new();
            let makers = (0..8).map(|_| {
                let repositories = fixture.repositories.clone();
                tokio::spawn(async move { repositories.create(project).await })
            });
            for made in futures::future::join_all(makers).await {
                assert!(made.unwrap().unwrap().exists());
            }
        }
    }

    #[tokio::test]
    async fn a_repository_is_ready_when_its_hooks_are_there() {
        let fixture = Fixture::new().await;
        let repo = fixture.repositories.create(ProjectId::new()).await.unwrap();
        assert!(repo.exists() && repo.has_hooks());
        fs::remove_dir_all(repo.path().join("hooks")).unwrap();
        assert!(repo.exists() && !repo.has_hooks());
    }

    #[tokio::test]
    async fn hooks_follow_the_binary() {
        let fixture = Fixture::new().await;
        let project = ProjectId::new();
        let repo = fixture.repositories.create(project).await.unwrap();
        let hook = repo.path().join("hooks/pre-receive");
        assert_eq!(fs::read_link(&hook).unwrap(), fixture.git.settings().ops);
        fs::remove_file(&hook).unwrap();
        symlink("/gone/ops", &hook).unwrap();
        assert_eq!(fixture.repositories.refresh_hooks().unwrap(), 1);
        assert_eq!(fs::read_link(&hook).unwrap(), fixture.git.settings().ops);
        assert_eq!(fs::metadata(repo.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
