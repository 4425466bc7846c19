//! Stages and the rules of the board. Pure, so that browser and server decide alike.

use crate::error::Detail;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "native", derive(sqlx::Type))]
#[cfg_attr(feature = "native", sqlx(type_name = "text", rename_all = "lowercase"))]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Production,
    Staging,
    Development,
}

impl Stage {
    pub const ALL: [Self; 3] = [Self::Production, Self::Staging, Self::Development];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Staging => "staging",
            Self::Development => "development",
        }
    }

    /// What a push to a branch of this stage does unless the branch says otherwise.
    pub fn default_on_push(self) -> OnPush {
        match self {
            Self::Production | Self::Staging => OnPush::Update,
            Self::Development => OnPush::New,
        }
    }

    /// Whether builds load demo data and run the test suite.
    pub fn demo_and_tests(self) -> bool {
        self == Self::Development
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Stage {
    type Err = crate::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.as_str() == text)
            .ok_or_else(|| crate::Error::invalid("stage", Detail::new("stage.unknown").with("value", text)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "native", derive(sqlx::Type))]
#[cfg_attr(feature = "native", sqlx(type_name = "text", rename_all = "lowercase"))]
#[serde(rename_all = "lowercase")]
pub enum OnPush {
    /// A new build with a database of its own.
    New,
    /// The previous build gets the new code.
    Update,
    Nothing,
}

/// Where a branch was dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "onto")]
pub enum Target {
    Stage { stage: Stage },
    Branch { name: super::BranchName },
}

/// What of a branch the rules look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece<'a> {
    pub name: &'a super::BranchName,
    pub stage: Stage,
}

/// What a drop means. Each is asked for confirmation in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "move")]
pub enum Move {
    /// It already is there.
    Nothing,
    /// The branch changes its stage; a build follows unless `on_push` is nothing.
    Restage { to: Stage, on_push: OnPush },
    /// The dropped branch is merged into another.
    Merge { into: super::BranchName },
    /// Production was dropped on staging: one of these branches receives the merge.
    ChooseMerge { into: Vec<super::BranchName> },
}

/// What became of a drop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Moved {
    Nothing,
    Restaged {
        to: Stage,
        run: Option<crate::id::RunId>,
    },
    Merged {
        into: super::BranchName,
        /// False: the target already had everything.
        changed: bool,
        run: Option<crate::id::RunId>,
    },
}

/// Decides what dropping `piece` onto `target` means, or says why it may not.
pub fn decide_drop(pieces: &[Piece<'_>], piece: &Piece<'_>, target: &Target) -> Result<Move, Detail> {
    let production = pieces.iter().find(|p| p.stage == Stage::Production);
    match target {
        Target::Branch { name } if name == piece.name => Ok(Move::Nothing),
        Target::Branch { name } => match pieces.iter().find(|p| p.name == name) {
            Some(into) => Ok(Move::Merge { into: into.name.clone() }),
            None => Err(Detail::new("branch.unknown").with("branch", name)),
        },
        Target::Stage { stage } if *stage == piece.stage => Ok(Move::Nothing),
        Target::Stage { stage } => match (piece.stage, *stage) {
            (Stage::Development, Stage::Staging) => {
                Ok(Move::Restage { to: Stage::Staging, on_push: Stage::Staging.default_on_push() })
            }
            (Stage::Development, Stage::Production) => match production {
                None => {
                    Ok(Move::Restage { to: Stage::Production, on_push: Stage::Production.default_on_push() })
                }
                Some(p) => Err(Detail::new("branch.second_production")
                    .with("branch", piece.name)
                    .with("production", p.name)),
            },
            (Stage::Staging, Stage::Development) => {
                Ok(Move::Restage { to: Stage::Development, on_push: OnPush::Nothing })
            }
            (Stage::Staging, Stage::Production) => match production {
                Some(p) => Ok(Move::Merge { into: p.name.clone() }),
                None => {
                    Ok(Move::Restage { to: Stage::Production, on_push: Stage::Production.default_on_push() })
                }
            },
            (Stage::Production, Stage::Development) => {
                Ok(Move::Restage { to: Stage::Development, on_push: Stage::Development.default_on_push() })
            }
            (Stage::Production, Stage::Staging) => {
                let into: Vec<_> =
                    pieces.iter().filter(|p| p.stage == Stage::Staging).map(|p| p.name.clone()).collect();
                if into.is_empty() {
                    Err(Detail::new("branch.no_staging_to_merge").with("branch", piece.name))
                } else {
                    Ok(Move::ChooseMerge { into })
                }
            }
            (from, to) => unreachable!("{from} dropped onto {to} is the same stage"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::branch::BranchName;

    fn name(text: &str) -> BranchName {
        BranchName::parse(text).unwrap()
    }

    /// Every row of Odoo.sh's table, with and without a production branch.
    #[test]
    fn drops_follow_the_table() {
        let (main, stag, dev) = (name("main"), name("staging"), name("feature-x"));
        let production = Piece { name: &main, stage: Stage::Production };
        let staging = Piece { name: &stag, stage: Stage::Staging };
        let development = Piece { name: &dev, stage: Stage::Development };
        let all = [production.clone(), staging.clone(), development.clone()];
        let without_production = [staging.clone(), development.clone()];
        let without_staging = [production.clone(), development.clone()];
        let onto = |stage| Target::Stage { stage };
        let restage = |to, on_push| Ok(Move::Restage { to, on_push });

        let drop = |board: &[Piece<'_>], piece: &Piece<'_>, stage| decide_drop(board, piece, &onto(stage));
        assert_eq!(drop(&all, &development, Stage::Staging), restage(Stage::Staging, OnPush::Update));
        assert_eq!(drop(&all, &development, Stage::Production).unwrap_err().code, "branch.second_production");
        assert_eq!(
            drop(&without_production, &development, Stage::Production),
            restage(Stage::Production, OnPush::Update)
        );
        assert_eq!(drop(&all, &staging, Stage::Development), restage(Stage::Development, OnPush::Nothing));
        assert_eq!(drop(&all, &staging, Stage::Production), Ok(Move::Merge { into: main.clone() }));
        assert_eq!(
            drop(&without_production, &staging, Stage::Production),
            restage(Stage::Production, OnPush::Update)
        );
        assert_eq!(drop(&all, &production, Stage::Development), restage(Stage::Development, OnPush::New));
        assert_eq!(
            drop(&all, &production, Stage::Staging),
            Ok(Move::ChooseMerge { into: vec![stag.clone()] })
        );
        assert_eq!(
            drop(&without_staging, &production, Stage::Staging).unwrap_err().code,
            "branch.no_staging_to_merge"
        );
        assert_eq!(drop(&all, &staging, Stage::Staging), Ok(Move::Nothing));
    }

    #[test]
    fn a_drop_onto_a_branch_is_a_merge() {
        let (main, dev) = (name("main"), name("feature-x"));
        let pieces = [
            Piece { name: &main, stage: Stage::Production },
            Piece { name: &dev, stage: Stage::Development },
        ];
        let onto = |b: &BranchName| Target::Branch { name: b.clone() };
        assert_eq!(decide_drop(&pieces, &pieces[1], &onto(&main)), Ok(Move::Merge { into: main.clone() }));
        assert_eq!(decide_drop(&pieces, &pieces[0], &onto(&dev)), Ok(Move::Merge { into: dev.clone() }));
        assert_eq!(decide_drop(&pieces, &pieces[0], &onto(&main)), Ok(Move::Nothing));
        assert!(decide_drop(&pieces, &pieces[0], &onto(&name("gone"))).is_err());
    }
}
