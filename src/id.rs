//! Identifiers. All are UUIDv7, so that they sort by the time they were made.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "native", derive(sqlx::Type))]
        #[cfg_attr(feature = "native", sqlx(transparent))]
        #[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id of this moment.
            #[cfg(feature = "native")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        #[cfg(feature = "native")]
        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    )*};
}

id! {
    InstallationId,
    UserId,
    ProjectId,
    BranchId,
    EnvironmentId,
    RunId,
    /// A machine with one Docker daemon.
    HostId,
    ScheduleId,
    SessionId,
    /// Data without an owner that was moved out of the way.
    QuarantineId,
    /// A dry run that somebody asked for.
    ReconcilerRequestId,
    ApiTokenId,
}
