//! Look, then act. A reconciler that may not act is the same reconciler without the second half.

use super::{Finding, Mode, Report, Standing, epoch, trouble::Trouble};
use crate::{
    id::HostId,
    run::job::{Workshop, collect::Collectors},
};
use chrono::{DateTime, Utc};

/// Findings that a report lists; its numbers count all.
const LISTED: usize = 200;

/// One subject: what is wanted of it, against what is there.
///
/// `look` reads what is there *before* what is wanted: what is made in between has its row first, so that it is never
/// taken for an orphan.
pub(super) trait Reconciler: Sync {
    const NAME: &'static str;
    type Job: Send + Sync;

    fn look(&self, round: &Round<'_>) -> impl Future<Output = Result<Look<Self::Job>, Trouble>> + Send;
    /// May be repeated, and cut off anywhere.
    fn act(&self, round: &Round<'_>, job: &Self::Job) -> impl Future<Output = Result<(), Trouble>> + Send;
}

/// What all reconcilers of a round work with.
pub(super) struct Round<'a> {
    pub shop: &'a Workshop,
    pub collectors: &'a Collectors,
    pub host: HostId,
    /// When an administrator last let this host act again after the ops database was restored.
    pub confirmed_at: Option<DateTime<Utc>>,
}

pub(super) struct Look<J> {
    pub looked_at: usize,
    pub found: Vec<Found<J>>,
    /// Objects that could not be looked at. They hold the others not up.
    pub troubles: Vec<String>,
}

impl<J> Look<J> {
    pub fn at(looked_at: usize) -> Self {
        Self { looked_at, found: Vec::new(), troubles: Vec::new() }
    }

    pub fn finds(&mut self, object: impl ToString, what: &'static str, why: impl Into<String>, job: J) {
        let (object, why) = (object.to_string(), why.into());
        self.found.push(Found { object, what, why, takes_away: true, job });
    }

    /// Something that brings back or writes down, and takes nothing away.
    pub fn mends(&mut self, object: impl ToString, what: &'static str, why: impl Into<String>, job: J) {
        let (object, why) = (object.to_string(), why.into());
        self.found.push(Found { object, what, why, takes_away: false, job });
    }
}

/// Something that is not as it should be, and what is done about it.
pub(super) struct Found<J> {
    object: String,
    what: &'static str,
    why: String,
    takes_away: bool,
    job: J,
}

/// What a round may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Permit {
    /// With the epoch advanced for this round's removals, or not yet.
    Everything { advanced: bool },
    /// What takes nothing away; why.
    Mend(String),
    /// Why.
    Nothing(String),
}

impl Permit {
    pub fn of(standing: Standing) -> Self {
        match standing {
            Standing::Agrees => Self::Everything { advanced: false },
            other => Self::Mend(epoch::reason(other).to_owned()),
        }
    }
}

/// One reconciler's turn. Whatever fails in it is in its report.
pub(super) async fn turn<R: Reconciler>(
    reconciler: &R,
    round: &Round<'_>,
    permit: &mut Permit,
) -> Result<Report, sqlx::Error> {
    let started_at =
        sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#).fetch_one(&round.shop.pool).await?;
    let mut report = Report {
        name: R::NAME.to_owned(),
        started_at,
        looked_at: 0,
        acted: 0,
        would: 0,
        mode: Mode::Act,
        reason: None,
        error: None,
        findings: Vec::new(),
    };
    match reconciler.look(round).await {
        Ok(look) => follow_up(reconciler, round, permit, look, &mut report).await,
        Err(trouble) => report.error = Some(trouble.0),
    }
    if let Permit::Mend(reason) | Permit::Nothing(reason) = permit {
        report.mode = Mode::Report;
        report.reason = Some(reason.clone());
    }
    Ok(report)
}

async fn follow_up<R: Reconciler>(
    reconciler: &R,
    round: &Round<'_>,
    permit: &mut Permit,
    look: Look<R::Job>,
    report: &mut Report,
) {
    report.looked_at = i32::try_from(look.looked_at).unwrap_or(i32::MAX);
    let mut troubles = look.troubles;
    for found in look.found {
        let Found { object, what, mut why, takes_away, job } = found;
        let may = match may(round, permit, takes_away).await {
            Ok(may) => may,
            Err(trouble) => {
                troubles.push(trouble.0);
                false
            }
        };
        let mut done = false;
        if may {
            match reconciler.act(round, &job).await {
                Ok(()) => {
                    tracing::info!(reconciler = R::NAME, %object, %why, "{what}");
                    report.acted += 1;
                    done = true;
                }
                Err(Trouble(trouble)) => {
                    tracing::warn!(reconciler = R::NAME, %object, %why, %trouble, "{what} failed");
                    why = format!("{why}; it failed: {trouble}");
                    troubles.push(format!("{object}: {trouble}"));
                }
            }
        } else {
            report.would += 1;
        }
        if report.findings.len() < LISTED {
            report.findings.push(Finding { object, what: what.to_owned(), why, done });
        }
    }
    if !troubles.is_empty() {
        report.error = Some(troubles.join("; ").chars().take(4000).collect());
    }
}

/// Before the first removal of a round the epoch is advanced: an ops database restored from before it does not know of
/// the removal, and must not act on what it remembers.
async fn may(round: &Round<'_>, permit: &mut Permit, takes_away: bool) -> Result<bool, Trouble> {
    match permit {
        Permit::Nothing(_) => Ok(false),
        _ if !takes_away => Ok(true),
        Permit::Mend(_) => Ok(false),
        Permit::Everything { advanced: true } => Ok(true),
        Permit::Everything { advanced: false } => {
            let stand = epoch::advance(round.shop, round.host).await?;
            *permit = match stand.standing {
                Standing::Agrees => Permit::Everything { advanced: true },
                other => Permit::of(other),
            };
            Ok(stand.standing == Standing::Agrees)
        }
    }
}
