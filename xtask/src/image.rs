//! The Odoo image: pulled where a registry answers, else built from Debian's packages by the recipe in
//! end2end/image. Known by the recipe's hash, so it is made once per machine and recipe.
//!
//! An `odoo:19.0` without our label was pulled, or made by the user, and is taken as it is.

use crate::docker::{answers, image_id, image_label};
use crate::hash::Fingerprint;
use crate::machine::{Machine, output_of};
use crate::setup::{Consent, Purpose, prepare};
use crate::step::{Step, seconds};
use crate::{apt_sources, tools};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

pub const TAG: &str = "odoo:19.0";
pub const BUILD_TAG: &str = "odoo:19.0-build";
const RECIPE: &str = "end2end/image";
const RECIPE_LABEL: &str = "odooops.recipe";
const BASE_LABEL: &str = "odooops.base";
/// Counts up when the code below changes what comes out.
const RECIPE_VERSION: &str = "1";
/// A registry that has not begun to answer by then does not exist.
const REGISTRY_PATIENCE: Duration = Duration::from_secs(15);
const BASE_RELEASE: &str = "trixie";

pub fn run(machine: &Machine, consent: Consent, rebuild: bool) -> Result<ExitCode> {
    prepare(machine, consent, &[Purpose::Image])?;
    if rebuild {
        build_base(machine)?;
        build_build(machine)?;
    } else {
        ensure(machine)?;
    }
    println!("{TAG} and {BUILD_TAG} are there");
    Ok(ExitCode::SUCCESS)
}

/// What is there, if all of it is there and of this recipe.
pub fn is_there(machine: &Machine) -> Option<String> {
    answers(machine)?;
    let base = base_is_current(machine)?;
    build_is_current(machine, &base).then(|| format!("{TAG} {}", short(&base)))
}

pub fn ensure(machine: &Machine) -> Result<()> {
    if base_is_current(machine).is_none() && !retag(machine)? && !pull(machine)? {
        build_base(machine)?;
    }
    let base = image_id(machine, TAG).context("the Odoo image is not there although it was made")?;
    if !build_is_current(machine, &base) {
        build_build(machine)?;
    }
    Ok(())
}

fn base_is_current(machine: &Machine) -> Option<String> {
    let id = image_id(machine, TAG)?;
    match image_label(machine, TAG, RECIPE_LABEL) {
        Some(recipe) if recipe != recipe_hash(machine).ok()? => None,
        _ => Some(id),
    }
}

fn build_is_current(machine: &Machine, base: &str) -> bool {
    let Ok(recipe) = build_recipe_hash(machine) else { return false };
    image_label(machine, BUILD_TAG, BASE_LABEL).as_deref() == Some(base)
        && image_label(machine, BUILD_TAG, RECIPE_LABEL) == Some(recipe)
}

/// Another clone may have made the image of this recipe and a third one have taken the tag since.
fn retag(machine: &Machine) -> Result<bool> {
    let ours = recipe_tag(&recipe_hash(machine)?);
    if image_id(machine, &ours).is_none() {
        return Ok(false);
    }
    let mut command = machine.command("docker");
    command.args(["tag", &ours, TAG]);
    Step::new(machine, "tag the Odoo image").run(command)?;
    Ok(true)
}

/// `false` where no registry answers, or it has no such image.
fn pull(machine: &Machine) -> Result<bool> {
    // Only when there is nothing: an image of ours with an older recipe says that this machine builds.
    if image_id(machine, TAG).is_some() {
        return Ok(false);
    }
    let mut command = machine.command("docker");
    command.args(["pull", TAG]);
    let step = Step::new(machine, "look for the Odoo image in a registry")
        .expecting("Pulling from", REGISTRY_PATIENCE)
        .within(Duration::from_secs(30 * 60));
    let pulled = step.attempt(command)?.succeeded();
    if !pulled {
        println!("  no registry answers here; the image is built from Debian's packages");
    }
    Ok(pulled)
}

