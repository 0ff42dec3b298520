//! Secrets at rest: a key-encryption key outside of the database, and what is derived from it.
//!
//! A service reads its [`MasterKey`] from a file, derives a [`Sealer`] for each kind of secret, and
//! keeps what that seals in its tables.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// A secret operation that failed. Says nothing about the secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a cryptographic operation failed")]
pub struct SealError;

/// Writes a new key-encryption key to a file that only its owner can read; keeps an existing one.
///
/// # Errors
/// When the file cannot be written.
pub fn create_master_key(path: &Path) -> io::Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = match opened {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        opened => opened?,
    };
    let key = random::<32>().map_err(io::Error::other)?;
    let text = Zeroizing::new(STANDARD.encode(*key));
    writeln!(file, "{}", *text)?;
    file.sync_all()
}

/// Random bytes, wiped when dropped.
pub fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, SealError> {
    let mut bytes = Zeroizing::new([0; N]);
    rand::fill(&mut *bytes).map_err(|_| SealError)?;
    Ok(bytes)
}

/// A key-encryption key, from which a service derives one key for each purpose.
pub struct MasterKey(Prk);

impl MasterKey {
    /// Reads the file that [`create_master_key`] or `openssl rand -base64 32` wrote. Services that
    /// share a file get keys of their own.
    pub fn read(service: &str, path: &Path) -> io::Result<Self> {
        Self::parse(service, &Zeroizing::new(fs::read_to_string(path)?))
    }

    fn parse(service: &str, text: &str) -> io::Result<Self> {
        let key = Zeroizing::new(STANDARD.decode(text.trim()).unwrap_or_default());
        let key = key.as_slice().try_into().map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "it must hold 32 random bytes in base64, as `openssl rand -base64 32` prints",
            )
        })?;
        Ok(Self::new(service, key))
    }

    /// The key of these bytes.
    pub fn new(service: &str, key: &[u8; 32]) -> Self {
        Self(Salt::new(HKDF_SHA256, format!("malha.{service}").as_bytes()).extract(key))
    }

    /// Derives the key of a purpose.
    pub fn derive(&self, purpose: &str) -> Result<Zeroizing<[u8; 32]>, SealError> {
        let mut key = Zeroizing::new([0; 32]);
        self.0
            .expand(&[purpose.as_bytes()], HKDF_SHA256)
            .and_then(|bytes| bytes.fill(&mut *key))
            .map_err(|_| SealError)?;
        Ok(key)
    }

    /// Derives the key that seals the secrets of a purpose.
    pub fn sealer(&self, purpose: &str) -> Result<Sealer, SealError> {
        Ok(Sealer { newest: self.aead(purpose)?, older: Vec::new() })
    }

    fn aead(&self, purpose: &str) -> Result<RandomizedNonceKey, SealError> {
        RandomizedNonceKey::new(&AES_256_GCM, &*self.derive(purpose)?).map_err(|_| SealError)
    }
}

/// The key-encryption keys of a service that changes them: the newest seals, all open.
pub struct MasterKeys {
    newest: MasterKey,
    older: Vec<MasterKey>,
}

