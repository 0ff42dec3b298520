//! Typed ids and times.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// A UUID as a number, its first byte the highest. Zero, the default, stands for none.
        #[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(u128);

        impl $name {
            /// Whether it stands for none.
            pub const fn is_none(self) -> bool {
                self.0 == 0
            }

            /// Whether all its bits are ones.
            pub const fn is_max(self) -> bool {
                self.0 == u128::MAX
            }

            /// Its number.
            pub const fn number(self) -> u128 {
                self.0
            }

            /// Its 16 bytes, as they stand on disk.
            pub const fn bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }

            /// The id of these 16 bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(u128::from_be_bytes(bytes))
            }
        }

        impl From<u128> for $name {
            fn from(number: u128) -> Self {
                Self(number)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!(stringify!($name), "({:032x})"), self.0)
            }
        }

        /// As a UUID.
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                Uuid::from_u128(self.0).fmt(formatter)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Uuid::deserialize(deserializer).map(|id| Self(id.as_u128()))
            }
        }
    };
}

id! {
    /// Who owns accounts and transfers: a programme of the bank.
    TenantId
}

id! {
    /// An account of a tenant.
    AccountId
}

id! {
    /// A transfer of a tenant.
    TransferId
}

id! {
    /// What an account or a transfer is called elsewhere.
    ExternalId
}

/// Nanoseconds since the Unix epoch, until the year 2554. No two entries share one.
/// In JSON, text: most readers do not know so large numbers.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct Timestamp(#[serde(with = "crate::json::decimal")] u64);

impl Timestamp {
    /// The time so many nanoseconds after the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// The next time that can be told from this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// So many seconds later.
    #[must_use]
    pub const fn plus_seconds(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(seconds as u64 * 1_000_000_000))
    }

    /// How long after `earlier`; zero when it is not.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
