//! Blocks as bytes, as the module above documents them.

use auth::TenantId;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::{
    BalanceLimit, Block, Id, NewAccount, NewTransfer, Record, Timestamp, TransferKind,
    TransferRefusal,
};

pub(super) type Hash = [u8; 32];

/// First bytes of every block.
pub(super) const MAGIC: [u8; 8] = *b"MALHABLK";

/// Length of a header.
pub(super) const HEADER_BYTES: usize = 144;

/// Length of what a header's own hash covers.
const HASHED_BYTES: usize = HEADER_BYTES - size_of::<Hash>();

const VERSION: u32 = 1;

const ACCOUNT: u8 = 1;
const TRANSFER: u8 = 2;
const REFUSAL: u8 = 3;

/// A header whose own hash was right.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) payload_bytes: usize,
    pub(super) sequence: u64,
    pub(super) timestamp: Timestamp,
    pub(super) previous: Hash,
    pub(super) accounts: u32,
    pub(super) transfers: u32,
    pub(super) refusals: u32,
    pub(super) expired: u32,
    pub(super) payload_hash: Hash,
    /// The hash of the block.
    pub(super) hash: Hash,
}

/// Writes a whole block into `to`, in place of what is there, and returns its hash.
pub(super) fn encode(block: &Block, sequence: u64, previous: &Hash, to: &mut Vec<u8>) -> Hash {
    to.clear();
    to.resize(HEADER_BYTES, 0);
    for record in &block.records {
        encode_record(record, to);
    }
    let payload_hash: Hash = Sha256::digest(&to[HEADER_BYTES..]).into();
    let counts = block.counts();
    let payload_bytes =
        u32::try_from(to.len() - HEADER_BYTES).expect("the engine bounds a block's items");

    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&payload_bytes.to_le_bytes());
    header.extend_from_slice(&sequence.to_le_bytes());
    header.extend_from_slice(&block.timestamp.nanos().to_le_bytes());
    header.extend_from_slice(previous);
    for count in [counts.accounts, counts.transfers, counts.refusals, block.expired] {
        header.extend_from_slice(&count.to_le_bytes());
    }
    header.extend_from_slice(&payload_hash);
    let hash: Hash = Sha256::digest(&header).into();
    header.extend_from_slice(&hash);
    to[..HEADER_BYTES].copy_from_slice(&header);
    hash
}

fn encode_record(record: &Record, to: &mut Vec<u8>) {
    match record {
        Record::Account { tenant, account, created_at } => {
            to.push(ACCOUNT);
            put_ids(to, [tenant.as_uuid(), account.id.as_uuid(), account.external_id.as_uuid()]);
            to.extend_from_slice(&created_at.nanos().to_le_bytes());
            to.extend_from_slice(&account.ledger.to_le_bytes());
            to.extend_from_slice(&account.code.to_le_bytes());
            to.push(limit_number(account.limit));
        }
        Record::Transfer { tenant, transfer, created_at } => {
            to.push(TRANSFER);
            let accounts = [transfer.debit_account_id, transfer.credit_account_id];
            put_ids(to, [tenant.as_uuid(), transfer.id.as_uuid()]);
            put_ids(to, accounts.map(Id::as_uuid));
            put_ids(to, [transfer.pending_id.as_uuid(), transfer.external_id.as_uuid()]);
            to.extend_from_slice(&transfer.amount.to_le_bytes());
            to.extend_from_slice(&created_at.nanos().to_le_bytes());
            to.extend_from_slice(&transfer.ledger.to_le_bytes());
            to.extend_from_slice(&transfer.timeout_seconds.to_le_bytes());
            to.extend_from_slice(&transfer.code.to_le_bytes());
            to.push(kind_number(transfer.kind));
        }
        Record::Refusal { tenant, id, refusal } => {
            to.push(REFUSAL);
            put_ids(to, [tenant.as_uuid(), id.as_uuid()]);
            to.push(*refusal as u8);
        }
    }
}

fn put_ids<const N: usize>(to: &mut Vec<u8>, ids: [Uuid; N]) {
    for id in ids {
        to.extend_from_slice(id.as_bytes());
    }
}

