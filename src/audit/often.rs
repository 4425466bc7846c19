//! The same again and again is one row, and many different ones are not many rows: whoever has an account could fill the
//! log otherwise, whose rows stay for a year.

use super::refusals::{KeptFrom, Refusal};
use crate::id::UserId;
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

const MINUTE: Duration = Duration::from_secs(60);
/// Of one person in a minute. One more row says that there were more.
pub(super) const MOST: usize = 60;
/// From here on, people whose minute is over are forgotten.
const MANY: usize = 256;

#[derive(Debug, Clone, Default)]
pub(super) struct Often {
    people: Arc<Mutex<HashMap<UserId, Minute>>>,
}

#[derive(Debug)]
struct Minute {
    since: Instant,
    seen: HashSet<KeptFrom>,
}

impl Often {
    /// What is to be written down of these.
    pub(super) fn sift(&self, refused: Vec<Refusal>) -> Vec<Refusal> {
        let now = Instant::now();
        let is_over = |minute: &Minute| now.duration_since(minute.since) >= MINUTE;
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        if people.len() >= MANY {
            people.retain(|_, minute| !is_over(minute));
        }
        let sifted = refused.into_iter().filter_map(|mut refusal| {
            let fresh = || Minute { since: now, seen: HashSet::new() };
            let minute = people.entry(refusal.actor.user_id).or_insert_with(fresh);
            if is_over(minute) {
                *minute = fresh();
            }
            if minute.seen.len() > MOST || !minute.seen.insert(refusal.from.clone()) {
                return None;
            }
            if minute.seen.len() > MOST {
                refusal.from = more();
            }
            Some(refusal)
        });
        sifted.collect()
    }
}

fn more() -> KeptFrom {
    KeptFrom {
        action: "access.more",
        object_type: "platform",
        object: None,
        branch: None,
        code: "access.more".into(),
        hidden: false,
    }
}
