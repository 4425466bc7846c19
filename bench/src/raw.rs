//! What a build does, done by hand: the database copied from the same template, then the very containers that the
//! platform made, made again, with nothing around them.
//!
//! The platform's own containers are the recipe: what they were made of is read from Docker while a build runs. So
//! both sides have the same image, arguments, limits, mounts and settings, whatever the platform will use later.

use crate::{
    http::Connection,
    installation::{Installation, scratch},
};
use anyhow::{Context, Result, bail, ensure};
use hyper::Method;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const NAME: &str = "odooops_bench_raw";
const DOCKER: &str = "/var/run/docker.sock";
const LOOK: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(600);

/// Reads what the containers of a run are made of, as they appear.
#[derive(Default)]
pub struct Recipe {
    containers: BTreeMap<String, Value>,
}

impl Recipe {
    pub async fn look(&mut self, run: &str) -> Result<()> {
        let mut docker = Connection::open_socket(Path::new(DOCKER)).await?;
        let filter = json!({"label": [format!("odooops.run={run}")]}).to_string();
        let filter = filter.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let path = format!("/containers/json?all=true&filters={filter}");
        let found = docker.json(Method::GET, &path, None, &Value::Null).await?;
        for container in found.as_array().into_iter().flatten() {
            let id = container["Id"].as_str().unwrap_or_default();
            if !self.containers.contains_key(id) {
                // It may be gone by now.
                let path = format!("/containers/{id}/json");
                if let Ok(inspected) = docker.json(Method::GET, &path, None, &Value::Null).await {
                    self.containers.insert(id.to_owned(), inspected);
                }
            }
        }
        Ok(())
    }

    /// The container that runs an environment's Odoo for this purpose.
    fn container(&self, purpose: &str) -> Result<&Value> {
        let named =
            |it: &&Value| it["Name"].as_str().is_some_and(|name| name.contains(&format!("-{purpose}-")));
        self.containers.values().find(named).with_context(|| format!("no {purpose} container was seen"))
    }
}

/// The stage on which it is played again.
pub struct Raw<'a> {
    installation: &'a Installation,
    folder: PathBuf,
    /// The folder goes with it.
    _scratch: TempDir,
    template: String,
    /// Odoo's user and group. Read while the environment is there: the next build replaces it.
    owner: String,
    /// What to write instead of what the platform's containers hold.
    replacements: Vec<(String, String)>,
    install: Value,
    server: Value,
}

impl<'a> Raw<'a> {
    /// Prepares everything that is no part of `odoo -i` and boot: sources, settings, attachments.
    pub fn prepare(installation: &'a Installation, recipe: &Recipe, environment: &str) -> Result<Self> {
        let (install, server) = (recipe.container("install")?.clone(), recipe.container("server")?.clone());
        let original = installation.data_dir.join("environments").join(environment);
        let scratch = scratch()?;
        let folder = scratch.path().join("raw");
        let database = format!("env_{}", environment.replace('-', ""));
        let network = server["HostConfig"]["NetworkMode"].as_str().context("no network")?.to_owned();
        let replacements = vec![
            (original.display().to_string(), folder.display().to_string()),
            (database.clone(), NAME.to_owned()),
            (network, NAME.to_owned()),
        ];
        let owner = fs::metadata(original.join("data"))?;
        let mut raw = Self {
            installation,
            folder,
            _scratch: scratch,
            template: String::new(),
            owner: format!("{}:{}", owner.uid(), owner.gid()),
            replacements,
            install,
            server,
        };
        raw.template = raw.find_template()?;
        fs::create_dir_all(&raw.folder)?;
        run("cp", &["-a", &path(&original.join("src")), &path(&original.join("etc")), &path(&raw.folder)])?;
        raw.write_settings()?;
        Ok(raw)
    }

    fn find_template(&self) -> Result<String> {
        let sql = "select datname from pg_database where datistemplate and datname like 'template_demo_%'";
        let found = self.psql(sql)?;
        let first = found.lines().next().context("there is no template with demo data")?;
        Ok(first.to_owned())
    }

    fn write_settings(&self) -> Result<()> {
        for entry in fs::read_dir(self.folder.join("etc"))?.flatten() {
            let text = fs::read_to_string(entry.path())?;
            let lines = text.lines().map(|line| match line.split_once(" = ") {
                Some(("db_password", _)) => format!("db_password = {NAME}"),
                _ => self.replace(line),
            });
            let text = lines.collect::<Vec<_>>().join("\n") + "\n";
            // Keeps its owner and mode.
            fs::write(entry.path(), text)?;
        }
        Ok(())
    }

