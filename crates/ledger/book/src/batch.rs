//! What callers ask for, and what became of it.

use proof::{
    Account, ENTRY_BYTES, EntryBytes, EntryFault, Metadata, MetadataFault, Timestamp, Transfer,
    flag,
};

use crate::ahead::Ahead;
use crate::block::Room;

/// Most holds that the chains of one batch settle together; a linked group has no more.
pub const CHAINED_HOLDS_MAX: usize = 8_189;

/// Transfers to create, in order.
///
/// Number of the tenant, time of creation and length of the extension are not read: the book knows
/// them. Ids of none and zeros stand for what is not named.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transfers {
    items: Vec<Transfer>,
    extensions: Extensions,
    /// Bytes of the longest extension of an item that settles a chain, if any does.
    chain_extension: Option<usize>,
    /// What was looked up for the first ones, and the number of the tenant whose they are to be.
    ahead: Option<(u32, Vec<Ahead>)>,
}

impl Transfers {
    /// Adds one.
    pub fn push(&mut self, transfer: Transfer, metadata: &Metadata) {
        self.push_raw(transfer, metadata.bytes());
    }

    fn push_raw(&mut self, transfer: Transfer, extension: &[u8]) {
        let extension_bytes = self.extensions.push(extension);
        if transfer.flags & flag::CHAIN != 0 {
            self.chain_extension = self.chain_extension.max(Some(extension.len()));
        }
        self.items.push(Transfer { extension: extension_bytes, ..transfer });
        self.ahead = None;
    }

    /// The transfers of packed bytes: `entries` as they would be recorded, each with zeros for
    /// tenant and time of creation; `extensions` the metadata of all, in order.
    pub fn from_bytes(entries: &[u8], extensions: &[u8]) -> Result<Self, ItemFault> {
        let (entries, rest) = entries.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(ItemFault { item: entries.len(), fault: Fault::Short });
        }
        let mut transfers = Self::default();
        transfers.items.reserve_exact(entries.len());
        let mut extensions = extensions;
        for (item, entry) in entries.iter().enumerate() {
            transfers
                .push_bytes(entry, &mut extensions)
                .map_err(|fault| ItemFault { item, fault })?;
        }
        if extensions.is_empty() {
            Ok(transfers)
        } else {
            Err(ItemFault { item: entries.len(), fault: Fault::Extensions })
        }
    }

    fn push_bytes(&mut self, entry: &EntryBytes, extensions: &mut &[u8]) -> Result<(), Fault> {
        let transfer = Transfer::decode(entry).map_err(Fault::Entry)?;
        if transfer.tenant != 0 || transfer.created_at != Timestamp::default() {
            return Err(Fault::Owned);
        }
        let (extension, rest) =
            extensions.split_at_checked(transfer.extension.into()).ok_or(Fault::Extensions)?;
        if !extension.is_empty() {
            Metadata::decode(extension).map_err(Fault::Metadata)?;
        }
        *extensions = rest;
        self.push_raw(transfer, extension);
        Ok(())
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Most that they take up in a block.
    pub fn room(&self) -> Room {
        let chained = self.chain_extension.map_or(0, |_| CHAINED_HOLDS_MAX);
        Room {
            // One more for a tenant that is seen for the first time.
            entries: 1 + self.items.len() + chained,
            extended: self.extensions.count + chained,
            heap: self.extensions.bytes.len() + chained * self.chain_extension.unwrap_or(0),
        }
    }

    pub(crate) fn items(&self) -> &[Transfer] {
        &self.items
    }

    /// What was looked up for each as transfers of the tenant, if it was.
    pub(crate) fn ahead(&self, tenant: u32) -> Option<&[Ahead]> {
        let is_whole = |(of, ahead): &&(u32, Vec<_>)| (*of, ahead.len()) == (tenant, self.len());
        self.ahead.as_ref().filter(is_whole).map(|(_, ahead)| &**ahead)
    }

    /// What was looked up for the first ones as transfers of the tenant, with room for the others.
    pub(crate) fn take_ahead(&mut self, tenant: u32) -> Vec<Ahead> {
        let begun = self.ahead.take().filter(|(of, _)| *of == tenant);
        begun.map_or_else(|| Vec::with_capacity(self.len()), |(_, ahead)| ahead)
    }

    /// Keeps what was looked up for the first ones as transfers of the tenant.
    pub(crate) fn set_ahead(&mut self, tenant: u32, ahead: Vec<Ahead>) {
        self.ahead = Some((tenant, ahead));
    }

    pub(crate) fn extensions(&self) -> &[u8] {
        &self.extensions.bytes
    }
}

