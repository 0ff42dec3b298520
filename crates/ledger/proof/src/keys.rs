//! Keys that sign the ledger, and their names.

use std::fmt;
use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD, Engine};
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes};
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::Hash;

/// How a C2SP signed note tells an Ed25519 key from others.
const ALGORITHM: u8 = 1;

/// What the name of every ledger begins with; its id follows.
const NAME_PREFIX: &str = "malha.ledger/";

/// A key that signs. It is wiped from memory when it is dropped.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key of this seed: 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The key of this PKCS#8 file, as `openssl genpkey -algorithm ed25519` writes it.
    pub fn from_pem(pem: &str) -> Result<Self, KeyFault> {
        ed25519_dalek::SigningKey::from_pkcs8_pem(pem).map(Self).map_err(|_| KeyFault::Pem)
    }

    /// Its PKCS#8 file.
    #[expect(clippy::missing_panics_doc, reason = "32 bytes always fit the format")]
    pub fn to_pem(&self) -> Zeroizing<String> {
        // Without the public key, with which `openssl` would not read it.
        let pair = KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        pair.to_pkcs8_pem(LineEnding::LF).expect("a key is written")
    }

    /// What verifies what it signs in this ledger.
    pub fn public(&self, ledger: [u8; 16]) -> PublicKey {
        PublicKey { ledger, key: self.0.verifying_key() }
    }

    /// Signs.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey(of {})", hex::encode(self.0.verifying_key()))
    }
}

/// A key that verifies what a ledger signed.
///
/// It is printed and read as the `vkey` of a C2SP signed note: the name of the ledger, the id of
/// the key in hexadecimal, and the key in base64, joined with `+`.
#[derive(Clone, Eq, PartialEq)]
pub struct PublicKey {
    ledger: [u8; 16],
    key: VerifyingKey,
}

impl PublicKey {
    /// The key of these bytes, for this ledger.
    pub fn new(ledger: [u8; 16], bytes: &[u8; 32]) -> Result<Self, KeyFault> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyFault::Key)?;
        if key.is_weak() { Err(KeyFault::Key) } else { Ok(Self { ledger, key }) }
    }

    /// Id of the ledger.
    pub const fn ledger(&self) -> [u8; 16] {
        self.ledger
    }

    /// The 32 bytes of the key.
    pub fn bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// What stands for the key in a signature line: the first bytes of the hash of the name of the
    /// ledger, a line feed, the algorithm and the key.
    pub fn id(&self) -> [u8; 4] {
        key_id(&name(self.ledger).to_string(), self.key.as_bytes())
    }

    /// Whether the signature is of this key over this message.
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

/// The id of the key of that name.
pub(crate) fn key_id(name: &str, key: &[u8; 32]) -> [u8; 4] {
    let hash = Sha256::new_with_prefix(name).chain_update([b'\n', ALGORITHM]).chain_update(key);
    let [a, b, c, d, ..] = Hash::from(hash.finalize());
    [a, b, c, d]
}

/// The name of a ledger.
pub(crate) fn name(ledger: [u8; 16]) -> impl fmt::Display {
    fmt::from_fn(move |formatter| write!(formatter, "{NAME_PREFIX}{}", Uuid::from_bytes(ledger)))
}

/// The ledger of that name.
pub(crate) fn named(name: &str) -> Option<[u8; 16]> {
    let ledger = *Uuid::try_parse(name.strip_prefix(NAME_PREFIX)?).ok()?.as_bytes();
    // A UUID may be written in other ways.
    (self::name(ledger).to_string() == name).then_some(ledger)
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ALGORITHM];
        key.extend_from_slice(self.key.as_bytes());
        let (name, id) = (name(self.ledger), hex::encode(self.id()));
        write!(formatter, "{name}+{id}+{}", BASE64_STANDARD.encode(key))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyFault;

    fn from_str(text: &str) -> Result<Self, KeyFault> {
        let mut parts = text.splitn(3, '+');
        let mut part = || parts.next().ok_or(KeyFault::Text);
        let (ledger, id, key) = (named(part()?).ok_or(KeyFault::Text)?, part()?, part()?);
        let key = BASE64_STANDARD.decode(key).map_err(|_| KeyFault::Text)?;
        let key = key.strip_prefix(&[ALGORITHM]).and_then(|key| key.try_into().ok());
        let key = Self::new(ledger, key.ok_or(KeyFault::Text)?)?;
        if hex::encode(key.id()) == id { Ok(key) } else { Err(KeyFault::Text) }
    }
}

/// Why something is no key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyFault {
    /// The text is no `vkey` of a ledger.
    #[error("it is not of the form malha.ledger/<id>+<key id>+<key>")]
    Text,
    /// The file is no PKCS#8 Ed25519 private key in PEM.
    #[error("it is no Ed25519 private key in PKCS#8 PEM")]
    Pem,
    /// It is a key, but the ledger named another.
    #[error("it is not the key that the ledger named")]
    Other,
    /// The bytes are no Ed25519 public key, or a weak one.
    #[error("it is no Ed25519 public key")]
    Key,
}
