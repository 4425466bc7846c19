#[cfg(feature = "ssr")]
use crate::request::{Visitor, answer, go_on_at};
use crate::{codec::Json, error::Fault};
use leptos::{prelude::*, server_fn::codec::GetUrl};
#[cfg(feature = "ssr")]
use odooops::{host, reconcile, run::backlog, status as platform};
use odooops::{
    host::{HostView, Invitation},
    id::{HostId, QuarantineId, ReconcilerRequestId, RunId},
    reconcile::{DryRun, Quarantined},
    run::backlog::Backlog,
    status::Status,
};

/// How the platform is.
#[server(name = LoadStatus, prefix = "/api/console", endpoint = "platform/status", input = GetUrl, output = Json)]
pub async fn status() -> Result<Status, Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            platform::service::status(&mut txn, &visitor.actor).await
        }
        .await,
    )
}

/// What has not ended.
#[server(prefix = "/api/console", endpoint = "platform/queue", input = GetUrl, output = Json)]
pub async fn queue() -> Result<Backlog, Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            backlog::service::list(&mut txn, &visitor.actor).await
        }
        .await,
    )
}

#[server(prefix = "/api/console", endpoint = "platform/cancel", output = Json)]
pub async fn cancel_queued(id: RunId) -> Result<(), Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            odooops::run::service::cancel_in_txn(&mut txn, &visitor.actor, id).await?;
            txn.commit().await?;
            go_on_at("/admin/queue");
            Ok(())
        }
        .await,
    )
}

/// Lets a queued run go earlier or later than others.
#[server(prefix = "/api/console", endpoint = "platform/priority", output = Json)]
pub async fn set_priority(id: RunId, priority: i32) -> Result<(), Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            backlog::service::set_priority_in_txn(&mut txn, &visitor.actor, id, priority).await?;
            txn.commit().await?;
            go_on_at("/admin/queue");
            Ok(())
        }
        .await,
    )
}

/// The machines, with their workers.
#[server(prefix = "/api/console", endpoint = "platform/hosts", input = GetUrl, output = Json)]
pub async fn hosts() -> Result<Vec<HostView>, Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            host::service::list(&mut txn, &visitor.actor).await
        }
        .await,
    )
}

/// Has a worker take nothing more, or take runs again.
#[server(prefix = "/api/console", endpoint = "platform/drain", output = Json)]
pub async fn drain_worker(worker: String, drain: bool) -> Result<(), Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            host::service::drain_in_txn(&mut txn, &visitor.actor, &worker, drain).await?;
            txn.commit().await?;
            go_on_at("/admin/hosts");
            Ok(())
        }
        .await,
    )
}

/// Forgets a worker that is silent and holds nothing.
#[server(prefix = "/api/console", endpoint = "platform/forget", output = Json)]
pub async fn forget_worker(worker: String) -> Result<(), Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            host::service::forget_in_txn(&mut txn, &visitor.actor, &worker).await?;
            txn.commit().await?;
            go_on_at("/admin/hosts");
            Ok(())
        }
        .await,
    )
}

/// Lets one machine join, once, within an hour. Labels are separated by commas or spaces.
#[server(prefix = "/api/console", endpoint = "platform/invite", output = Json)]
pub async fn invite_host(name: String, labels: String) -> Result<Invitation, Fault> {
    answer(
        async {
            let Visitor { state, actor } = Visitor::require()?;
            let name = Some(name.trim()).filter(|name| !name.is_empty());
            let labels: Vec<_> =
                labels.split([',', ' ']).filter(|label| !label.is_empty()).map(str::to_owned).collect();
            let mut txn = odooops::access::begin_as(&state.pool, actor).await?;
            let made =
                odooops::node::invite::invite_in_txn(&mut txn, &actor, &state.config, name, &labels).await?;
            txn.commit().await?;
            Ok(made)
        }
        .await,
    )
}

/// Cuts a machine off. With production on it, `repeat` says its name again: here it was chosen by a click, where the
/// command line and the API have it written out.
#[server(prefix = "/api/console", endpoint = "platform/revoke", output = Json)]
pub async fn revoke_host(name: String, repeat: Option<String>) -> Result<(), Fault> {
    answer(
        async {
            let Visitor { state, actor } = Visitor::require()?;
            let mut txn = odooops::access::begin_as(&state.pool, actor).await?;
            let hosts = host::service::list(&mut txn, &actor).await?;
            drop(txn);
            let asks = |host: &HostView| host.name == name && host.production_environments > 0;
            if hosts.iter().any(asks) && repeat.as_deref().map(str::trim) != Some(&name) {
                return Err(odooops::Error::invalid(
                    "repeat",
                    odooops::Detail::new("host.repeat").with("name", name),
                ));
            }
            odooops::node::invite::revoke(&state.pool, &actor, &name).await?;
            go_on_at("/admin/hosts");
            Ok(())
        }
        .await,
    )
}

/// Lets a host act again that only reports since the ops database was restored.
#[server(prefix = "/api/console", endpoint = "platform/confirm-host", output = Json)]
pub async fn confirm_host(host: HostId) -> Result<(), Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            reconcile::service::confirm_epoch_in_txn(&mut txn, &visitor.actor, host).await?;
            txn.commit().await?;
            go_on_at("/admin");
            Ok(())
        }
        .await,
    )
}

/// Data without an owner, out of the way.
#[server(prefix = "/api/console", endpoint = "platform/quarantine", input = GetUrl, output = Json)]
pub async fn quarantine() -> Result<Vec<Quarantined>, Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            reconcile::service::quarantine(&mut txn, &visitor.actor, false).await
        }
        .await,
    )
}

#[server(prefix = "/api/console", endpoint = "platform/quarantine-restore", output = Json)]
pub async fn restore_quarantined(id: QuarantineId) -> Result<(), Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            reconcile::service::restore_quarantined_in_txn(&mut txn, &visitor.actor, id).await?;
            txn.commit().await?;
            go_on_at("/admin");
            Ok(())
        }
        .await,
    )
}

/// `name` repeats what it was called.
#[server(prefix = "/api/console", endpoint = "platform/quarantine-delete", output = Json)]
pub async fn delete_quarantined(id: QuarantineId, name: String) -> Result<(), Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            reconcile::service::delete_quarantined_in_txn(&mut txn, &visitor.actor, id, name.trim()).await?;
            txn.commit().await?;
            go_on_at("/admin");
            Ok(())
        }
        .await,
    )
}

/// Asks a host what its reconcilers would do now.
#[server(prefix = "/api/console", endpoint = "platform/dry-run-request", output = Json)]
pub async fn request_dry_run(host: Option<HostId>) -> Result<Vec<ReconcilerRequestId>, Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let mut txn = visitor.begin().await?;
            let ids = reconcile::service::request_dry_run_in_txn(&mut txn, &visitor.actor, host).await?;
            txn.commit().await?;
            go_on_at(&format!(
                "/admin?dry-run={}",
                ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
            ));
            Ok(ids)
        }
        .await,
    )
}

/// What hosts answered, the ids separated by commas.
#[server(name = LoadDryRun, prefix = "/api/console", endpoint = "platform/dry-run", input = GetUrl, output = Json)]
pub async fn dry_run(ids: String) -> Result<Vec<DryRun>, Fault> {
    answer(
        async {
            let visitor = Visitor::require()?;
            let ids: Vec<_> = ids.split(',').filter_map(|id| id.parse().ok()).take(100).collect();
            let mut txn = visitor.begin().await?;
            reconcile::service::dry_runs(&mut txn, &visitor.actor, &ids).await
        }
        .await,
    )
}
