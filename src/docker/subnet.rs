//! Docker's own address pools end after about thirty networks, so each network gets a /28 of a pool of ours: 4096 of
//! them in the default 10.213.0.0/16, each with room for the gateway and thirteen containers.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

/// Prefix length of one network.
const PREFIX: u8 = 28;

/// An IPv4 range, aligned to its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subnet {
    base: u32,
    prefix: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an IPv4 network such as 10.213.0.0/16")]
pub struct InvalidSubnet;

impl Subnet {
    fn size(self) -> u64 {
        1 << (32 - u32::from(self.prefix))
    }

    fn last(self) -> u64 {
        u64::from(self.base) + self.size() - 1
    }

    pub fn overlaps(self, other: Self) -> bool {
        u64::from(self.base) <= other.last() && u64::from(other.base) <= self.last()
    }

    pub fn contains(self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => {
                (u64::from(self.base)..=self.last()).contains(&u64::from(u32::from(address)))
            }
            IpAddr::V6(_) => false,
        }
    }

    /// The first address: the host's end of the bridge.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(self.base + 1)
    }
}

impl FromStr for Subnet {
    type Err = InvalidSubnet;

    fn from_str(text: &str) -> Result<Self, InvalidSubnet> {
        let (address, prefix) = text.split_once('/').ok_or(InvalidSubnet)?;
        let address: Ipv4Addr = address.parse().map_err(|_| InvalidSubnet)?;
        let prefix: u8 = prefix.parse().map_err(|_| InvalidSubnet)?;
        let subnet = Self { base: u32::from(address), prefix };
        if prefix > 32 || !u64::from(subnet.base).is_multiple_of(subnet.size()) {
            return Err(InvalidSubnet);
        }
        Ok(subnet)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.prefix)
    }
}

/// The range that networks are cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubnetPool(Subnet);

impl Default for SubnetPool {
    fn default() -> Self {
        Self(Subnet { base: u32::from(Ipv4Addr::new(10, 213, 0, 0)), prefix: 16 })
    }
}

impl FromStr for SubnetPool {
    type Err = InvalidSubnet;

    fn from_str(text: &str) -> Result<Self, InvalidSubnet> {
        let subnet: Subnet = text.parse()?;
        if subnet.prefix > PREFIX || subnet.prefix < 8 { Err(InvalidSubnet) } else { Ok(Self(subnet)) }
    }
}

impl fmt::Display for SubnetPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl SubnetPool {
    fn slots(self) -> u32 {
        1 << (PREFIX - self.0.prefix)
    }

    /// Every free network, beginning at the slot that `start` falls on. Installations that share a daemon begin at
    /// different slots, so that they rarely want the same one at the same moment.
    pub(super) fn free(self, taken: &[Subnet], start: u32) -> impl Iterator<Item = Subnet> + '_ {
        let slots = self.slots();
        (0..slots).map(move |i| (start % slots + i) % slots).filter_map(move |slot| {
            let candidate = Subnet { base: self.0.base + (slot << (32 - PREFIX)), prefix: PREFIX };
            (!taken.iter().any(|other| other.overlaps(candidate))).then_some(candidate)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn text_is_parsed_strictly() {
        assert_eq!(subnet("10.213.0.16/28").to_string(), "10.213.0.16/28");
        assert_eq!(subnet("10.213.0.16/28").gateway(), Ipv4Addr::new(10, 213, 0, 17));
        for bad in ["", "10.0.0.0", "10.0.0.1/28", "10.0.0.0/33", "10.0.0/8", "fd00::/64", "10.0.0.0/-1"] {
            assert_eq!(bad.parse::<Subnet>(), Err(InvalidSubnet), "{bad}");
        }
        for bad in ["10.0.0.0/29", "0.0.0.0/0", "10.0.0.0/7"] {
            assert_eq!(bad.parse::<SubnetPool>(), Err(InvalidSubnet), "{bad}");
        }
    }

    #[test]
    fn a_larger_network_of_others_is_avoided_whole() {
        let pool: SubnetPool = "10.213.0.0/26".parse().unwrap();
        let free: Vec<_> = pool.free(&[subnet("10.213.0.0/27")], 3).map(|s| s.to_string()).collect();
        assert_eq!(free, ["10.213.0.48/28", "10.213.0.32/28"]);
        assert_eq!(pool.free(&[subnet("10.0.0.0/8")], 0).count(), 0);
        assert_eq!(SubnetPool::default().free(&[], 77).count(), 4096);
    }

    proptest! {
        #[test]
        fn what_is_handed_out_never_overlaps(starts in prop::collection::vec(any::<u32>(), 1..60)) {
            let pool: SubnetPool = "10.213.0.0/22".parse().unwrap();
            let mut taken: Vec<Subnet> = Vec::new();
            for start in starts {
                let next = pool.free(&taken, start).next().unwrap();
                prop_assert!(taken.iter().all(|other| !other.overlaps(next)));
                prop_assert!(pool.0.overlaps(next) && next.last() <= pool.0.last());
                taken.push(next);
            }
        }
    }
}