fn recipe_hash(machine: &Machine) -> Result<String> {
    let files =
        [&format!("{RECIPE}/base-packages"), &format!("{RECIPE}/packages"), &format!("{RECIPE}/preferences")];
    let files = files.map(String::as_str);
    Ok(Fingerprint::new().add(RECIPE_VERSION.as_bytes()).add_paths(&machine.root, &files)?.finish())
}

fn build_recipe_hash(machine: &Machine) -> Result<String> {
    Ok(Fingerprint::new().add_paths(&machine.root, &[&format!("{RECIPE}/Dockerfile.build")])?.finish())
}

fn recipe_tag(hash: &str) -> String {
    format!("{TAG}-{}", &hash[..12])
}

fn short(id: &str) -> &str {
    let id = id.trim_start_matches("sha256:");
    &id[..id.len().min(12)]
}

fn build_base(machine: &Machine) -> Result<()> {
    let hash = recipe_hash(machine)?;
    let mirror = mirror(machine)?;
    let root = Root::new(machine)?;
    root.bootstrap(&mirror)?;
    root.configure(&mirror)?;
    root.install()?;
    root.clean()?;
    root.import(&hash)?;
    check_image(machine)
}

/// The first of this machine's mirrors that has the release we build on.
fn mirror(machine: &Machine) -> Result<String> {
    if let Some(mirror) = std::env::var("ODOOOPS_DEBIAN_MIRROR").ok().filter(|m| !m.is_empty()) {
        return Ok(mirror.trim_end_matches('/').to_owned());
    }
    let probe = machine.scratch("mirror")?.join("InRelease");
    let helper = "/usr/lib/apt/apt-helper";
    for mirror in apt_sources::mirrors() {
        let mut command = machine.command(helper);
        let url = format!("{mirror}/dists/{BASE_RELEASE}/InRelease");
        command.args(["-o", "Acquire::http::Timeout=15", "download-file", &url]).arg(&probe);
        let _ = std::fs::remove_file(&probe);
        if output_of(&mut command).is_some() && has_main_suite(&probe) {
            return Ok(mirror);
        }
    }
    bail!(
        "none of this machine's apt sources has Debian {BASE_RELEASE}; name a Debian mirror in the environment \
         variable ODOOOPS_DEBIAN_MIRROR, or load an Odoo 19 image as {TAG}"
    )
}

fn has_main_suite(release: &Path) -> bool {
    let text = std::fs::read_to_string(release).unwrap_or_default();
    text.lines().any(|line| line.trim() == format!("Codename: {BASE_RELEASE}"))
        && text.lines().any(|line| line.trim() == "Origin: Debian")
}

/// One name per line; `#` begins a comment.
fn names(text: &str) -> Vec<&str> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).collect()
}

fn sources(mirror: &str) -> String {
    let signed = "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg";
    // A mirror of unstable may lag behind the date its index promises; the signature is still checked.
    format!(
        "Types: deb\nURIs: {mirror}\nSuites: {BASE_RELEASE} {BASE_RELEASE}-updates\nComponents: main\n{signed}\n\n\
         Types: deb\nURIs: {mirror}\nSuites: sid bookworm\nComponents: main\nCheck-Valid-Until: no\n{signed}\n"
    )
}

/// The root file system while it is being made; removed again at the end, however that comes.
struct Root<'a> {
    machine: &'a Machine,
    directory: PathBuf,
}

