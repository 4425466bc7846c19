//! A project of one small addon, and the clone from which it is pushed.

use crate::installation::{Installation, scratch};
use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;
use std::{fs, path::PathBuf, process::Command};
use tempfile::TempDir;

const MANIFEST: &str = "{\n    'name': 'Bench',\n    'version': '1.0',\n    'author': 'Bench',\n    'depends': ['base'],\n    \
                        'license': 'LGPL-3',\n    'demo': [],\n}\n";

const MODEL: &str = "from odoo import fields, models\n\n\nclass BenchThing(models.Model):\n    \
                     _name = 'bench.thing'\n    _description = 'Thing'\n\n    name = fields.Char(required=True)\n";

const ACCESS: &str = "id,name,model_id:id,group_id:id,perm_read,perm_write,perm_create,perm_unlink\n\
                      access_bench_thing,bench.thing,model_bench_thing,base.group_user,1,1,1,1\n";

const TEST: &str = "from odoo.tests.common import TransactionCase\n\n\nclass TestThing(TransactionCase):\n    \
                    def test_name(self):\n        thing = self.env['bench.thing'].create({'name': 'a'})\n        \
                    self.assertEqual(thing.name, 'a')\n";

pub struct Project {
    pub slug: String,
    pub id: String,
    pub token: String,
    clone: PathBuf,
    remote: String,
    /// The clone goes with it.
    _folder: TempDir,
}

impl Project {
    /// Makes the project, under a name of its own, and its first commit; nothing is pushed yet.
    pub fn create(installation: &Installation) -> Result<Self> {
        let slug = format!("bench-{}", std::process::id());
        let folder = scratch()?;
        let made = installation.ops(&["project", "create", &slug])?;
        let id = text(&made, "id")?;
        let token = installation.ops(&["token", "create", "--name", "bench"])?;
        let token = text(&token, "token")?;
        let remote = format!("http://{}/git/{slug}.git", installation.address);
        let clone = folder.path().join(&slug);
        let project = Self { slug, id, token, clone, remote, _folder: folder };
        project.write()?;
        Ok(project)
    }

    fn write(&self) -> Result<()> {
        let addon = self.clone.join("bench_thing");
        for (path, content) in [
            ("__init__.py", "from . import models\n"),
            (
                "__manifest__.py",
                &MANIFEST.replace("'demo'", "'data': ['security/ir.model.access.csv'],\n    'demo'"),
            ),
            ("models/__init__.py", "from . import thing\n"),
            ("models/thing.py", MODEL),
            ("security/ir.model.access.csv", ACCESS),
            ("tests/__init__.py", "from . import test_thing\n"),
            ("tests/test_thing.py", TEST),
        ] {
            let path = addon.join(path);
            fs::create_dir_all(path.parent().context("a file in a folder")?)?;
            fs::write(path, content)?;
        }
        self.git(&["init", "--quiet", "--initial-branch=main"])?;
        self.commit("First")?;
        Ok(())
    }

    /// Commits whatever changed and gives the new head.
    pub fn commit(&self, subject: &str) -> Result<String> {
        fs::write(self.clone.join("bench_thing/README.rst"), format!("{subject}\n"))?;
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", subject])?;
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn switch_to_new(&self, branch: &str) -> Result<()> {
        self.git(&["switch", "--quiet", "--create", branch]).map(drop)
    }

    pub fn push(&self, branch: &str) -> Result<()> {
        self.git(&["push", "--quiet", &self.remote, &format!("HEAD:refs/heads/{branch}")]).map(drop)
    }

    /// Git with nothing of this user's configuration, and the token as its password: by a header in the
    /// environment, so that no other user of the machine sees it.
    fn git(&self, arguments: &[&str]) -> Result<String> {
        use std::env;
        fs::create_dir_all(&self.clone)?;
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.clone).args(arguments).env_clear();
        command.env("PATH", env::var_os("PATH").unwrap_or_default()).env("HOME", &self.clone);
        command.envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_TERMINAL_PROMPT", "0"), ("GIT_CONFIG_COUNT", "1")]);
        command.env("GIT_CONFIG_KEY_0", "http.extraHeader");
        let basic = BASE64_STANDARD.encode(format!("bench:{}", self.token));
        command.env("GIT_CONFIG_VALUE_0", format!("Authorization: Basic {basic}"));
        for who in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{who}_NAME"), "Bench")
                .env(format!("GIT_{who}_EMAIL"), "bench@localhost");
        }
        let output = command.output().context("git does not run")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "git {}: {}", arguments.join(" "), said.trim());
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

fn text(answer: &Value, key: &str) -> Result<String> {
    answer[key].as_str().map(str::to_owned).with_context(|| format!("no {key} in {answer}"))
}
