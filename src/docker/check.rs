//! The second opinion on a container's body (threat 7: the Docker socket equals root).
//!
//! It knows nothing of how the body was made. It goes through everything that the body sets, by the names that
//! Docker gets to see, and refuses what it does not know: a field that a later version of the API brings, or that
//! somebody adds to [`super::spec`] without thinking of this file, ends here.

use super::spec::SHM_BYTES;
use bollard::models::ContainerCreateBody;
use serde_json::{Map, Value};
use std::path::{Component, Path, PathBuf};

/// Why a container is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("container refused: {0}")]
pub struct Refusal(pub String);

fn refuse<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(reason.into()))
}

/// Everything about the body but the existence of what it mounts. `roots` are canonical paths.
pub fn check(body: &ContainerCreateBody, roots: &[PathBuf]) -> Result<(), Refusal> {
    let body = object(body)?;
    for (field, value) in &body {
        match field.as_str() {
            "Image" | "User" | "WorkingDir" | "StopSignal" | "StopTimeout" | "Cmd" => {}
            "Entrypoint" if !strings(value).is_empty() => {}
            "Healthcheck" if value.get("Test") == Some(&Value::from(vec!["NONE"])) => {}
            "Env" => check_env(value)?,
            "Labels" if value.get(super::labels::INSTALLATION).is_some() => {}
            "HostConfig" => check_host(value, roots)?,
            _ => return refuse(format!("{field} may not be set so")),
        }
    }
    for required in ["Image", "Entrypoint", "Labels", "HostConfig"] {
        if !body.contains_key(required) {
            return refuse(format!("{required} is missing"));
        }
    }
    Ok(())
}

fn check_host(host: &Value, roots: &[PathBuf]) -> Result<(), Refusal> {
    let Some(host) = host.as_object() else { return refuse("HostConfig is missing") };
    for (field, value) in host {
        let allowed = match field.as_str() {
            "Memory" | "NanoCpus" | "PidsLimit" => value.as_i64().is_some_and(|limit| limit > 0),
            "MemorySwap" => Some(value) == host.get("Memory"),
            "ShmSize" => value.as_i64().is_some_and(|size| (1..=SHM_BYTES).contains(&size)),
            "Init" => value == &Value::Bool(true),
            "ReadonlyRootfs" => value.is_boolean(),
            "Privileged" | "PublishAllPorts" | "OomKillDisable" => value == &Value::Bool(false),
            "CapDrop" => value == &Value::from(vec!["ALL"]),
            "SecurityOpt" => value == &Value::from(vec!["no-new-privileges"]),
            "NetworkMode" => {
                value.as_str().is_some_and(|name| name == "none" || name.starts_with("odooops-"))
            }
            "GroupAdd" => strings(value).iter().all(|gid| gid.parse::<u32>().is_ok_and(|gid| gid != 0)),
            "LogConfig" => {
                value.get("Type") == Some(&Value::from("json-file"))
                    && value.pointer("/Config/max-size").is_some()
                    && value.pointer("/Config/max-file").is_some()
            }
            "RestartPolicy" => {
                matches!(value.get("Name").and_then(Value::as_str), Some("no" | "unless-stopped"))
            }
            "Mounts" => {
                for mount in value.as_array().into_iter().flatten() {
                    check_mount(mount, roots)?;
                }
                value.is_array()
            }
            "Tmpfs" => {
                for (target, options) in value.as_object().into_iter().flatten() {
                    check_target(target)?;
                    check_tmpfs(target, options)?;
                }
                value.is_object()
            }
            _ => false,
        };
        if !allowed {
            return refuse(format!("HostConfig.{field} may not be set so"));
        }
    }
    for required in [
        "Memory",
        "MemorySwap",
        "NanoCpus",
        "PidsLimit",
        "ShmSize",
        "Init",
        "CapDrop",
        "SecurityOpt",
        "NetworkMode",
        "LogConfig",
        "ReadonlyRootfs",
    ] {
        if !host.contains_key(required) {
            return refuse(format!("HostConfig.{required} is missing"));
        }
    }
    Ok(())
}

fn check_mount(mount: &Value, roots: &[PathBuf]) -> Result<(), Refusal> {
    for (field, value) in mount.as_object().into_iter().flatten() {
        let allowed = match field.as_str() {
            "Type" => value == &Value::from("bind"),
            "Source" | "Target" => value.is_string(),
            "ReadOnly" => value.is_boolean(),
            "BindOptions" => value == &serde_json::json!({ "Propagation": "rprivate" }),
            _ => false,
        };
        if !allowed {
            return refuse(format!("Mounts.{field} may not be set so"));
        }
    }
    let text = |field: &str| mount.get(field).and_then(Value::as_str).unwrap_or_default();
    if text("Type").is_empty() {
        return refuse("a mount without a type");
    }
    let source = Path::new(text("Source"));
    if !is_plain(source) || !roots.iter().any(|root| is_plain(root) && source.starts_with(root)) {
        return refuse(format!("{} is not a directory of ours", source.display()));
    }
    check_target(text("Target"))
}