/// Why a header cannot be read.
#[derive(Debug)]
pub(super) enum HeaderFault {
    /// The bytes are not what was written.
    Damaged(&'static str),
    /// They are, but not for this version.
    Unreadable(String),
}

/// Reads a header, or says what is wrong with it.
pub(super) fn decode_header(bytes: &[u8]) -> Result<Header, HeaderFault> {
    let (Some(hashed), Some(hash)) = (bytes.get(..HASHED_BYTES), bytes.get(HASHED_BYTES..)) else {
        return Err(HeaderFault::Damaged("its header is incomplete"));
    };
    let mut fields = Reader(bytes);
    if fields.array() != Ok(MAGIC) {
        return Err(HeaderFault::Damaged("it does not begin as a block does"));
    }
    // A later version is refused before anything else: it must never be taken for damage.
    let version = fields.u32().map_err(HeaderFault::Unreadable)?;
    if version > VERSION {
        let problem = format!("it has version {version}, this program knows {VERSION}");
        return Err(HeaderFault::Unreadable(problem));
    }
    if Sha256::digest(hashed)[..] != *hash {
        return Err(HeaderFault::Damaged("its header does not match the header's hash"));
    }
    decode_fields(&mut fields).map_err(HeaderFault::Unreadable)
}

fn decode_fields(from: &mut Reader<'_>) -> Result<Header, String> {
    Ok(Header {
        payload_bytes: from.u32()? as usize,
        sequence: from.u64()?,
        timestamp: Timestamp::from_nanos(from.u64()?),
        previous: from.array()?,
        accounts: from.u32()?,
        transfers: from.u32()?,
        refusals: from.u32()?,
        expired: from.u32()?,
        payload_hash: from.array()?,
        hash: from.array()?,
    })
}

/// Whether a whole header stands anywhere in `bytes`.
pub(super) fn contains_header(bytes: &[u8]) -> bool {
    bytes
        .windows(HEADER_BYTES)
        .any(|window| window.starts_with(&MAGIC) && decode_header(window).is_ok())
}

/// Reads the payload that follows `header`, or says what is wrong with it.
pub(super) fn decode_payload(header: &Header, payload: &[u8]) -> Result<Block, String> {
    let mut from = Reader(payload);
    let mut records = Vec::new();
    while !from.0.is_empty() {
        let record = decode_record(&mut from)
            .map_err(|problem| format!("its record {} is unknown: {problem}", records.len()))?;
        records.push(record);
    }
    let block = Block { timestamp: header.timestamp, expired: header.expired, records };
    let counts = block.counts();
    if (counts.accounts, counts.transfers, counts.refusals)
        != (header.accounts, header.transfers, header.refusals)
    {
        return Err("its records are not as many as its header says".to_owned());
    }
    Ok(block)
}

fn decode_record(from: &mut Reader<'_>) -> Result<Record, String> {
    match from.u8()? {
        ACCOUNT => decode_account(from),
        TRANSFER => decode_transfer(from),
        REFUSAL => decode_refusal(from),
        kind => Err(format!("kind {kind}")),
    }
}

fn decode_account(from: &mut Reader<'_>) -> Result<Record, String> {
    let (tenant, id, external_id) = (from.tenant()?, from.uuid()?.into(), from.uuid()?.into());
    let created_at = Timestamp::from_nanos(from.u64()?);
    let (ledger, code, limit) = (from.u32()?, from.u16()?, from.u8()?);
    let limit = limit_of(limit).ok_or_else(|| format!("limit {limit}"))?;
    let account = NewAccount { id, ledger, code, limit, external_id, linked: false };
    Ok(Record::Account { tenant, account, created_at })
}

fn decode_transfer(from: &mut Reader<'_>) -> Result<Record, String> {
    let tenant = from.tenant()?;
    let mut transfer = NewTransfer {
        id: from.uuid()?.into(),
        debit_account_id: from.uuid()?.into(),
        credit_account_id: from.uuid()?.into(),
        pending_id: from.uuid()?.into(),
        external_id: from.uuid()?.into(),
        amount: from.u64()?,
        ..NewTransfer::default()
    };
    let created_at = Timestamp::from_nanos(from.u64()?);
    transfer.ledger = from.u32()?;
    transfer.timeout_seconds = from.u32()?;
    transfer.code = from.u16()?;
    let kind = from.u8()?;
    transfer.kind = kind_of(kind).ok_or_else(|| format!("transfer kind {kind}"))?;
    Ok(Record::Transfer { tenant, transfer, created_at })
}

fn decode_refusal(from: &mut Reader<'_>) -> Result<Record, String> {
    let (tenant, id, status) = (from.tenant()?, from.uuid()?.into(), from.u8()?);
    let refusal = TransferRefusal::FINAL.into_iter().find(|refusal| *refusal as u8 == status);
    let refusal = refusal.ok_or_else(|| format!("final status {status}"))?;
    Ok(Record::Refusal { tenant, id, refusal })
}

fn limit_number(limit: BalanceLimit) -> u8 {
    match limit {
        BalanceLimit::None => 0,
        BalanceLimit::DebitsWithinCredits => 1,
        BalanceLimit::CreditsWithinDebits => 2,
    }
}

fn limit_of(number: u8) -> Option<BalanceLimit> {
    use BalanceLimit as L;
    [L::None, L::DebitsWithinCredits, L::CreditsWithinDebits]
        .into_iter()
        .find(|limit| limit_number(*limit) == number)
}

fn kind_number(kind: TransferKind) -> u8 {
    match kind {
        TransferKind::Plain => 0,
        TransferKind::Pending => 1,
        TransferKind::PostPending => 2,
        TransferKind::VoidPending => 3,
    }
}

fn kind_of(number: u8) -> Option<TransferKind> {
    use TransferKind as K;
    [K::Plain, K::Pending, K::PostPending, K::VoidPending]
        .into_iter()
        .find(|kind| kind_number(*kind) == number)
}

/// Takes fields off the front of bytes.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (head, rest) = self.0.split_first_chunk().ok_or("it ends too early")?;
        self.0 = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, String> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, String> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    fn uuid(&mut self) -> Result<Uuid, String> {
        self.array().map(Uuid::from_bytes)
    }

    fn tenant(&mut self) -> Result<TenantId, String> {
        self.uuid().map(TenantId::from)
    }
}
