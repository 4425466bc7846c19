//! Reading settings: flags over environment over file. All problems are found in one go, each with where it was
//! written and what to do about it.

use super::keys::{Config, KEYS};
use crate::docker::egress::AllowList;
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

/// The flag that names the file.
pub const FILE_FLAG: &str = "config";

/// The text of one key, and where it was written.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub text: String,
    pub source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Flag(String),
    Variable(String),
    File(PathBuf),
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Variable(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub key: String,
    pub source: Source,
    pub advice: String,
}

impl Problem {
    pub(super) fn new(key: &str, source: Source, advice: impl Into<String>) -> Self {
        Self { key: key.to_owned(), source, advice: advice.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.key, self.source, self.advice)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the configuration has problems:\n{}", .0.iter().map(|p| format!("  {p}")).collect::<Vec<_>>().join("\n"))]
pub struct Problems(pub Vec<Problem>);

/// What was given on the command line: key to text, and the file's name.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    pub file: Option<PathBuf>,
    pub keys: BTreeMap<&'static str, String>,
}

impl Config {
    /// The settings of this process. `variable` looks up the environment.
    pub fn load(flags: &Flags, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let outer = |name: &str| {
            let key = KEYS.iter().find(|key| key.name == name)?;
            if let Some(text) = flags.keys.get(name) {
                return Some(Given { text: text.clone(), source: Source::Flag(key.flag()) });
            }
            let name = key.variable();
            variable(&name).map(|text| Given { text, source: Source::Variable(name) })
        };
        // The default file is in the data directory, so that one is known first, without the file.
        let data_dir = Self::read(outer, &mut Vec::new()).data_dir;
        let named = flags.file.clone().or_else(|| variable("OPS_CONFIG").map(PathBuf::from));
        let is_named = named.is_some();
        let path = named.unwrap_or_else(|| data_dir.join("config.toml"));
        let mut file = file(&path, is_named, &mut problems);
        if !is_named && file.remove("data_dir").is_some() {
            let advice =
                "this file is found through the data directory: set it by --data-dir or OPS_DATA_DIR";
            problems.push(Problem::new("data_dir", Source::File(path.clone()), advice));
        }
        let within = |name: &str| {
            file.get(name).map(|text| Given { text: text.clone(), source: Source::File(path.clone()) })
        };
        let source = |name: &str| outer(name).or_else(|| within(name));
        let config = Self::read(source, &mut problems);
        config.check(|name| source(name).map_or(Source::Default, |given| given.source), &mut problems);
        if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
    }

