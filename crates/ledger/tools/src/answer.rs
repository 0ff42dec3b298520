//! Proofs as the service answers them over REST: proto3 JSON of `malha.ledger.v1`.

use anyhow::{Context, Result, bail};
use base64::prelude::{BASE64_STANDARD, Engine};
use proof::{
    AccountProof, AccountState, Checkpoint, ConsistencyProof, ENTRY_BYTES, Hash, Metadata,
    SignedHead, Transfer, TransferProof,
};
use serde::Deserialize;
use uuid::Uuid;

use crate::text;

/// The answer to `GET /v1/ledger/transfers/{id}/proof`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TransferAnswer {
    entry: String,
    #[serde(default)]
    extension: String,
    #[serde(default)]
    sequence: u64,
    #[serde(default)]
    path: Vec<String>,
    head: String,
}

/// The answer to `GET /v1/ledger/accounts/{id}/proof`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AccountAnswer {
    state: StateAnswer,
    row: u32,
    #[serde(default)]
    state_path: Vec<String>,
    checkpoint: CheckpointAnswer,
    #[serde(default)]
    path: Vec<String>,
    head: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StateAnswer {
    #[serde(default)]
    tenant: u32,
    id: Uuid,
    #[serde(default)]
    ledger: u32,
    #[serde(default)]
    code: u16,
    #[serde(default)]
    limit: Option<String>,
    closed: bool,
    overdraft: u64,
    debits_pending: u64,
    debits_posted: u64,
    credits_pending: u64,
    credits_posted: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CheckpointAnswer {
    sequence: u64,
    entries: u64,
    accounts: u64,
    root: String,
    created_at: String,
}

/// The answer to `GET /v1/ledger/head/consistency`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ConsistencyAnswer {
    from: u64,
    path: Vec<String>,
    head: String,
}

impl TryFrom<TransferAnswer> for TransferProof {
    type Error = anyhow::Error;

    fn try_from(answer: TransferAnswer) -> Result<Self> {
        let entry: [u8; ENTRY_BYTES] = exact(&answer.entry).context("entry")?;
        Ok(Self {
            number: answer.sequence,
            transfer: Transfer::decode(&entry)?,
            metadata: Metadata::decode(&bytes(&answer.extension).context("extension")?)?,
            path: hashes(&answer.path)?,
            head: SignedHead::parse(&answer.head)?,
        })
    }
}

impl TryFrom<AccountAnswer> for AccountProof {
    type Error = anyhow::Error;

    fn try_from(answer: AccountAnswer) -> Result<Self> {
        let checkpoint = &answer.checkpoint;
        let created_at = text::parse_time(&checkpoint.created_at);
        Ok(Self {
            state: answer.state.try_into()?,
            row: answer.row,
            state_path: hashes(&answer.state_path)?,
            checkpoint: Checkpoint {
                entries: checkpoint.entries,
                accounts: checkpoint.accounts,
                root: exact(&checkpoint.root).context("root")?,
                created_at: created_at.context("createdAt is no time")?,
            },
            number: checkpoint.sequence,
            path: hashes(&answer.path)?,
            head: SignedHead::parse(&answer.head)?,
        })
    }
}

impl TryFrom<StateAnswer> for AccountState {
    type Error = anyhow::Error;

    fn try_from(answer: StateAnswer) -> Result<Self> {
        Ok(Self {
            tenant: answer.tenant,
            id: answer.id.as_u128().into(),
            ledger: answer.ledger,
            code: answer.code,
            limit: match answer.limit.as_deref() {
                None | Some("UNSPECIFIED") => 0,
                Some("DEBITS_WITHIN_CREDITS") => 1,
                Some("CREDITS_WITHIN_DEBITS") => 2,
                Some(other) => bail!("`{other}` is no limit of an account"),
            },
            is_closed: answer.closed,
            overdraft: answer.overdraft,
            debits_pending: answer.debits_pending,
            debits_posted: answer.debits_posted,
            credits_pending: answer.credits_pending,
            credits_posted: answer.credits_posted,
        })
    }
}

impl TryFrom<ConsistencyAnswer> for ConsistencyProof {
    type Error = anyhow::Error;

    fn try_from(answer: ConsistencyAnswer) -> Result<Self> {
        let head = SignedHead::parse(&answer.head)?;
        Ok(Self { from: answer.from, path: hashes(&answer.path)?, head })
    }
}

fn hashes(path: &[String]) -> Result<Vec<Hash>> {
    path.iter().map(|hash| exact(hash).context("path")).collect()
}

fn exact<const N: usize>(text: &str) -> Result<[u8; N]> {
    let bytes = bytes(text)?;
    let Ok(exact) = bytes.as_slice().try_into() else {
        bail!("has {} bytes and should have {N}", bytes.len());
    };
    Ok(exact)
}

fn bytes(text: &str) -> Result<Vec<u8>> {
    BASE64_STANDARD.decode(text).context("is no base64")
}
