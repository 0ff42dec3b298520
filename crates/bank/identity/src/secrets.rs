//! The key-encryption key, and what is derived from it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use auth::{TenantId, UserId};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use uuid::Builder;
use zeroize::Zeroizing;

use crate::domain::{Email, RefreshToken};
use crate::passwords::Password;

/// A secret operation that failed. Says nothing about the secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a cryptographic operation failed")]
pub(crate) struct SecretError;

/// Writes a new key-encryption key to a file that only its owner can read; keeps an existing one.
///
/// # Errors
/// When the file cannot be written.
pub fn create_key_encryption_key(path: &Path) -> io::Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = match opened {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        opened => opened?,
    };
    let key = Zeroizing::new(random().map_err(io::Error::other)?);
    let text = Zeroizing::new(STANDARD.encode(*key));
    writeln!(file, "{}", *text)?;
    file.sync_all()
}

/// What attempts are counted of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attempted {
    Login,
    Registration,
}

/// Keys derived from the key-encryption key, each for one purpose.
pub(crate) struct Secrets {
    sealing: RandomizedNonceKey,
    decoys: hmac::Key,
    attempts: hmac::Key,
}

impl Secrets {
    /// Reads the file that [`create_key_encryption_key`] or `openssl rand -base64 32` wrote.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let text = Zeroizing::new(fs::read_to_string(path)?);
        let key = Zeroizing::new(STANDARD.decode(text.trim()).unwrap_or_default());
        if key.len() != 32 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it must hold 32 random bytes in base64, as `openssl rand -base64 32` prints",
            ));
        }
        Self::derive(&key).map_err(io::Error::other)
    }

    fn derive(key: &[u8]) -> Result<Self, SecretError> {
        let root = Salt::new(HKDF_SHA256, b"malha.identity").extract(key);
        Ok(Self {
            sealing: RandomizedNonceKey::new(&AES_256_GCM, &*expand(&root, b"signing keys")?)
                .map_err(|_| SecretError)?,
            decoys: hmac::Key::new(hmac::HMAC_SHA256, &*expand(&root, b"decoys")?),
            attempts: hmac::Key::new(hmac::HMAC_SHA256, &*expand(&root, b"attempts")?),
        })
    }

    /// Encrypts a private key, bound to its id.
    pub(crate) fn seal(&self, kid: &str, secret: &[u8]) -> Result<Vec<u8>, SecretError> {
        let mut sealed = secret.to_vec();
        let nonce = self
            .sealing
            .seal_in_place_append_tag(Aad::from(kid), &mut sealed)
            .map_err(|_| SecretError)?;
        Ok([nonce.as_ref(), &sealed[..]].concat())
    }

    /// Decrypts what [`Self::seal`] encrypted for the same id.
    pub(crate) fn open(&self, kid: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(SecretError)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SecretError)?;
        let mut secret = Zeroizing::new(sealed.to_vec());
        let length = self
            .sealing
            .open_in_place(nonce, Aad::from(kid), &mut secret)
            .map_err(|_| SecretError)?
            .len();
        secret.truncate(length);
        Ok(secret)
    }

    /// The id that a registration with a wrong password for a known e-mail is answered: always the
    /// same for the same credentials, and not to be told from a real one.
    pub(crate) fn decoy_id(&self, tenant: TenantId, email: &Email, password: &Password) -> UserId {
        let tag = mac(
            &self.decoys,
            &[tenant.as_uuid().as_bytes(), email.as_str().as_bytes(), password.as_bytes()],
        );
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&tag.as_ref()[..16]);
        Builder::from_random_bytes(bytes).into_uuid().into()
    }

    /// The name under which attempts on an e-mail are counted: the same whether or not somebody
    /// has the e-mail, and without the e-mail in it.
    pub(crate) fn attempt_subject(&self, attempted: Attempted, email: &Email) -> Vec<u8> {
        let attempted: &[u8] = match attempted {
            Attempted::Login => b"login",
            Attempted::Registration => b"registration",
        };
        mac(&self.attempts, &[attempted, email.as_str().as_bytes()]).as_ref().to_vec()
    }
}

/// A new refresh token.
pub(crate) fn refresh_token() -> Result<RefreshToken, SecretError> {
    random().map(RefreshToken::from_random)
}

fn random() -> Result<[u8; 32], SecretError> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| SecretError)?;
    Ok(bytes)
}

fn expand(root: &Prk, purpose: &[u8]) -> Result<Zeroizing<[u8; 32]>, SecretError> {
    let mut key = Zeroizing::new([0; 32]);
    root.expand(&[purpose], HKDF_SHA256)
        .and_then(|bytes| bytes.fill(&mut *key))
        .map_err(|_| SecretError)?;
    Ok(key)
}

/// Authenticates a list of parts; no other list has the same encoding.
fn mac(key: &hmac::Key, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.sign()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn secrets() -> Secrets {
        Secrets::derive(&[7; 32]).unwrap()
    }

    #[test]
    fn sealed_keys_open_only_under_their_id_and_key() {
        let secrets = secrets();
        let sealed = secrets.seal("kid", b"private").unwrap();

        assert_eq!(*secrets.open("kid", &sealed).unwrap(), b"private");
        assert_ne!(secrets.seal("kid", b"private").unwrap(), sealed, "a nonce is used once");
        assert_eq!(secrets.open("other", &sealed), Err(SecretError));
        assert_eq!(Secrets::derive(&[8; 32]).unwrap().open("kid", &sealed), Err(SecretError));
        assert_eq!(secrets.open("kid", &sealed[..5]), Err(SecretError));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(secrets.open("kid", &changed), Err(SecretError), "byte {at}");
        }
    }

    #[test]
    fn decoy_ids_are_stable_and_look_random() {
        let secrets = secrets();
        let id = |email: &str, password: &str| {
            secrets.decoy_id(TenantId::DEFAULT, &Email::new(email), &Password::from(password))
        };

        assert_eq!(id("a@x.com", "secret"), id("A@X.com", "secret"));
        assert_ne!(id("a@x.com", "secret"), id("a@x.com", "Secret"));
        assert_ne!(id("a@x.com", "secret"), id("a@x.co", "msecret"));
        assert_eq!(id("a@x.com", "secret").as_uuid().get_version_num(), 4);
    }

    #[test]
    fn the_key_file_is_private_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.key");

        create_key_encryption_key(&path).unwrap();
        let first = fs::read_to_string(&path).unwrap();
        create_key_encryption_key(&path).unwrap();

        assert_eq!(fs::read_to_string(&path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Secrets::read(&path).is_ok());
        fs::write(&path, "c2hvcnQ=").unwrap();
        assert!(Secrets::read(&path).is_err());
    }
}