impl<'a> Root<'a> {
    fn new(machine: &'a Machine) -> Result<Self> {
        let directory = PathBuf::from(format!("/var/tmp/odooops-image-{}", std::process::id()));
        std::fs::create_dir(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        Ok(Self { machine, directory })
    }

    fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    fn recipe(&self, file: &str) -> Result<String> {
        let path = self.machine.root.join(RECIPE).join(file);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn bootstrap(&self, mirror: &str) -> Result<()> {
        let include = format!("--include={}", names(&self.recipe("base-packages")?).join(","));
        let mut command = self.machine.as_root("debootstrap")?;
        command.args(["--variant=minbase", &include, BASE_RELEASE]).arg(self.root()).arg(mirror);
        Step::new(self.machine, "Odoo image: Debian 13").run(command).map(drop)
    }

    fn configure(&self, mirror: &str) -> Result<()> {
        self.put("etc/apt/sources.list", "", "644")?;
        self.put("etc/apt/sources.list.d/odooops.sources", &sources(mirror), "644")?;
        self.put("etc/apt/preferences.d/odooops", &self.recipe("preferences")?, "644")?;
        // No service may be started by its package, neither here nor in a layer on top.
        self.put("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", "755")?;
        let resolv = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        self.put("etc/resolv.conf", &resolv, "644")
    }

    fn put(&self, name: &str, content: &str, mode: &str) -> Result<()> {
        let staged = self.directory.join("staged");
        std::fs::write(&staged, content)?;
        let mut command = self.machine.as_root("install")?;
        command.args(["-m", mode, "--"]).arg(&staged).arg(self.root().join(name));
        quiet(&mut command)
    }

    fn chroot(&self, program: &str, arguments: &[&str]) -> Result<Command> {
        let mut command = self.machine.as_root("chroot")?;
        command.arg(self.root()).args(["/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]);
        command
            .args(["DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "HOME=/root", program])
            .args(arguments);
        Ok(command)
    }

    fn install(&self) -> Result<()> {
        Step::new(self.machine, "Odoo image: package lists").run(self.chroot("apt-get", &["update"])?)?;
        let packages = self.recipe("packages")?;
        let mut command = self.chroot("apt-get", &["install", "-y", "--no-install-recommends"])?;
        command.args(names(&packages));
        Step::new(self.machine, "Odoo image: Odoo 19").run(command).map(drop)
    }

    fn clean(&self) -> Result<()> {
        quiet(&mut self.chroot("apt-get", &["clean"])?)?;
        for caches in ["/var/lib/apt/lists", "/var/cache/apt", "/var/log", "/tmp"] {
            quiet(&mut self.chroot("find", &[caches, "-type", "f", "-delete"])?)?;
        }
        self.put("etc/resolv.conf", "", "644")
    }

    /// Through a pipe: the archive is as large as the image and nobody needs it afterwards.
    fn import(&self, hash: &str) -> Result<()> {
        let mut archive = self.machine.as_root("tar")?;
        archive.arg("-C").arg(self.root()).args(["--numeric-owner", "-c", "."]).stdout(Stdio::piped());
        let mut archive = archive.spawn().context("cannot start tar")?;
        let output = archive.stdout.take().context("tar has an output")?;
        let label = format!("LABEL {RECIPE_LABEL}={hash}");
        let mut command = self.machine.command("docker");
        command.arg("import");
        let changes =
            ["ENV LANG=C.UTF-8", "ENV TZ=UTC", "USER odoo", r#"ENTRYPOINT ["/usr/bin/odoo"]"#, &label];
        for change in changes {
            command.args(["-c", change]);
        }
        command.args(["-", &recipe_tag(hash)]).stdin(output);
        let imported = Step::new(self.machine, "Odoo image: import").run(command);
        let archived = archive.wait()?;
        imported?;
        if !archived.success() {
            bail!("the Odoo image is incomplete: tar ended with {archived}");
        }
        let mut command = self.machine.command("docker");
        command.args(["tag", &recipe_tag(hash), TAG]);
        quiet(&mut command)
    }
}

impl Drop for Root<'_> {
    fn drop(&mut self) {
        if let Ok(mut command) = self.machine.as_root("rm") {
            command.args(["-rf", "--one-file-system", "--"]).arg(&self.directory);
            let _ = command.status();
        }
    }
}

fn quiet(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// An image is worth nothing if what it is for does not run in it.
fn check_image(machine: &Machine) -> Result<()> {
    for (title, entrypoint, argument) in [
        ("Odoo starts", "/usr/bin/odoo", "--version"),
        ("PDF printing starts", "/usr/bin/wkhtmltopdf", "--version"),
    ] {
        let mut command = machine.command("docker");
        command.args(["run", "--rm", "--network", "none", "--entrypoint", entrypoint, TAG, argument]);
        Step::new(machine, format!("Odoo image: {title}")).within(Duration::from_secs(120)).run(command)?;
    }
    Ok(())
}

fn build_build(machine: &Machine) -> Result<()> {
    let started = Instant::now();
    let base = image_id(machine, TAG).context("the Odoo image is not there")?;
    let context = machine.scratch("image-context")?;
    let dockerfile = machine.root.join(RECIPE).join("Dockerfile.build");
    std::fs::copy(&dockerfile, context.join("Dockerfile")).context("cannot copy Dockerfile.build")?;
    let mut command = machine.command("docker");
    let labels = [format!("{BASE_LABEL}={base}"), format!("{RECIPE_LABEL}={}", build_recipe_hash(machine)?)];
    // The host's network: the packages come from the mirror the image was built from, whoever resolves its name.
    command.args(["build", "--network", "host", "--tag", BUILD_TAG]);
    for label in &labels {
        command.args(["--label", label]);
    }
    command.arg(&context);
    Step::new(machine, "Odoo image: compilers").run(command)?;
    println!("  {BUILD_TAG} took {}", seconds(started.elapsed()));
    Ok(())
}

/// Among the tools, so that `up` lists it with the rest before it begins.
pub const TOOL: tools::Tool = tools::Tool {
    name: "Odoo 19 image",
    why: "what every environment runs; pulled, or built from Debian's packages (5 minutes, 4 GB)",
    purposes: &[Purpose::Up, Purpose::Test],
    is_there,
    install: ensure,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_lists_have_comments() {
        assert_eq!(names("# why\nodoo-19\n\n  python3-pip # pip\n"), ["odoo-19", "python3-pip"]);
    }

    #[test]
    fn every_source_is_checked_against_debians_keys() {
        let text = sources("http://mirror.invalid/debian");
        let paragraphs: Vec<_> = text.split("\n\n").collect();
        assert_eq!(paragraphs.len(), 2);
        assert!(
            paragraphs
                .iter()
                .all(|p| p.contains("Signed-By:") && p.contains("URIs: http://mirror.invalid/debian"))
        );
    }

    #[test]
    fn the_recipe_decides_the_hash() -> Result<()> {
        let machine = Machine::look()?;
        let hash = recipe_hash(&machine)?;
        assert_eq!(hash.len(), 64);
        assert_eq!(recipe_tag(&hash).len(), TAG.len() + 13);
        assert_ne!(hash, build_recipe_hash(&machine)?, "compilers do not change the image that runs");
        Ok(())
    }

    /// Needs a Docker daemon and the image; both are there when `cargo xtask test` runs.
    #[test]
    fn docker_image_runs_odoo_19_as_its_own_user_and_prints_pdf() -> Result<()> {
        let machine = Machine::look()?;
        let run = |entrypoint: &str, arguments: &[&str]| {
            let mut command = machine.command("docker");
            command
                .args(["run", "--rm", "--network", "none", "--entrypoint", entrypoint, TAG])
                .args(arguments);
            output_of(&mut command).with_context(|| format!("{entrypoint} {arguments:?} failed in {TAG}"))
        };
        assert!(run("/usr/bin/odoo", &["--version"])?.contains("19.0"));
        assert_ne!(run("id", &["-u"])?, "0");
        let script = "import subprocess; subprocess.run(['wkhtmltopdf', '-q', '-', '/tmp/a.pdf'], \
                      input=b'<h1>Invoice</h1>', check=True); print(open('/tmp/a.pdf', 'rb').read(5).decode())";
        assert_eq!(run("python3", &["-c", script])?, "%PDF-");
        run("python3", &["-m", "venv", "--system-site-packages", "/tmp/venv"])?;
        Ok(())
    }
}
