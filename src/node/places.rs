//! Places for who is not known yet. When all are taken, who has had one for longest loses it: somebody honest needs
//! theirs for a moment, and whoever only sits there takes nobody else's.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone)]
pub struct Places {
    most: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    /// The oldest first.
    by_age: BTreeMap<u64, CancellationToken>,
}

/// Given back when dropped.
#[derive(Debug)]
pub struct Place {
    age: u64,
    places: Places,
    lost: CancellationToken,
}

impl Places {
    pub fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    pub fn take(&self) -> Place {
        let lost = CancellationToken::new();
        let mut taken = self.lock();
        while taken.by_age.len() >= self.most {
            let Some((_, oldest)) = taken.by_age.pop_first() else { break };
            oldest.cancel();
        }
        let age = taken.next;
        taken.next += 1;
        taken.by_age.insert(age, lost.clone());
        drop(taken);
        Place { age, places: self.clone(), lost }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// What `work` comes to; None when somebody else needed the place.
    pub async fn hold<T>(self, work: impl Future<Output = T>) -> Option<T> {
        self.lost.run_until_cancelled(work).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().by_age.remove(&self.age);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_gives_way_and_places_are_given_back() {
        let places = Places::new(2);
        let (first, second) = (places.take(), places.take());
        let third = places.take();
        assert_eq!(first.hold(std::future::pending::<()>()).await, None);
        assert_eq!(second.hold(async { 2 }).await, Some(2));
        let fourth = places.take();
        assert_eq!(third.hold(async { 3 }).await, Some(3), "two were enough");
        drop(fourth);
        assert!(places.lock().by_age.is_empty());
    }
}
