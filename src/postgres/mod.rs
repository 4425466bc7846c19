//! PostgreSQL as an outside world: the two embedded clusters, the ops database's pools and migrations, and the
//! administration of environments' databases. Nothing else administers a cluster.
//!
//! Every login of every role is `scram-sha-256`, over Unix sockets too: containers mount the tenants' socket, and
//! anything that trusts a uid would trust theirs.

mod bootstrap;
#[cfg(test)]
mod catalogue_tests;
mod cluster;
#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod docker_tests;
mod error;
#[cfg(test)]
mod foreign_rights_tests;
mod listener;
#[cfg(test)]
mod migration_samples;
#[cfg(test)]
mod migration_tests;
pub mod ops;
mod password;
#[cfg(test)]
mod pooled_sessions_tests;
mod postmaster;
mod programs;
mod quarantine;
mod quote;
mod recovery;
#[cfg(test)]
mod rights_actors;
#[cfg(test)]
mod rights_tables;
#[cfg(test)]
mod rights_tests;
mod settings;
#[cfg(test)]
mod stage_rights_tests;
mod template;
mod tenants;
#[cfg(test)]
mod tenants_tests;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
pub mod testing_cluster;
#[cfg(any(test, feature = "testing"))]
pub mod testing_tenants;
mod witness;

pub use bootstrap::{bootstrap_control, bootstrap_tenants};
pub use cluster::{Cluster, Kind};
pub use error::PostgresError;
pub use listener::{Announcement, Announcements, Heard};
pub use password::scram_verifier;
pub use postmaster::{Output, Postmaster, forward_lines};
pub use programs::Programs;
pub use quarantine::quarantined_name;
pub use template::{TemplateBuild, TemplateName, TemplateState};
pub use tenants::{Login, TenantDatabase, Tenants, database_name};
pub use witness::Witness;
