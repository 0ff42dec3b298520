//! Verifying proofs and saying in words what they prove.

use std::fmt::Write;

use anyhow::{Context, Result, bail};
use proof::{
    AccountProof, ConsistencyProof, Head, KeyProof, Metadata, PublicKey, SignedHead, Transfer,
    TransferProof,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::answer::{AccountAnswer, ConsistencyAnswer, TransferAnswer};
use crate::text::{self, entries, grouped, time};

/// What is said before the reason.
const INVALID: &str = "the proof does not hold";

/// What is said before what is wrong with its form.
const UNREADABLE: &str = "the proof cannot be read";

/// Verifies a proof of any kind, in JSON, with the key that signed its head, and says what it
/// proves. Proofs of keys begin with this key and lead to the present one. A proof of consistency
/// needs the head that was kept. The proof may stand as the commands write it or as the service
/// answers it over REST.
pub fn check(json: &str, key: &PublicKey, known: Option<&SignedHead>) -> Result<String> {
    let value: Value = serde_json::from_str(json).context("the proof is no JSON")?;
    if value.is_array() {
        return keys(&read::<Vec<KeyProof>>(value)?, key);
    }
    let has = |field| value.get(field).is_some();
    if has("transfer") {
        transfer(&read(value)?, key)
    } else if has("entry") {
        transfer(&answer::<TransferAnswer, _>(value)?, key)
    } else if has("state_path") {
        account(&read(value)?, key)
    } else if has("state") {
        account(&answer::<AccountAnswer, _>(value)?, key)
    } else if value.get("from").is_some_and(Value::is_string) {
        consistency(&read(value)?, key, known)
    } else if has("from") {
        consistency(&answer::<ConsistencyAnswer, _>(value)?, key, known)
    } else if has("key") {
        keys(&[read(value)?], key)
    } else {
        bail!("the file has no proof of a transfer, an account, consistency or keys")
    }
}

/// The proof that the service answered.
fn answer<A, P>(value: Value) -> Result<P>
where
    A: DeserializeOwned,
    P: TryFrom<A, Error = anyhow::Error>,
{
    read::<A>(value)?.try_into().context(UNREADABLE)
}

fn read<P: DeserializeOwned>(value: Value) -> Result<P> {
    serde_json::from_value(value).context(UNREADABLE)
}

fn transfer(proof: &TransferProof, key: &PublicKey) -> Result<String> {
    proof.verify(key).context(INVALID)?;
    let TransferProof { number, transfer: it, metadata, head, .. } = proof;
    let mut words = format!("Proved: the ledger recorded this transfer as entry {number}.\n\n");
    let did = text::kind(it.kind);
    let amount = grouped(it.amount);
    lines(
        &mut words,
        &[
            ("transfer", it.id.to_string()),
            ("kind", format!("{did}{}", flags(it))),
            ("amount", format!("{amount} minor units of ledger {}", it.ledger)),
            ("debited", it.debit.to_string()),
            ("credited", it.credit.to_string()),
            ("code", it.code.to_string()),
            ("tenant", format!("number {}", it.tenant)),
            ("created at", time(it.created_at)),
            ("effective at", time(it.effective_at)),
            ("hold", or_none(it.hold.is_none(), it.hold)),
            ("timeout", seconds(it.timeout_seconds)),
            ("external id", or_none(it.external_id.is_none(), it.external_id)),
            ("metadata", pairs(metadata)?),
        ],
    );
    Ok(words + &of_head(&head.head))
}

fn account(proof: &AccountProof, key: &PublicKey) -> Result<String> {
    proof.verify(key).context(INVALID)?;
    let AccountProof { state, checkpoint, head, .. } = proof;
    let mut words = format!(
        "Proved: the ledger recorded this state of an account, after its first {}, as of {}.\n\n",
        entries(checkpoint.entries),
        time(checkpoint.created_at)
    );
    let amounts = |pending, posted| format!("{} and {} on hold", grouped(posted), grouped(pending));
    lines(
        &mut words,
        &[
            ("account", state.id.to_string()),
            ("tenant", format!("number {}", state.tenant)),
            ("ledger", state.ledger.to_string()),
            ("code", state.code.to_string()),
            ("debits", amounts(state.debits_pending, state.debits_posted)),
            ("credits", amounts(state.credits_pending, state.credits_posted)),
            ("limit", text::limit(state.limit).to_owned()),
            ("overdraft", grouped(state.overdraft).to_string()),
            ("closed", if state.is_closed { "yes" } else { "no" }.to_owned()),
        ],
    );
    Ok(words + &of_head(&head.head))
}

fn consistency(
    proof: &ConsistencyProof,
    key: &PublicKey,
    known: Option<&SignedHead>,
) -> Result<String> {
    let Some(known) = known else {
        bail!("a proof of consistency says nothing without the head that was kept: --head FILE");
    };
    proof.verify(&known.head, key).context(INVALID)?;
    let mut words = format!(
        "Proved: the ledger still begins with the {} of the head that was kept, of {}.\n",
        entries(proof.from),
        time(known.head.timestamp)
    );
    if let Err(fault) = known.verify(key) {
        writeln!(words, "The head that was kept is not signed with this key: {fault}.")?;
    }
    words.push('\n');
    Ok(words + &of_head(&proof.head.head))
}

fn keys(proofs: &[KeyProof], first: &PublicKey) -> Result<String> {
    let mut words = format!("{first}\n");
    let mut key = first.clone();
    for proof in proofs {
        let head = &proof.head.head;
        key = proof.verify(&key).with_context(|| {
            format!("the proof of the key after block {} does not hold", head.sequence)
        })?;
        writeln!(words, "  named after block {} of {}:", head.sequence, time(head.timestamp))?;
        writeln!(words, "{key}")?;
    }
    Ok(format!("Proved: the ledger signed with these keys, one after the other.\n\n{words}"))
}

fn of_head(head: &Head) -> String {
    let (size, at) = (entries(head.size), time(head.timestamp));
    format!("\nThe head is of block {}, {size}, {at}.\n", head.sequence)
}

/// A line for each that is not empty.
fn lines(words: &mut String, fields: &[(&str, String)]) {
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        // A string takes all.
        let _ = writeln!(words, "  {name:<13}{value}");
    }
}

fn flags(transfer: &Transfer) -> String {
    text::flags(transfer.flags).fold(String::new(), |text, flag| text + ", " + flag)
}

fn seconds(seconds: u32) -> String {
    if seconds == 0 { String::new() } else { text::count(seconds.into(), "second") }
}

fn or_none(is_none: bool, id: impl ToString) -> String {
    if is_none { String::new() } else { id.to_string() }
}

fn pairs(metadata: &Metadata) -> Result<String> {
    Ok(if metadata.is_empty() { String::new() } else { serde_json::to_string(metadata)? })
}
