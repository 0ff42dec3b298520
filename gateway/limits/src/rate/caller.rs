//! Whose requests are counted together, and the short names under which they are.

use std::hash::Hasher as _;
use std::net::IpAddr;

use sha2::{Digest, Sha256};
use siphasher::sip128::{Hasher128, SipHasher13};

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Caller<'a> {
    /// Somebody with a verified token or key.
    Verified {
        /// Where the name is unique: a tenant, an issuer.
        realm: &'a [u8],
        /// The name: a user, an API client.
        name: &'a [u8],
    },
    /// Anybody else at an address; of IPv6 the network, for a host has as many as it likes.
    Address(IpAddr),
}

impl Caller<'_> {
    /// Writes what tells this caller from all others.
    fn write(&self, mut write: impl FnMut(&[u8])) {
        match self {
            Self::Verified { realm, name } => {
                write(&[0]);
                write(&(realm.len() as u64).to_le_bytes());
                write(realm);
                write(name);
            }
            Self::Address(address) => match address.to_canonical() {
                IpAddr::V4(address) => {
                    write(&[4]);
                    write(&address.octets());
                }
                IpAddr::V6(address) => {
                    write(&[6]);
                    write(&address.octets()[..8]);
                }
            },
        }
    }

    /// A name that is the same in every gateway. Callers choose their names in part, so it must be
    /// one that nobody can forge.
    pub(super) fn name(&self) -> [u8; 16] {
        let mut hash = Sha256::new();
        self.write(|part| hash.update(part));
        let mut name = [0; 16];
        name.copy_from_slice(&hash.finalize()[..16]);
        name
    }
}

/// Names callers within this process, by a key that nobody else knows.
pub(super) struct Hasher {
    key: [u8; 16],
}

impl Hasher {
    pub(super) fn new() -> Self {
        Self { key: rand::random() }
    }

    /// Names a caller among those of one class; `rule` tells its tiers apart.
    pub(super) fn digest(&self, caller: &Caller<'_>, rule: usize) -> u128 {
        let mut hash = SipHasher13::new_with_key(&self.key);
        hash.write_usize(rule);
        caller.write(|part| hash.write(part));
        hash.finish128().as_u128()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Caller<'_> {
        Caller::Address(address.parse().unwrap())
    }

    #[test]
    fn one_ipv6_network_is_one_caller() {
        assert_eq!(at("2001:db8::1").name(), at("2001:db8::ffff:2").name());
        assert_ne!(at("2001:db8::1").name(), at("2001:db8:0:1::1").name());
        assert_eq!(at("::ffff:192.0.2.1").name(), at("192.0.2.1").name());
    }

    #[test]
    fn names_of_different_realms_are_different_callers() {
        let caller = |realm, name| Caller::Verified { realm, name };
        assert_ne!(caller(b"a", b"bc").name(), caller(b"ab", b"c").name());
        assert_ne!(caller(b"a", b"b").name(), caller(b"b", b"b").name());
    }
}
