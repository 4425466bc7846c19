//! How many sockets there may be. Each costs a task and, every few seconds, a look at its rights.

use odooops::id::UserId;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    All,
    User(UserId),
    Address(IpAddr),
}

impl Holder {
    fn most(self) -> usize {
        match self {
            Self::All => 2000,
            Self::User(_) => 32,
            // People behind one router share an address.
            Self::Address(_) => 128,
        }
    }
}

#[derive(Default)]
pub struct Limits(Mutex<HashMap<Holder, usize>>);

/// A socket's place; given back when dropped.
pub struct Place {
    limits: Arc<Limits>,
    holders: Vec<Holder>,
}

impl Limits {
    /// A place for one more socket, None when this user, this address or all together have enough.
    pub fn take(self: &Arc<Self>, user: UserId, address: Option<IpAddr>) -> Option<Place> {
        let holders: Vec<_> =
            [Holder::All, Holder::User(user)].into_iter().chain(address.map(Holder::Address)).collect();
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if holders.iter().any(|holder| taken.get(holder).copied().unwrap_or(0) >= holder.most()) {
            return None;
        }
        for holder in &holders {
            *taken.entry(*holder).or_default() += 1;
        }
        drop(taken);
        Some(Place { limits: Arc::clone(self), holders })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.limits.0.lock().unwrap_or_else(PoisonError::into_inner);
        for holder in &self.holders {
            if let Some(count) = taken.get_mut(holder) {
                *count -= 1;
                if *count == 0 {
                    taken.remove(holder);
                }
            }
        }
    }
}

/// How fast a browser may ask: a burst for a page that comes back, then a trickle.
pub struct Pace {
    left: f64,
    at: Instant,
}

impl Pace {
    const BURST: f64 = 60.0;
    const PER_SECOND: f64 = 10.0;

    pub fn new() -> Self {
        Self { left: Self::BURST, at: Instant::now() }
    }

    /// False when it is too fast.
    pub fn spend(&mut self) -> bool {
        let passed: Duration = self.at.elapsed();
        self.at += passed;
        self.left = (self.left + passed.as_secs_f64() * Self::PER_SECOND).min(Self::BURST);
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_17_places_are_counted_per_user_and_address_and_given_back() {
        let limits = Arc::new(Limits::default());
        let user = UserId::new();
        let address = Some("192.0.2.1".parse().unwrap());
        let held: Vec<_> = std::iter::from_fn(|| limits.take(user, address)).take(1000).collect();
        assert_eq!(held.len(), 32);
        let others: Vec<_> = std::iter::from_fn(|| limits.take(UserId::new(), address)).take(1000).collect();
        assert_eq!(others.len(), 128 - 32);
        drop(held);
        assert!(limits.take(user, address).is_some());
        drop(others);
        assert!(limits.0.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn threat_17_a_browser_asks_no_faster_than_the_pace() {
        let mut pace = Pace::new();
        assert_eq!((0..1000).filter(|_| pace.spend()).count(), 60);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((0..1000).filter(|_| pace.spend()).count(), 10);
    }
}
