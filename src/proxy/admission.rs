//! Who may connect. The bounds keep one client from taking what all need; who is over them waits or is let go
//! before it costs anything.

use super::Limits;
use ipnet::IpNet;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Debug)]
pub struct Admission {
    places: Arc<Semaphore>,
    per_address: usize,
    trusted: Vec<IpNet>,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// Held while a connection lives, by its websocket after it.
#[derive(Debug)]
pub struct Guard {
    admission: Arc<Admission>,
    network: IpAddr,
    _place: OwnedSemaphorePermit,
}

impl Admission {
    pub fn new(limits: &Limits, trusted: Vec<IpNet>) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(limits.connections)),
            per_address: limits.connections_per_address,
            trusted,
            taken: Mutex::default(),
        })
    }

    /// Waits for a place. The semaphore is never closed.
    pub async fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().acquire_owned().await.ok()
    }

    /// None when this client has enough.
    pub fn admit(self: &Arc<Self>, peer: IpAddr, place: OwnedSemaphorePermit) -> Option<Guard> {
        let network = network(peer.to_canonical());
        let mut taken = self.taken();
        let count = taken.entry(network).or_default();
        if *count >= self.per_address && !self.trusted.iter().any(|it| it.contains(&peer.to_canonical())) {
            return None;
        }
        *count += 1;
        Some(Guard { admission: self.clone(), network, _place: place })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut taken = self.admission.taken();
        if let Some(count) = taken.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.network);
            }
        }
    }
}

/// An IPv6 client has a whole /64 of addresses.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::Admission;
    use crate::proxy::Limits;
    use std::net::IpAddr;

    #[tokio::test]
    async fn one_client_does_not_take_all() {
        let limits = Limits { connections: 8, connections_per_address: 2, ..Limits::default() };
        let admission = Admission::new(&limits, vec!["10.0.0.0/8".parse().unwrap()]);
        let mut held = Vec::new();
        for (peer, admitted) in [
            ("2001:db8::1", true),
            ("2001:db8::2", true),
            ("2001:db8::3", false),
            ("2001:db8:0:1::1", true),
            ("::ffff:192.0.2.1", true),
            ("192.0.2.1", true),
            ("192.0.2.1", false),
            ("10.0.0.1", true),
            ("10.0.0.1", true),
            ("10.0.0.1", true),
        ] {
            let place = admission.place().await.unwrap();
            let guard = admission.admit(peer.parse::<IpAddr>().unwrap(), place);
            assert_eq!(guard.is_some(), admitted, "{peer}");
            held.extend(guard);
        }
        held.clear();
        assert!(admission.taken().is_empty());
        assert_eq!(admission.places.available_permits(), 8);
    }
}
