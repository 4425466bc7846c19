//! How many shells there may be at once: of one environment, and on this machine.

use odooops::id::EnvironmentId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const OF_ENVIRONMENT: usize = 8;
const ALL: usize = 128;

#[derive(Clone, Default)]
pub struct Places(Arc<Mutex<HashMap<EnvironmentId, usize>>>);

/// Given back when dropped.
pub struct Place {
    places: Places,
    environment: EnvironmentId,
}

impl Places {
    pub fn take(&self, environment: EnvironmentId) -> Option<Place> {
        let mut taken = self.lock();
        let all: usize = taken.values().sum();
        let of = taken.get(&environment).copied().unwrap_or_default();
        if all >= ALL || of >= OF_ENVIRONMENT {
            return None;
        }
        taken.insert(environment, of + 1);
        Some(Place { places: self.clone(), environment })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EnvironmentId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(of) = taken.get_mut(&self.environment) {
            *of -= 1;
            if *of == 0 {
                taken.remove(&self.environment);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_17_an_environment_has_so_many_shells_and_a_machine_so_many() {
        let places = Places::default();
        let environment = EnvironmentId::new();
        let of: Vec<_> = std::iter::from_fn(|| places.take(environment)).take(1000).collect();
        assert_eq!(of.len(), OF_ENVIRONMENT);
        let others: Vec<_> = std::iter::from_fn(|| places.take(EnvironmentId::new())).take(1000).collect();
        assert_eq!(others.len(), ALL - OF_ENVIRONMENT);
        drop((of, others));
        assert!(places.take(environment).is_some());
        assert!(places.lock().is_empty());
    }
}
