use crate::id::UserId;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "native", derive(sqlx::Type))]
#[cfg_attr(feature = "native", sqlx(type_name = "text", rename_all = "lowercase"))]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Owner,
    Admin,
    Tester,
    Developer,
    Viewer,
}

/// Who is asking, as the console shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
pub struct Me {
    pub id: UserId,
    pub name: String,
    pub email: String,
    pub platform_admin: bool,
}

/// What a person does to a branch, its builds or its environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    History,
    Connect,
    Logs,
    /// Push, create, rebuild, cancel.
    Push,
    MergeInto,
    MoveOut,
    /// Settings of the branch.
    Settings,
    Delete,
}

impl Role {
    /// Odoo.sh's matrix of stage and tool.
    pub fn may(self, tool: Tool, stage: crate::branch::Stage) -> bool {
        use crate::branch::Stage::{Development, Production, Staging};
        use Tool::{Connect, Logs, MergeInto, MoveOut, Settings};
        let administers = matches!(self, Self::Owner | Self::Admin);
        let tests = administers || self == Self::Tester;
        let develops = tests || self == Self::Developer;
        match (tool, stage) {
            (Tool::History, _) => true,
            (Tool::Push, Development | Staging) => develops,
            (Tool::Push, Production) => administers,
            (Tool::Delete, Production) => self == Self::Owner,
            (Connect | Logs | MergeInto | MoveOut | Settings | Tool::Delete, Development) => develops,
            (Connect | Logs | MergeInto | MoveOut | Settings | Tool::Delete, Staging) => tests,
            (Connect | Logs | MergeInto | MoveOut | Settings, Production) => administers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::branch::Stage;

    /// Rows and cells as Odoo.sh documents them: D developer, T tester, A admin, O owner, V viewer.
    #[test]
    fn matrix_of_stage_and_tool() {
        let rows = [
            (Tool::History, ["VDTAO", "VDTAO", "VDTAO"]),
            (Tool::Connect, ["DTAO", "TAO", "AO"]),
            (Tool::Logs, ["DTAO", "TAO", "AO"]),
            (Tool::Push, ["DTAO", "DTAO", "AO"]),
            (Tool::MergeInto, ["DTAO", "TAO", "AO"]),
            (Tool::MoveOut, ["DTAO", "TAO", "AO"]),
            (Tool::Settings, ["DTAO", "TAO", "AO"]),
            (Tool::Delete, ["DTAO", "TAO", "O"]),
        ];
        let roles = [
            ('V', Role::Viewer),
            ('D', Role::Developer),
            ('T', Role::Tester),
            ('A', Role::Admin),
            ('O', Role::Owner),
        ];
        for (tool, cells) in rows {
            for (stage, cell) in
                [Stage::Development, Stage::Staging, Stage::Production].into_iter().zip(cells)
            {
                for (letter, role) in roles {
                    assert_eq!(role.may(tool, stage), cell.contains(letter), "{role:?} {tool:?} {stage}");
                }
            }
        }
    }
}
