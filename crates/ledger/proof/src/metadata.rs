//! What callers note on accounts and transfers.
//!
//! # Format
//!
//! For each pair: the length of the key (1 byte), the key, the length of the value (1 byte), the
//! value. Keys ascend and are unique, both are UTF-8. No pairs are no bytes.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Sorted pairs of a key and a value, bounded in number and size.
#[derive(Clone, Default, Eq, Hash, PartialEq)]
pub struct Metadata(Box<[u8]>);

impl Metadata {
    /// Most pairs.
    pub const PAIRS_MAX: usize = 16;
    /// Most bytes of a key. It has at least one.
    pub const KEY_BYTES_MAX: usize = 64;
    /// Most bytes of a value.
    pub const VALUE_BYTES_MAX: usize = 255;
    /// Most bytes of all pairs together.
    pub const BYTES_MAX: usize = 1_024;

    /// The metadata of these pairs, in any order.
    pub fn new<K: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, MetadataFault> {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_by(|(a, _), (b, _)| a.as_ref().cmp(b.as_ref()));
        let mut bytes = Vec::new();
        for (key, value) in &pairs {
            for (text, fault) in
                [(key.as_ref(), MetadataFault::Key), (value.as_ref(), MetadataFault::Value)]
            {
                bytes.push(u8::try_from(text.len()).map_err(|_| fault)?);
                bytes.extend_from_slice(text.as_bytes());
            }
        }
        Self::decode(&bytes)
    }

    /// The metadata of these bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, MetadataFault> {
        check(bytes)?;
        Ok(Self(bytes.into()))
    }

    /// Appends its bytes.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.0);
    }

    /// Its bytes: the extension of an entry.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it has no pairs.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its pairs, keys ascending.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &*self.0;
        // They were read once when it was made, so nothing is left out here.
        std::iter::from_fn(move || Some((text(&mut rest)?, text(&mut rest)?)))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|pair| pair.0 == key).map(|pair| pair.1)
    }
}

/// Takes a text and the length before it off the front.
fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (length, after) = rest.split_first()?;
    let (text, after) = after.split_at_checked(usize::from(*length))?;
    *rest = after;
    str::from_utf8(text).ok()
}

/// Whether these bytes are metadata.
pub(crate) fn check(bytes: &[u8]) -> Result<(), MetadataFault> {
    if bytes.len() > Metadata::BYTES_MAX {
        return Err(MetadataFault::Bytes);
    }
    let (mut rest, mut previous, mut pairs) = (bytes, "", 0);
    while !rest.is_empty() {
        let key = text(&mut rest).ok_or(MetadataFault::Damaged)?;
        text(&mut rest).ok_or(MetadataFault::Damaged)?;
        if key.is_empty() || key.len() > Metadata::KEY_BYTES_MAX {
            return Err(MetadataFault::Key);
        }
        if key <= previous {
            return Err(MetadataFault::Order);
        }
        previous = key;
        pairs += 1;
    }
    if pairs > Metadata::PAIRS_MAX { Err(MetadataFault::Pairs) } else { Ok(()) }
}

/// Why something is no metadata.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MetadataFault {
    /// There are more than [`Metadata::PAIRS_MAX`] pairs.
    #[error("it has more than 16 pairs")]
    Pairs,
    /// All pairs are more than [`Metadata::BYTES_MAX`].
    #[error("it has more than 1,024 bytes")]
    Bytes,
    /// A key is empty or longer than [`Metadata::KEY_BYTES_MAX`].
    #[error("a key does not have 1 to 64 bytes")]
    Key,
    /// A value is longer than [`Metadata::VALUE_BYTES_MAX`].
    #[error("a value has more than 255 bytes")]
    Value,
    /// A key is there twice, or the bytes do not ascend.
    #[error("its keys are not unique and ascending")]
    Order,
    /// The bytes are not pairs of texts.
    #[error("its bytes are no pairs of texts")]
    Damaged,
}

impl fmt::Debug for Metadata {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = std::collections::BTreeMap::<String, String>::deserialize(deserializer)?;
        Self::new(pairs).map_err(D::Error::custom)
    }
}
