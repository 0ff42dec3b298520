//! Heads: what a ledger signs.
//!
//! # Format
//!
//! A head is a C2SP `tlog-checkpoint`, four lines: the name of the ledger, how many entries there
//! are, their root in base64, and an extension: the sequence of the last block, its hash in base64
//! and its time in nanoseconds since the Unix epoch. A signed head is a C2SP signed note: the
//! head, an empty line, and lines with signatures.
//!
//! ```text
//! malha.ledger/0198f7a0-0000-7000-8000-000000000001
//! 6
//! ZrJ+QhN9DzNfYZ0Q+6jiGOQEpV+EeaZnhwvsYv06HhQ=
//! 3 Yw48V3yVusttL/+dzzkrUP+ET0okP3+YdVBUWlYvU/Y= 1767225602000000002
//!
//! — malha.ledger/0198f7a0-0000-7000-8000-000000000001 <key id and signature in base64>
//! ```

use std::fmt;
use std::str::FromStr;

use base64::display::Base64Display;
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::keys::{name, named};
use crate::{Hash, PublicKey, SigningKey, Timestamp};

/// How far a ledger had come when a block was complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// Id of the ledger.
    pub ledger: [u8; 16],
    /// How many entries there were.
    pub size: u64,
    /// RFC 6962 root over them.
    pub root: Hash,
    /// Sequence of the block.
    pub sequence: u64,
    /// Hash of the block.
    pub block: Hash,
    /// When the block began.
    pub timestamp: Timestamp,
}

impl Head {
    /// What is signed.
    pub fn text(&self) -> String {
        self.to_string()
    }

    /// Signs it.
    pub fn sign(self, key: &SigningKey) -> SignedHead {
        let signature = key.sign(self.text().as_bytes());
        SignedHead::new(self, &key.public(self.ledger), signature)
    }
}

impl fmt::Display for Head {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base64 = |hash| Base64Display::new(hash, &BASE64_STANDARD);
        writeln!(formatter, "{}\n{}\n{}", name(self.ledger), self.size, base64(&self.root))?;
        let (block, time) = (base64(&self.block), self.timestamp.nanos());
        writeln!(formatter, "{} {block} {time}", self.sequence)
    }
}

impl FromStr for Head {
    type Err = HeadFault;

    fn from_str(text: &str) -> Result<Self, HeadFault> {
        let head = parse(text).ok_or(HeadFault::Text)?;
        // One head has one text.
        if head.text() == text { Ok(head) } else { Err(HeadFault::Text) }
    }
}

fn parse(text: &str) -> Option<Head> {
    let mut lines = text.lines();
    let (ledger, size, root) = (named(lines.next()?)?, lines.next()?, lines.next()?);
    let mut extension = lines.next()?.split(' ');
    Some(Head {
        ledger,
        size: size.parse().ok()?,
        root: parse_hash(root)?,
        sequence: extension.next()?.parse().ok()?,
        block: parse_hash(extension.next()?)?,
        timestamp: Timestamp::from_nanos(extension.next()?.parse().ok()?),
    })
}

fn parse_hash(text: &str) -> Option<Hash> {
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}

/// A head and the signature of its ledger. Printed and read as a signed note, also in JSON.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SignedHead {
    /// The head.
    pub head: Head,
    key_id: [u8; 4],
    signature: [u8; 64],
}

/// What a signature line begins with.
const DASH: &str = "— ";

/// Most signature lines: others may have signed too.
const SIGNATURES_MAX: usize = 16;

impl SignedHead {
    /// A head that this key signed.
    pub fn new(head: Head, key: &PublicKey, signature: [u8; 64]) -> Self {
        Self { head, key_id: key.id(), signature }
    }

    /// Reads a signed note. Signatures of others than the ledger are left out.
    pub fn parse(note: &str) -> Result<Self, HeadFault> {
        let end = note.find("\n\n").ok_or(HeadFault::Text)? + 1;
        let head: Head = note[..end].parse()?;
        let signatures = note[end + 1..].strip_suffix('\n').ok_or(HeadFault::Text)?;
        let mut own = None;
        for (place, line) in signatures.split('\n').enumerate() {
            let line = line.strip_prefix(DASH).filter(|_| place < SIGNATURES_MAX);
            let (signer, signature) =
                line.and_then(|line| line.split_once(' ')).ok_or(HeadFault::Text)?;
            let signature = BASE64_STANDARD.decode(signature).map_err(|_| HeadFault::Text)?;
            if own.is_none() && named(signer) == Some(head.ledger) {
                own = signature.split_first_chunk().and_then(|(key_id, signature)| {
                    Some(Self { head, key_id: *key_id, signature: signature.try_into().ok()? })
                });
            }
        }
        own.ok_or(HeadFault::Unsigned)
    }

    /// Whether the head is of the ledger of this key and signed with it.
    pub fn verify(&self, key: &PublicKey) -> Result<&Head, HeadFault> {
        if self.head.ledger != key.ledger() {
            return Err(HeadFault::Ledger);
        }
        if self.key_id != key.id() {
            return Err(HeadFault::Key);
        }
        if key.verifies(self.head.text().as_bytes(), &self.signature) {
            Ok(&self.head)
        } else {
            Err(HeadFault::Signature)
        }
    }
}

impl fmt::Display for SignedHead {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signature = [&self.key_id[..], &self.signature].concat();
        let (name, signature) = (name(self.head.ledger), BASE64_STANDARD.encode(signature));
        writeln!(formatter, "{}\n{DASH}{name} {signature}", self.head)
    }
}

impl FromStr for SignedHead {
    type Err = HeadFault;

    fn from_str(note: &str) -> Result<Self, HeadFault> {
        Self::parse(note)
    }
}

impl Serialize for SignedHead {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SignedHead {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Why a head is not to be trusted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HeadFault {
    /// The text is no head.
    #[error("it is no signed head")]
    Text,
    /// No signature is of the ledger.
    #[error("its ledger did not sign it")]
    Unsigned,
    /// It is of another ledger than the key.
    #[error("it is of another ledger")]
    Ledger,
    /// It was signed with another key.
    #[error("it was signed with another key")]
    Key,
    /// The signature is not over this text.
    #[error("its signature does not match")]
    Signature,
}
