//! Entries as bytes and back.

use crate::entry::{
    Account, Amendment, Checkpoint, ENTRY_BYTES, Entry, EntryBytes, EntryFault, Expiry, Key, Kind,
    Refusal, Tenant, Transfer, flag,
};
use crate::{AccountId, ExternalId, TenantId, Timestamp, TransferId};

const KIND: usize = 0;
const FLAGS: usize = 1;
const CODE: usize = 2;
const LEDGER: usize = 4;
const TENANT: usize = 8;
const EXTENSION: usize = 12;
const ID: usize = 14;
const DEBIT: usize = 30;
const CREDIT: usize = 46;
const HASH: usize = 30;
const AMOUNT: usize = 62;
const CREATED_AT: usize = 70;
const EFFECTIVE_AT: usize = 78;
const HOLD: usize = 86;
const EXTERNAL_ID: usize = 102;

#[inline]
fn put<const N: usize>(bytes: &mut EntryBytes, at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

#[inline]
fn get<const N: usize>(bytes: &EntryBytes, at: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[at..at + N]);
    value
}

#[inline]
fn get_u16(bytes: &EntryBytes, at: usize) -> u16 {
    u16::from_le_bytes(get(bytes, at))
}

#[inline]
fn get_u32(bytes: &EntryBytes, at: usize) -> u32 {
    u32::from_le_bytes(get(bytes, at))
}

#[inline]
fn get_u64(bytes: &EntryBytes, at: usize) -> u64 {
    u64::from_le_bytes(get(bytes, at))
}

/// What every entry can be asked without decoding it.
pub mod peek {
    use super::{
        AMOUNT, CREATED_AT, ENTRY_BYTES, EXTENSION, EXTERNAL_ID, EntryBytes, ExternalId, HOLD, ID,
        KIND, Kind, TENANT, Timestamp, TransferId, get, get_u16, get_u32, get_u64,
    };

    /// Its kind, if it is one.
    #[inline]
    pub fn kind(bytes: &EntryBytes) -> Option<Kind> {
        Kind::from_number(bytes[KIND])
    }

    /// Number of its tenant.
    #[inline]
    pub fn tenant(bytes: &EntryBytes) -> u32 {
        get_u32(bytes, TENANT)
    }

    /// Number of its id.
    #[inline]
    pub fn id(bytes: &EntryBytes) -> u128 {
        u128::from_be_bytes(get(bytes, ID))
    }

    /// Length of its extension.
    #[inline]
    pub fn extension(bytes: &EntryBytes) -> u16 {
        get_u16(bytes, EXTENSION)
    }

    /// Its amount.
    #[inline]
    pub fn amount(bytes: &EntryBytes) -> u64 {
        get_u64(bytes, AMOUNT)
    }

    /// When it was created.
    #[inline]
    pub fn created_at(bytes: &EntryBytes) -> Timestamp {
        Timestamp::from_nanos(get_u64(bytes, CREATED_AT))
    }

    /// Of a transfer that settles a hold: which.
    #[inline]
    pub fn hold(bytes: &EntryBytes) -> TransferId {
        TransferId::from_bytes(get(bytes, HOLD))
    }

    /// The caller's own reference.
    #[inline]
    pub fn external_id(bytes: &EntryBytes) -> ExternalId {
        ExternalId::from_bytes(get(bytes, EXTERNAL_ID))
    }

    const _: () = assert!(EXTERNAL_ID + 16 == ENTRY_BYTES);
}