    /// What no single key can know of itself.
    fn check(&self, source: impl Fn(&str) -> Source, problems: &mut Vec<Problem>) {
        let mut refuse = |key: &str, wrong: bool, advice: &str| {
            if wrong {
                problems.push(Problem::new(key, source(key), advice));
            }
        };
        refuse("data_dir", !self.data_dir.is_absolute(), "write an absolute path");
        // A Unix socket's path has 107 bytes; PostgreSQL's is the longest below the data directory.
        let socket = self.control_dir().join("socket/.s.PGSQL.5432");
        refuse(
            "data_dir",
            socket.as_os_str().len() > 107,
            "choose a shorter path: Unix sockets in it allow 107 bytes",
        );
        refuse(
            "base_domain",
            !is_authority(&self.base_domain),
            "write a host name, with :port when it is not the scheme's own",
        );
        let docker = self.docker_host.as_deref().unwrap_or("unix:///var/run/docker.sock");
        // Containers mount directories of this machine and its clusters' socket.
        refuse(
            "docker_host",
            !docker.starts_with("unix:///"),
            "write unix:///path: the daemon of this machine",
        );
        let index = AllowList::of_index(self.pip_index_url.as_deref(), &[]);
        refuse("pip_index_url", index.is_err(), "write an https address");
        let hosts = AllowList::of_index(None, &self.pip_index_hosts);
        refuse(
            "pip_index_hosts",
            hosts.is_err(),
            "write hosts such as files.example.com, separated by commas",
        );
        if let Some(bundle) = &self.pip_ca_bundle {
            refuse("pip_ca_bundle", !bundle.is_file(), "there is no such file");
        }
        for (key, image) in [("odoo_image", &self.odoo_image), ("odoo_build_image", &self.odoo_build_image)] {
            refuse(key, !is_image(image), "write an image's name, such as odoo:19.0");
        }
        refuse(
            "worker_concurrency",
            !(1..=64).contains(&self.worker_concurrency),
            "write a number from 1 to 64",
        );
        refuse("environment_memory_mb", self.environment_memory_mb < 256, "Odoo needs 256 or more");
        let cpus = self.environment_cpus;
        refuse("environment_cpus", !(0.1..=256.0).contains(&cpus), "write a number from 0.1 to 256");
        refuse("environment_pids", self.environment_pids < 64, "Odoo needs 64 or more");
        refuse("environment_tmp_mb", self.environment_tmp_mb < 16, "Odoo needs 16 or more");
        let connections = (4..=100).contains(&self.environment_connections);
        refuse("environment_connections", !connections, "write a number from 4 to 100");
        refuse("build_timeout_seconds", self.build_timeout_seconds < 10, "write 10 or more");
        refuse("output_limit_bytes", self.output_limit_bytes < 1 << 20, "write 1048576 (1 MiB) or more");
        for (key, days) in [
            ("log_retention_days", self.log_retention_days),
            ("metric_retention_days", self.metric_retention_days),
            ("event_retention_days", self.event_retention_days),
            ("audit_retention_days", self.audit_retention_days),
        ] {
            refuse(key, !(1..=36_500).contains(&days), "write a number of days from 1 to 36500");
        }
        refuse("drain_seconds", self.drain_seconds > 86_400, "write 86400 (a day) or less");
        refuse(
            "quarantine_days",
            !(1..=3650).contains(&self.quarantine_days),
            "write a number from 1 to 3650",
        );
        let days = (1..=3650).contains(&self.unused_image_days);
        refuse("unused_image_days", !days, "write a number from 1 to 3650");
        if let Some(bin) = &self.postgres_bin {
            refuse("postgres_bin", !bin.join("initdb").is_file(), "there is no initdb in this folder");
        }
    }
}

/// The file's keys as text. A missing file is fine unless it was asked for by name.
fn file(path: &Path, is_named: bool, problems: &mut Vec<Problem>) -> BTreeMap<String, String> {
    let source = || Source::File(path.to_owned());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_named => return BTreeMap::new(),
        Err(error) => {
            problems.push(Problem::new(FILE_FLAG, source(), format!("cannot be read: {error}")));
            return BTreeMap::new();
        }
    };
    let table = match text.parse::<toml::Table>() {
        Ok(table) => table,
        Err(error) => {
            // Not the error itself: it quotes the line, which may hold a password.
            let at =
                error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            problems.push(Problem::new(
                FILE_FLAG,
                source(),
                format!("line {at} is not TOML: {}", error.message()),
            ));
            return BTreeMap::new();
        }
    };
    let mut keys = BTreeMap::new();
    for (name, value) in table {
        if !KEYS.iter().any(|key| key.name == name) {
            problems.push(Problem::new(&name, source(), "there is no such key: `ops config show` lists all"));
            continue;
        }
        match as_text(&value) {
            Some(text) => _ = keys.insert(name, text),
            None => problems.push(Problem::new(&name, source(), "write one value or a list of texts")),
        }
    }
    keys
}

fn as_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Array(values) => {
            values.iter().map(toml::Value::as_str).collect::<Option<Vec<_>>>().map(|texts| texts.join(","))
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

/// `host` or `host:port`, lower case, as it can stand in a Host header.
fn is_authority(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    host.len() <= 190
        && host.split('.').all(label)
        && port.is_none_or(|port| {
            port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0)
        })
}