    fn replace(&self, text: &str) -> String {
        self.replacements.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    /// From nothing to an answering login page.
    pub async fn play(&self) -> Result<Duration> {
        self.clean().await;
        self.fresh_data()?;
        let network = json!({"Name": NAME, "Internal": true, "CheckDuplicate": true});
        self.docker().await?.json(Method::POST, "/networks/create", None, &network).await?;

        let began = Instant::now();
        self.psql(&format!("create role {NAME} superuser login password '{NAME}'"))?;
        self.psql(&format!("create database {NAME} template {} owner {NAME}", self.template))?;
        let install = self.run_container(&self.install, "install").await?;
        let path = format!("/containers/{install}/wait");
        let ended = self.docker().await?.json(Method::POST, &path, None, &Value::Null).await?;
        ensure!(ended["StatusCode"] == 0, "odoo -i ended with {}:\n{}", ended["StatusCode"], logs(&install));
        let server = self.run_container(&self.server, "server").await?;
        self.until_answering(&server).await?;
        let took = began.elapsed();

        self.clean().await;
        Ok(took)
    }

    async fn run_container(&self, like: &Value, purpose: &str) -> Result<String> {
        let mut body = like["Config"].clone();
        // It belongs to no installation: a reconciler would remove it.
        body["Labels"] = json!({});
        body["HostConfig"] = like["HostConfig"].clone();
        let body: Value = serde_json::from_str(&self.replace(&body.to_string()))?;
        let mut docker = self.docker().await?;
        let path = format!("/containers/create?name={NAME}_{purpose}");
        let made = docker.json(Method::POST, &path, None, &body).await?;
        let id = made["Id"].as_str().context("no id")?.to_owned();
        docker.json(Method::POST, &format!("/containers/{id}/start"), None, &Value::Null).await?;
        Ok(id)
    }

    async fn until_answering(&self, container: &str) -> Result<()> {
        let path = format!("/containers/{container}/json");
        let inspected = self.docker().await?.json(Method::GET, &path, None, &Value::Null).await?;
        let address =
            inspected["NetworkSettings"]["Networks"][NAME]["IPAddress"].as_str().context("no address")?;
        let address = format!("{address}:8069").parse()?;
        let began = Instant::now();
        loop {
            let asked = async { Connection::open(address, "raw.localhost").await?.get("/web/login").await };
            if asked.await.is_ok_and(|(status, _)| status == 200) {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                bail!("the server does not answer:\n{}", logs(container));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Odoo's data directory as a build begins with it: the template's attachments.
    fn fresh_data(&self) -> Result<()> {
        let data = self.folder.join("data");
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        fs::create_dir_all(data.join("filestore"))?;
        let name = self.template.trim_start_matches("template_");
        let templates = self.installation.data_dir.join("templates").join(name);
        let attachments = templates.join("data/filestore").join(&self.template);
        if attachments.exists() {
            run("cp", &["-a", &path(&attachments), &path(&data.join("filestore").join(NAME))])?;
        }
        // As the platform's: only Odoo's user gets in.
        run("chown", &["-R", &self.owner, &path(&data)])?;
        run("chmod", &["700", &path(&data)])
    }

    async fn docker(&self) -> Result<Connection> {
        Connection::open_socket(Path::new(DOCKER)).await
    }

    fn psql(&self, sql: &str) -> Result<String> {
        let secret = self.installation.data_dir.join("secrets/tenants-superuser.password");
        let password = fs::read_to_string(&secret).with_context(|| secret.display().to_string())?;
        let output = Command::new("psql")
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--username=postgres"])
            .args(["--dbname=postgres", "--set=ON_ERROR_STOP=1", "--command", sql])
            .arg("--host")
            .arg(self.installation.data_dir.join("tenants/socket"))
            .env("PGPASSWORD", password.trim())
            .output()
            .context("psql does not run")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{sql}: {}", said.trim());
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Removes what an earlier play left; each of it may be missing.
    async fn clean(&self) {
        for purpose in ["install", "server"] {
            let path = format!("/containers/{NAME}_{purpose}?force=true&v=true");
            self.delete(&path).await;
        }
        self.delete(&format!("/networks/{NAME}")).await;
        for sql in
            [format!("drop database if exists {NAME} with (force)"), format!("drop role if exists {NAME}")]
        {
            if let Err(error) = self.psql(&sql) {
                eprintln!("{error:#}");
            }
        }
    }

    async fn delete(&self, path: &str) {
        if let Ok(mut docker) = self.docker().await {
            let _ = docker.json(Method::DELETE, path, None, &Value::Null).await;
        }
    }
}

fn logs(container: &str) -> String {
    let output = Command::new("docker").args(["logs", "--tail", "30", container]).output();
    output.map_or_else(|error| error.to_string(), |it| String::from_utf8_lossy(&it.stderr).into_owned())
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let status = Command::new(program).args(arguments).status().with_context(|| program.to_owned())?;
    ensure!(status.success(), "{program} {}: {status}", arguments.join(" "));
    Ok(())
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
