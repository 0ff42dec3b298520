//! Typed ids and times.

use std::time::Duration;

use uuid::Uuid;

/// An id of the caller's choice. All zeros, the default, stands for none.
pub(crate) trait Id: Copy + Default + From<Uuid> {
    /// The UUID, for the wire and the disk.
    fn as_uuid(self) -> Uuid;

    /// Whether it stands for none.
    fn is_none(self) -> bool {
        self.as_uuid().is_nil()
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub(crate) struct $name(Uuid);

        impl Id for $name {
            fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }
    };
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

/// Nanoseconds since the Unix epoch, until the year 2554. No two changes share one.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Timestamp(u64);

impl Timestamp {
    /// The time so many nanoseconds after the epoch.
    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    pub(crate) const fn nanos(self) -> u64 {
        self.0
    }

    /// The next time that can be told from this one.
    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// So many seconds later.
    pub(crate) const fn plus_seconds(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(seconds as u64 * 1_000_000_000))
    }

    /// How long after `earlier`; zero when it is not.
    pub(crate) const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