fn check_tmpfs(target: &str, options: &Value) -> Result<(), Refusal> {
    let options: Vec<&str> = options.as_str().unwrap_or_default().split(',').collect();
    let sized = options
        .iter()
        .filter_map(|option| option.strip_prefix("size="))
        .any(|size| size.parse::<u64>().is_ok_and(|size| size > 0));
    if !sized || !options.contains(&"nosuid") || !options.contains(&"nodev") {
        return refuse(format!("tmpfs {target} without bounds"));
    }
    Ok(())
}

/// Inside the container, but not over what the kernel shows there.
fn check_target(target: &str) -> Result<(), Refusal> {
    let path = Path::new(target);
    let reserved = ["/proc", "/sys", "/dev"].iter().any(|system| path.starts_with(system));
    if !is_plain(path) || path == Path::new("/") || reserved || target.contains(':') {
        return refuse(format!("{target} is no place to mount at"));
    }
    Ok(())
}

fn check_env(env: &Value) -> Result<(), Refusal> {
    for entry in strings(env) {
        let name = entry.split_once('=').map(|(name, _)| name).unwrap_or_default();
        let valid = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if name.is_empty() || !valid || entry.contains('\0') {
            return refuse("an environment variable without a proper name");
        }
    }
    Ok(())
}

/// Absolute, and spelled without detours.
fn is_plain(path: &Path) -> bool {
    let mut components = path.components();
    components.next() == Some(Component::RootDir)
        && components.all(|part| matches!(part, Component::Normal(_)))
        && !path.as_os_str().as_encoded_bytes().contains(&0)
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|item| item.as_str().unwrap_or_default()).collect()
}