impl MasterKeys {
    /// Reads a file as [`MasterKey::read`] does, with a key in each line, the newest first.
    pub fn read(service: &str, path: &Path) -> io::Result<Self> {
        let text = Zeroizing::new(fs::read_to_string(path)?);
        let (newest, older) = text.trim().split_once('\n').unwrap_or((&text, ""));
        Ok(Self {
            newest: MasterKey::parse(service, newest)?,
            older: older
                .lines()
                .map(|line| MasterKey::parse(service, line))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Derives the keys that seal and open the secrets of a purpose.
    pub fn sealer(&self, purpose: &str) -> Result<Sealer, SealError> {
        Ok(Sealer {
            newest: self.newest.aead(purpose)?,
            older: self.older.iter().map(|key| key.aead(purpose)).collect::<Result<_, _>>()?,
        })
    }
}

/// Seals secrets with AES-256-GCM under random nonces.
pub struct Sealer {
    newest: RandomizedNonceKey,
    older: Vec<RandomizedNonceKey>,
}

impl Sealer {
    /// Encrypts a secret, bound to `name`: the nonce, then the text with its tag.
    pub fn seal(&self, name: &str, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut sealed = secret.to_vec();
        let nonce = self
            .newest
            .seal_in_place_append_tag(Aad::from(name), &mut sealed)
            .map_err(|_| SealError)?;
        Ok([nonce.as_ref(), &sealed[..]].concat())
    }

    /// Decrypts what [`Self::seal`] encrypted under the same name, with any of the keys.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        // Which key it was needs no mark: no other one opens it.
        let mut keys = std::iter::once(&self.newest).chain(&self.older);
        keys.find_map(|key| open(key, name, sealed).ok()).ok_or(SealError)
    }

    /// Whether something may be under an older key than the newest.
    pub fn has_older(&self) -> bool {
        !self.older.is_empty()
    }

    /// Encrypts anew what is not under the newest key; `None` for what is.
    pub fn reseal(&self, name: &str, sealed: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        if open(&self.newest, name, sealed).is_ok() {
            return Ok(None);
        }
        self.seal(name, &self.open(name, sealed)?).map(Some)
    }
}

fn open(
    key: &RandomizedNonceKey,
    name: &str,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(SealError)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError)?;
    let mut secret = Zeroizing::new(sealed.to_vec());
    let length =
        key.open_in_place(nonce, Aad::from(name), &mut secret).map_err(|_| SealError)?.len();
    secret.truncate(length);
    Ok(secret)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn sealed_secrets_open_only_under_their_name_and_key() {
        let sealer = MasterKey::new("test", &[7; 32]).sealer("keys").unwrap();
        let kept = sealer.seal("name", b"private").unwrap();

        assert_eq!(*sealer.open("name", &kept).unwrap(), b"private");
        assert_ne!(sealer.seal("name", b"private").unwrap(), kept, "a nonce is used once");
        assert_eq!(sealer.open("other", &kept), Err(SealError));
        assert_eq!(sealer.open("name", &kept[..5]), Err(SealError));
        for (service, key, purpose) in
            [("other", 7, "keys"), ("test", 8, "keys"), ("test", 7, "other")]
        {
            let other = MasterKey::new(service, &[key; 32]).sealer(purpose).unwrap();
            assert_eq!(other.open("name", &kept), Err(SealError), "{service} {key} {purpose}");
        }
        for at in 0..kept.len() {
            let mut changed = kept.clone();
            changed[at] ^= 1;
            assert_eq!(sealer.open("name", &changed), Err(SealError), "byte {at}");
        }
    }

    #[test]
    fn the_newest_key_seals_and_all_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.key");
        let sealer = |keys: &[u8]| {
            let lines: Vec<_> = keys.iter().map(|key| STANDARD.encode([*key; 32])).collect();
            fs::write(&path, lines.join("\n") + "\n").unwrap();
            MasterKeys::read("test", &path)
                .and_then(|keys| keys.sealer("keys").map_err(io::Error::other))
        };
        let (old, both, new) =
            (sealer(&[7]).unwrap(), sealer(&[8, 7]).unwrap(), sealer(&[8]).unwrap());
        let kept = old.seal("name", b"private").unwrap();

        assert_eq!(*both.open("name", &kept).unwrap(), b"private");
        assert_eq!(new.open("name", &kept), Err(SealError));
        assert!(both.has_older() && !new.has_older());
        let anew = both.reseal("name", &kept).unwrap().unwrap();
        assert_eq!(*new.open("name", &anew).unwrap(), b"private");
        assert_eq!(both.reseal("name", &anew), Ok(None));
        assert_eq!(both.reseal("other", &anew), Err(SealError));
        assert_eq!(old.open("name", &both.seal("name", b"private").unwrap()), Err(SealError));
        assert!(MasterKey::read("test", &path).is_ok());
        assert!(sealer(&[]).is_err());
        fs::write(&path, format!("{}\nc2hvcnQ=\n", STANDARD.encode([7; 32]))).unwrap();
        assert!(MasterKeys::read("test", &path).is_err());
        assert!(MasterKey::read("test", &path).is_err());
    }

    #[test]
    fn the_key_file_is_private_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.key");

        create_master_key(&path).unwrap();
        let first = fs::read_to_string(&path).unwrap();
        create_master_key(&path).unwrap();

        assert_eq!(fs::read_to_string(&path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(MasterKey::read("test", &path).is_ok());
        fs::write(&path, "c2hvcnQ=").unwrap();
        assert!(MasterKey::read("test", &path).is_err());
    }
}