impl Entry {
    /// Its bytes on disk.
    pub fn encode(&self) -> EntryBytes {
        let mut bytes = [0; ENTRY_BYTES];
        match self {
            Self::Transfer(transfer) => transfer.encode(&mut bytes),
            Self::Account(account) => account.encode(&mut bytes),
            Self::Amendment(it) => {
                bytes[KIND] = Kind::Amendment as u8;
                bytes[FLAGS] = if it.is_closed { flag::CLOSED } else { 0 };
                put(&mut bytes, TENANT, it.tenant.to_le_bytes());
                put(&mut bytes, ID, it.account.bytes());
                put(&mut bytes, AMOUNT, it.overdraft.to_le_bytes());
                put(&mut bytes, CREATED_AT, it.created_at.nanos().to_le_bytes());
            }
            Self::Refusal(it) => {
                bytes[KIND] = Kind::Refusal as u8;
                put(&mut bytes, CODE, it.status.to_le_bytes());
                put(&mut bytes, TENANT, it.tenant.to_le_bytes());
                put(&mut bytes, ID, it.id.bytes());
                put(&mut bytes, CREATED_AT, it.created_at.nanos().to_le_bytes());
            }
            Self::Expiry(it) => {
                bytes[KIND] = Kind::Expiry as u8;
                put(&mut bytes, LEDGER, it.ledger.to_le_bytes());
                put(&mut bytes, TENANT, it.tenant.to_le_bytes());
                put(&mut bytes, ID, it.hold.bytes());
                put(&mut bytes, DEBIT, it.debit.bytes());
                put(&mut bytes, CREDIT, it.credit.bytes());
                put(&mut bytes, AMOUNT, it.amount.to_le_bytes());
                put(&mut bytes, CREATED_AT, it.created_at.nanos().to_le_bytes());
            }
            Self::Tenant(it) => {
                bytes[KIND] = Kind::Tenant as u8;
                put(&mut bytes, TENANT, it.number.to_le_bytes());
                put(&mut bytes, ID, it.id.bytes());
                put(&mut bytes, CREATED_AT, it.created_at.nanos().to_le_bytes());
            }
            Self::Key(it) => {
                bytes[KIND] = Kind::Key as u8;
                put(&mut bytes, HASH, it.public);
                put(&mut bytes, CREATED_AT, it.created_at.nanos().to_le_bytes());
            }
            Self::Checkpoint(it) => {
                bytes[KIND] = Kind::Checkpoint as u8;
                put(&mut bytes, HASH, it.root);
                put(&mut bytes, AMOUNT, it.entries.to_le_bytes());
                put(&mut bytes, CREATED_AT, it.created_at.nanos().to_le_bytes());
                put(&mut bytes, EFFECTIVE_AT, it.accounts.to_le_bytes());
            }
        }
        bytes
    }

    /// The recorded entry of these bytes. Only what [`Self::encode`] gives is accepted, so that an
    /// entry has one form.
    ///
    /// # Errors
    /// When the kind is unknown, or a field is not what it may be.
    pub fn decode(bytes: &EntryBytes) -> Result<Self, EntryFault> {
        let kind = Kind::from_number(bytes[KIND]).ok_or(EntryFault::Kind(bytes[KIND]))?;
        let created_at = Timestamp::from_nanos(get_u64(bytes, CREATED_AT));
        let tenant = get_u32(bytes, TENANT);
        let entry = match kind {
            Kind::Plain | Kind::Pending | Kind::PostPending | Kind::VoidPending => {
                let transfer = Transfer::decode(bytes)?;
                if kind == Kind::Plain && !transfer.hold.is_none() {
                    return Err(EntryFault::Field("hold"));
                }
                if transfer.effective_at > transfer.created_at {
                    return Err(EntryFault::Field("effective time"));
                }
                return Ok(Self::Transfer(transfer));
            }
            Kind::Account => Self::Account(Account {
                limit: bytes[FLAGS],
                code: get_u16(bytes, CODE),
                ledger: get_u32(bytes, LEDGER),
                tenant,
                extension: get_u16(bytes, EXTENSION),
                id: AccountId::from_bytes(get(bytes, ID)),
                overdraft: get_u64(bytes, AMOUNT),
                created_at,
                external_id: ExternalId::from_bytes(get(bytes, EXTERNAL_ID)),
            }),
            Kind::Amendment => Self::Amendment(Amendment {
                tenant,
                account: AccountId::from_bytes(get(bytes, ID)),
                is_closed: bytes[FLAGS] == flag::CLOSED,
                overdraft: get_u64(bytes, AMOUNT),
                created_at,
            }),
            Kind::Refusal => Self::Refusal(Refusal {
                status: get_u16(bytes, CODE),
                tenant,
                id: TransferId::from_bytes(get(bytes, ID)),
                created_at,
            }),
            Kind::Expiry => Self::Expiry(Expiry {
                ledger: get_u32(bytes, LEDGER),
                tenant,
                hold: TransferId::from_bytes(get(bytes, ID)),
                debit: AccountId::from_bytes(get(bytes, DEBIT)),
                credit: AccountId::from_bytes(get(bytes, CREDIT)),
                amount: get_u64(bytes, AMOUNT),
                created_at,
            }),
            Kind::Tenant => Self::Tenant(Tenant {
                number: tenant,
                id: TenantId::from_bytes(get(bytes, ID)),
                created_at,
            }),
            Kind::Key => Self::Key(Key { public: get(bytes, HASH), created_at }),
            Kind::Checkpoint => Self::Checkpoint(Checkpoint {
                entries: get_u64(bytes, AMOUNT),
                accounts: get_u64(bytes, EFFECTIVE_AT),
                root: get(bytes, HASH),
                created_at,
            }),
        };
        if let Self::Account(Account { limit: 3.., .. }) = entry {
            return Err(EntryFault::Field("limit"));
        }
        if entry.encode() != *bytes {
            return Err(EntryFault::Field("unused part"));
        }
        Ok(entry)
    }