/// Accounts to create, in order. What the book knows itself is not read, as of [`Transfers`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewAccounts {
    items: Vec<(Account, bool)>,
    extensions: Extensions,
}

impl NewAccounts {
    /// Adds one. If it is linked, it is accepted only together with the next.
    pub fn push(&mut self, account: Account, metadata: &Metadata, is_linked: bool) {
        let extension = self.extensions.push(metadata.bytes());
        self.items.push((Account { extension, ..account }, is_linked));
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Most that they take up in a block.
    pub fn room(&self) -> Room {
        Room {
            entries: 1 + self.items.len(),
            extended: self.extensions.count,
            heap: self.extensions.bytes.len(),
        }
    }

    pub(crate) fn items(&self) -> &[(Account, bool)] {
        &self.items
    }

    pub(crate) fn extensions(&self) -> &[u8] {
        &self.extensions.bytes
    }
}

/// Extensions of all items, one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
struct Extensions {
    bytes: Vec<u8>,
    /// How many are not empty.
    count: usize,
}

impl Extensions {
    /// Adds one and returns its length.
    fn push(&mut self, extension: &[u8]) -> u16 {
        self.bytes.extend_from_slice(extension);
        self.count += usize::from(!extension.is_empty());
        u16::try_from(extension.len()).expect("metadata has at most 1,024 bytes")
    }
}

/// Why packed bytes are no transfers: the first item with a fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("item {item}: {fault}")]
pub struct ItemFault {
    /// Which item, 0 for the first.
    pub item: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with an item.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// The entries end in the middle of it.
    #[error("it is cut short")]
    Short,
    /// It is no transfer.
    #[error(transparent)]
    Entry(EntryFault),
    /// It says what only the ledger can say.
    #[error("its tenant and its time of creation have to be zeros")]
    Owned,
    /// The extensions are not as long as the items say, all together.
    #[error("the extensions end here or go on after all items")]
    Extensions,
    /// Its extension is no metadata.
    #[error("its metadata: {0}")]
    Metadata(MetadataFault),
}

/// What became of an item.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// A number of the contract: [`crate::TransferStatus`], [`crate::AccountStatus`] or
    /// [`crate::AmendmentStatus`]; 1 when it was created now.
    pub status: u16,
    /// When it was created, now or before; 0 when it was refused, and for a change that was made
    /// before.
    pub at: Timestamp,
    /// Of a transfer: minor units that moved, are on hold, or were released; 0 for a chain.
    pub amount: u64,
}

impl Outcome {
    /// What has been created now has this status, whatever it is.
    const CREATED: u16 = 1;

    pub(crate) const fn created(at: Timestamp, amount: u64) -> Self {
        Self { status: Self::CREATED, at, amount }
    }

    pub(crate) const fn exists(status: u16, at: Timestamp, amount: u64) -> Self {
        Self { status, at, amount }
    }

    pub(crate) const fn refused(status: u16) -> Self {
        Self { status, at: Timestamp::from_nanos(0), amount: 0 }
    }

    /// Of a change that was made before: it has happened, but not now.
    pub(crate) const fn unchanged() -> Self {
        Self { status: Self::CREATED, at: Timestamp::from_nanos(0), amount: 0 }
    }

    /// Whether it was created now.
    pub const fn is_created(&self) -> bool {
        self.status == Self::CREATED
    }

    /// Whether it was refused. Nothing else is without a time, as no entry is of time 0.
    pub(crate) fn is_refused(&self) -> bool {
        self.at == Timestamp::default()
    }
}