fn object(body: &ContainerCreateBody) -> Result<Map<String, Value>, Refusal> {
    match serde_json::to_value(body) {
        Ok(Value::Object(map)) => Ok(map),
        _ => refuse("the body cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        docker::{ContainerSpec, Labels, Mount, Tmpfs, labels::Maker},
        id::{InstallationId, RunId},
    };
    use bollard::models::{
        DeviceMapping, HostConfig, MountBindOptions, MountBindOptionsPropagationEnum, MountType, PortBinding,
    };
    use std::collections::HashMap;

    fn roots() -> Vec<PathBuf> {
        vec!["/srv/data/environments".into(), "/srv/data/tenants/socket".into()]
    }

    fn body() -> ContainerCreateBody {
        let mut spec = ContainerSpec::new("odooops-x-server", "odoo:19.0", Labels::run(RunId::new()));
        spec.entrypoint = vec!["/usr/bin/odoo".into()];
        spec.env = vec![("PGPASSWORD".into(), "a=b c".into())];
        spec.groups = vec![33];
        spec.network = Some("odooops-1".into());
        spec.tmpfs = vec![Tmpfs::new("/tmp", 1 << 20)];
        spec.mounts = vec![
            Mount {
                source: "/srv/data/environments/1/src".into(),
                target: "/mnt/src".into(),
                read_only: true,
            },
            Mount {
                source: "/srv/data/tenants/socket".into(),
                target: "/var/run/postgresql".into(),
                read_only: true,
            },
        ];
        spec.body(Maker { installation: InstallationId::new(), host: None })
    }

    fn host(change: impl FnOnce(&mut HostConfig)) -> Result<(), Refusal> {
        let mut body = body();
        change(body.host_config.as_mut().unwrap());
        check(&body, &roots())
    }

    fn source(path: &str) -> Result<(), Refusal> {
        host(|host| host.mounts.as_mut().unwrap()[0].source = Some(path.into()))
    }

    #[test]
    fn threat_07_what_the_builder_makes_passes() {
        assert_eq!(check(&body(), &roots()), Ok(()));
    }

    #[test]
    fn threat_07_host_paths_but_ours_are_refused() {
        for path in [
            "/",
            "/etc",
            "/var/run/docker.sock",
            "/srv/data",
            "/srv/data/secrets",
            "/srv/data/environments2",
            "/srv/data/environments/../secrets",
            "/srv/data/environments/./1",
            "srv/data/environments/1",
            "",
        ] {
            // `/./` is dropped when a path is taken apart, so that spelling is harmless.
            let harmless = path.contains("/./");
            assert_eq!(source(path).is_ok(), harmless, "{path}");
        }
        assert!(host(|h| h.binds = Some(vec!["/:/host".into()])).is_err());
        assert!(host(|h| h.volumes_from = Some(vec!["other".into()])).is_err());
        assert!(host(|h| h.mounts.as_mut().unwrap()[0].typ = Some(MountType::VOLUME)).is_err());
        assert!(host(|h| h.mounts.as_mut().unwrap()[0].typ = None).is_err());
        assert!(
            host(|h| {
                h.mounts.as_mut().unwrap()[0].bind_options = Some(MountBindOptions {
                    propagation: Some(MountBindOptionsPropagationEnum::RSHARED),
                    ..Default::default()
                });
            })
            .is_err()
        );
        assert!(check(&body(), &[]).is_err());
        assert!(check(&body(), &["".into()]).is_err());
    }

    #[test]
    fn threat_07_privileges_are_refused() {
        assert!(host(|h| h.privileged = Some(true)).is_err());
        assert!(host(|h| h.cap_add = Some(vec!["SYS_ADMIN".into()])).is_err());
        assert!(host(|h| h.cap_drop = Some(vec!["NET_RAW".into()])).is_err());
        assert!(host(|h| h.cap_drop = None).is_err());
        assert!(host(|h| h.security_opt = Some(vec![])).is_err());
        assert!(
            host(|h| h.security_opt = Some(vec!["no-new-privileges".into(), "seccomp=unconfined".into()]))
                .is_err()
        );
        assert!(host(|h| h.devices = Some(vec![DeviceMapping::default()])).is_err());
        assert!(host(|h| h.device_cgroup_rules = Some(vec!["a *:* rwm".into()])).is_err());
        assert!(host(|h| h.group_add = Some(vec!["0".into()])).is_err());
        assert!(host(|h| h.group_add = Some(vec!["docker".into()])).is_err());
        assert!(host(|h| h.runtime = Some("other".into())).is_err());
        assert!(host(|h| h.masked_paths = Some(vec![])).is_err());
        assert!(host(|h| h.sysctls = Some(HashMap::new())).is_err());
        assert!(host(|h| h.cgroup_parent = Some("/".into())).is_err());
    }

    #[test]
    fn threat_07_namespaces_of_the_host_are_refused() {
        for mode in ["host", "bridge", "container:abc", ""] {
            assert!(host(|h| h.network_mode = Some(mode.into())).is_err(), "{mode}");
        }
        assert!(host(|h| h.pid_mode = Some("host".into())).is_err());
        assert!(host(|h| h.ipc_mode = Some("host".into())).is_err());
        assert!(host(|h| h.uts_mode = Some("host".into())).is_err());
        assert!(host(|h| h.userns_mode = Some("host".into())).is_err());
        assert!(host(|h| h.extra_hosts = Some(vec!["pypi.org:127.0.0.1".into()])).is_err());
        let ports = HashMap::from([("8069/tcp".to_owned(), Some(vec![PortBinding::default()]))]);
        assert!(host(|h| h.port_bindings = Some(ports)).is_err());
    }

    #[test]
    fn threat_07_limits_are_required() {
        assert!(host(|h| h.memory = None).is_err());
        assert!(host(|h| h.memory = Some(0)).is_err());
        assert!(host(|h| h.memory_swap = Some(-1)).is_err());
        assert!(host(|h| h.nano_cpus = Some(0)).is_err());
        assert!(host(|h| h.pids_limit = Some(-1)).is_err());
        assert!(host(|h| h.pids_limit = None).is_err());
        assert!(host(|h| h.shm_size = Some(1 << 40)).is_err());
        assert!(host(|h| h.oom_kill_disable = Some(true)).is_err());
        assert!(host(|h| h.log_config = None).is_err());
        for options in ["", "rw,nosuid,nodev", "size=0,nosuid,nodev", "size=10,nosuid", "size=10"] {
            assert!(host(|h| h.tmpfs = Some(HashMap::from([("/tmp".into(), options.into())]))).is_err());
        }
        for target in ["/", "/proc/sys", "/dev/shm", "tmp", "/a/../proc", "/a:b"] {
            let tmpfs = HashMap::from([(target.into(), "size=10,nosuid,nodev".into())]);
            assert!(host(|h| h.tmpfs = Some(tmpfs)).is_err(), "{target}");
        }
    }

    #[test]
    fn threat_07_the_rest_of_the_body_is_looked_at_too() {
        let refused = |change: fn(&mut ContainerCreateBody)| {
            let mut body = body();
            change(&mut body);
            check(&body, &roots()).is_err()
        };
        assert!(refused(|b| b.volumes = Some(vec!["/data".into()])));
        assert!(refused(|b| b.tty = Some(true)));
        assert!(refused(|b| b.labels = Some(HashMap::new())));
        assert!(refused(|b| b.entrypoint = None));
        assert!(refused(|b| b.entrypoint = Some(vec![])));
        assert!(refused(|b| b.healthcheck = Some(Default::default())));
        assert!(refused(|b| b.host_config = None));
        for entry in ["=x", "NAME", "A B=c", "A\n=c", "A=\0"] {
            let mut body = body();
            body.env = Some(vec![entry.into()]);
            assert!(check(&body, &roots()).is_err(), "{entry:?}");
        }
    }
}