    /// When it was created.
    pub fn created_at(&self) -> Timestamp {
        match self {
            Self::Transfer(it) => it.created_at,
            Self::Account(it) => it.created_at,
            Self::Amendment(it) => it.created_at,
            Self::Refusal(it) => it.created_at,
            Self::Expiry(it) => it.created_at,
            Self::Tenant(it) => it.created_at,
            Self::Key(it) => it.created_at,
            Self::Checkpoint(it) => it.created_at,
        }
    }
}

impl Transfer {
    /// Writes its bytes on disk. Whatever stood there is overwritten.
    #[inline]
    pub fn encode(&self, bytes: &mut EntryBytes) {
        debug_assert!(self.kind.is_transfer());
        bytes[KIND] = self.kind as u8;
        bytes[FLAGS] = self.flags;
        put(bytes, CODE, self.code.to_le_bytes());
        put(bytes, LEDGER, self.ledger.to_le_bytes());
        put(bytes, TENANT, self.tenant.to_le_bytes());
        put(bytes, EXTENSION, self.extension.to_le_bytes());
        put(bytes, ID, self.id.bytes());
        put(bytes, DEBIT, self.debit.bytes());
        put(bytes, CREDIT, self.credit.bytes());
        put(bytes, AMOUNT, self.amount.to_le_bytes());
        put(bytes, CREATED_AT, self.created_at.nanos().to_le_bytes());
        put(bytes, EFFECTIVE_AT, self.effective_at.nanos().to_le_bytes());
        if self.kind == Kind::Pending {
            put(bytes, HOLD, [0; 16]);
            put(bytes, HOLD, self.timeout_seconds.to_le_bytes());
        } else {
            put(bytes, HOLD, self.hold.bytes());
        }
        put(bytes, EXTERNAL_ID, self.external_id.bytes());
    }

    /// The transfer of these bytes.
    ///
    /// # Errors
    /// When they are no transfer, or a hold has more than its timeout where a hold is named.
    #[inline]
    pub fn decode(bytes: &EntryBytes) -> Result<Self, EntryFault> {
        let kind = Kind::from_number(bytes[KIND]).filter(|kind| kind.is_transfer());
        let kind = kind.ok_or(EntryFault::Kind(bytes[KIND]))?;
        if bytes[FLAGS]
            & !(flag::LINKED | flag::BALANCING_DEBIT | flag::BALANCING_CREDIT | flag::CHAIN)
            != 0
        {
            return Err(EntryFault::Field("flags"));
        }
        let (hold, timeout_seconds) = if kind == Kind::Pending {
            if get::<12>(bytes, HOLD + 4) != [0; 12] {
                return Err(EntryFault::Field("timeout"));
            }
            (TransferId::default(), get_u32(bytes, HOLD))
        } else {
            (TransferId::from_bytes(get(bytes, HOLD)), 0)
        };
        Ok(Self {
            kind,
            flags: bytes[FLAGS],
            code: get_u16(bytes, CODE),
            ledger: get_u32(bytes, LEDGER),
            tenant: get_u32(bytes, TENANT),
            extension: get_u16(bytes, EXTENSION),
            id: TransferId::from_bytes(get(bytes, ID)),
            debit: AccountId::from_bytes(get(bytes, DEBIT)),
            credit: AccountId::from_bytes(get(bytes, CREDIT)),
            amount: get_u64(bytes, AMOUNT),
            created_at: Timestamp::from_nanos(get_u64(bytes, CREATED_AT)),
            effective_at: Timestamp::from_nanos(get_u64(bytes, EFFECTIVE_AT)),
            hold,
            timeout_seconds,
            external_id: ExternalId::from_bytes(get(bytes, EXTERNAL_ID)),
        })
    }
}

impl Account {
    /// Writes its bytes on disk over zeros.
    fn encode(&self, bytes: &mut EntryBytes) {
        bytes[KIND] = Kind::Account as u8;
        bytes[FLAGS] = self.limit;
        put(bytes, CODE, self.code.to_le_bytes());
        put(bytes, LEDGER, self.ledger.to_le_bytes());
        put(bytes, TENANT, self.tenant.to_le_bytes());
        put(bytes, EXTENSION, self.extension.to_le_bytes());
        put(bytes, ID, self.id.bytes());
        put(bytes, AMOUNT, self.overdraft.to_le_bytes());
        put(bytes, CREATED_AT, self.created_at.nanos().to_le_bytes());
        put(bytes, EXTERNAL_ID, self.external_id.bytes());
    }
}
