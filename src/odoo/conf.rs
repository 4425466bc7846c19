//! The configuration file of an environment's Odoo.

use rand::{Rng, distr::Alphanumeric};
use secrecy::{ExposeSecret, SecretString};

pub struct OdooConf {
    pub database: String,
    pub role: String,
    pub password: SecretString,
    /// What the role may open; Odoo is kept one below, so that its own limit speaks first.
    pub connections: u32,
    /// Inside the container.
    pub addons_path: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("the setting {0} cannot be written: it holds a line break or a comma")]
pub struct BadSetting(&'static str);

impl OdooConf {
    /// The file's text. It holds the database password.
    pub fn render(&self) -> Result<String, BadSetting> {
        let master: String = rand::rng().sample_iter(Alphanumeric).take(40).map(char::from).collect();
        let connections = self.connections.saturating_sub(1).max(2).to_string();
        let addons = self.addons_path.join(",");
        if self.addons_path.iter().any(|path| path.contains(',')) {
            return Err(BadSetting("addons_path"));
        }
        let filter = format!("^{}$", self.database);
        let mut settings: Vec<(&'static str, &str)> = vec![
            // The socket's directory, mounted from the host: there is no TCP way to any cluster.
            ("db_host", "/var/run/postgresql"),
            ("db_user", &self.role),
            ("db_password", self.password.expose_secret()),
            ("db_name", &self.database),
            ("db_maxconn", &connections),
            // Cron workers walk every visible database when these are missing.
            ("dbfilter", &filter),
            ("list_db", "False"),
            ("admin_passwd", &master),
            ("data_dir", "/var/lib/odoo"),
            // 19 warns without it, 20 would listen on loopback only.
            ("http_interface", "0.0.0.0"),
            ("proxy_mode", "True"),
            ("workers", "0"),
            ("max_cron_threads", "1"),
            // Address space, which says little: the container's memory is the limit.
            ("limit_memory_hard", "0"),
            ("limit_memory_soft", "0"),
        ];
        if !addons.is_empty() {
            settings.push(("addons_path", &addons));
        }
        let mut text = "[options]\n".to_owned();
        for (name, value) in settings {
            if value.contains(['\n', '\r', '\0']) {
                return Err(BadSetting(name));
            }
            text.push_str(&format!("{name} = {value}\n"));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(addons_path: &[&str]) -> OdooConf {
        OdooConf {
            database: "env_1".to_owned(),
            role: "env_1".to_owned(),
            password: SecretString::from("secret"),
            connections: 16,
            addons_path: addons_path.iter().map(|path| (*path).to_owned()).collect(),
        }
    }

    #[test]
    fn one_database_and_no_list_of_others() {
        let text = conf(&["/mnt/src", "/mnt/src/oca"]).render().unwrap();
        for line in [
            "db_name = env_1",
            "dbfilter = ^env_1$",
            "list_db = False",
            "db_maxconn = 15",
            "addons_path = /mnt/src,/mnt/src/oca",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(!conf(&[]).render().unwrap().contains("addons_path"));
    }

    #[test]
    fn the_master_password_differs_each_time() {
        assert_ne!(conf(&[]).render().unwrap(), conf(&[]).render().unwrap());
    }

    #[test]
    fn a_folder_cannot_smuggle_settings_in() {
        assert!(conf(&["/mnt/a\nadmin_passwd = x"]).render().is_err());
        assert!(conf(&["/mnt/a,/etc"]).render().is_err());
    }
}
