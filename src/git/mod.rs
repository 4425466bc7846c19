//! The only place that runs git. Every call goes through [`command`]: an argument vector, an emptied environment,
//! a configuration of ours only, bounded in time and output.
//!
//! Layout below `<data>/git/`:
//! ```text
//! <project id>.git            the bare repository of a project; its hooks are links to `ops`
//! modules/<project id>/...    bare caches of the project's submodules, one per URL
//! links/ops-ssh               link to `ops`, which starts ssh with our options only
//! known_hosts                 ssh host keys, learnt at first use
//! home/                       HOME of every git: stays empty
//! ```

mod checkout;
mod command;
mod commit;
mod error;
mod http_backend;
mod merge;
mod network;
mod node;
mod quarantine;
mod reconcile;
mod remote;
mod repository;
mod seed;
mod submodule;
mod symlink;
#[cfg(test)]
mod testing;
mod tree;
mod url;

pub use checkout::{Checkout, CheckoutLimits};
pub use command::{Git, GitSettings};
pub use error::{GitError, Result};
pub use http_backend::{Backend, BackendRequest};
pub use merge::{Author, Merge, MergeDone, Merged, merge_branches, preview_merge};
pub use quarantine::Quarantine;
pub use reconcile::{
    Missed, hold_heads_in_txn, keep_reconciling, missed_pushes, ready, reconcile, reconcile_project,
};
pub use repository::{Repositories, Repository};
pub use seed::SeedCommit;
pub use submodule::Submodule;
pub use url::GitUrl;