/// An image reference as Docker spells it; a leading dash would read as an option.
fn is_image(text: &str) -> bool {
    text.len() <= 255
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::RunKind;

    fn load(
        flags: &[(&'static str, &str)],
        variables: &[(&str, &str)],
        file: &str,
    ) -> Result<Config, Problems> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("given.toml");
        std::fs::write(&path, file).unwrap();
        let keys = flags.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
        let flags = Flags { file: Some(path), keys };
        Config::load(&flags, |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn flags_win_over_environment_over_file_over_default() {
        let file = "odoo_image = 'file:1'\nlog = 'file'\nenvironment_pids = 100";
        let variables = [("OPS_ODOO_IMAGE", "variable:1"), ("OPS_LOG", "variable")];
        let config = load(&[("odoo_image", "flag:1")], &variables, file).unwrap();
        assert_eq!(config.odoo_image, "flag:1");
        assert_eq!(config.log, "variable");
        assert_eq!(config.environment_pids, 100);
        assert_eq!(config.environment_tmp_mb, 256);
    }

    #[test]
    fn every_problem_is_named_at_once_with_its_place() {
        let file = "listen = 'nowhere'\nbase_domain = 'No Host'\nno_such = 1\nenvironment_cpus = nan";
        let Problems(problems) =
            load(&[("worker_concurrency", "0")], &[("OPS_LOG_JSON", "perhaps")], file).unwrap_err();
        let mut named: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        named.sort_unstable();
        let expected =
            ["base_domain", "environment_cpus", "listen", "log_json", "no_such", "worker_concurrency"];
        assert_eq!(named, expected);
        let flag = problems.iter().find(|problem| problem.key == "worker_concurrency").unwrap();
        assert_eq!(flag.source, Source::Flag("worker-concurrency".to_owned()));
        assert!(problems.iter().any(|problem| problem.source == Source::Variable("OPS_LOG_JSON".to_owned())));
    }

    #[test]
    fn a_list_reads_from_toml_and_from_text() {
        let from_file = load(&[], &[], "trusted_proxies = ['10.0.0.0/8', '127.0.0.1']").unwrap();
        let from_flag = load(&[("trusted_proxies", "10.0.0.0/8, 127.0.0.1")], &[], "").unwrap();
        assert_eq!(from_file.trusted_proxies, from_flag.trusted_proxies);
        assert_eq!(from_file.trusted_proxies.len(), 2);
    }

    /// What the platform does for itself is done by its leader. As a run it would be anybody's who may queue one.
    #[test]
    fn threat_02_no_worker_can_be_told_to_do_the_platforms_own_work() {
        assert_eq!(load(&[], &[], "").unwrap().worker_kinds, [RunKind::Build]);
        assert_eq!(load(&[("worker_kinds", "backup, build")], &[], "").unwrap().worker_kinds.len(), 2);
        for kinds in ["maintenance", "build,maintenance"] {
            let refused = load(&[], &[("OPS_WORKER_KINDS", kinds)], "").unwrap_err();
            assert_eq!(refused.0[0].key, "worker_kinds");
            assert!(!refused.0[0].to_string().contains(", maintenance"), "{refused}");
        }
    }

    #[test]
    fn passwords_in_urls_never_show() {
        let url = "postgres://owner:hunter2@db.example/ops";
        let config = load(&[], &[("OPS_DATABASE_URL", url)], "").unwrap();
        let shown = config.show().into_iter().map(|(_, text)| text).collect::<String>();
        assert!(shown.contains("owner:***@db.example"), "{shown}");
        assert!(!format!("{config:?}{shown}").contains("hunter2"));
        let problems = load(&[], &[("OPS_DATABASE_URL", "mysql://owner:hunter2@db")], "").unwrap_err();
        assert!(!problems.to_string().contains("hunter2"));
        let broken = load(&[], &[], "database_url = 'postgres://owner:hunter2@db").unwrap_err();
        assert!(!broken.to_string().contains("hunter2"), "{broken}");
    }

    #[test]
    fn hosts_and_images_that_could_be_taken_for_something_else_are_refused() {
        for good in ["localhost", "localhost:3000", "ops.example.com", "a-b.c:80"] {
            assert!(is_authority(good), "{good}");
        }
        for bad in
            ["", "a b", "-a", "a-", "a..b", "a:0", "a:99999", "a:", "a:b", "ü.example", "A.example", "a/b"]
        {
            assert!(!is_authority(bad), "{bad}");
        }
        assert!(is_image("registry:5000/odoo@sha256:0123"));
        for bad in ["-v", "", "odoo 19", "$(id)", "odoo\n"] {
            assert!(!is_image(bad), "{bad}");
        }
    }

    #[test]
    fn the_default_file_cannot_move_the_directory_it_is_in() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.toml"), "data_dir = '/elsewhere'").unwrap();
        let keys = [("data_dir", dir.path().display().to_string())].into();
        let problems = Config::load(&Flags { file: None, keys }, |_| None).unwrap_err();
        assert_eq!(problems.0[0].key, "data_dir");
    }

    #[test]
    fn every_key_is_documented() {
        for key in KEYS {
            assert!(key.documentation().len() > 20, "{}", key.name);
            assert!(key.documentation().ends_with('.'), "{}", key.name);
        }
    }
}
