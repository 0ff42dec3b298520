//! The key-encryption key, and what is derived from it.

use std::io;
use std::path::Path;

use auth::{TenantId, UserId};
use aws_lc_rs::hmac;
use sealing::{MasterKey, SealError, Sealer};
use uuid::Builder;
use zeroize::Zeroizing;

use crate::domain::{Email, RefreshToken};
use crate::passwords::Password;

/// What attempts are counted of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attempted {
    Login,
    Registration,
}

/// Keys derived from the key-encryption key, each for one purpose.
pub(crate) struct Secrets {
    sealing: Sealer,
    decoys: hmac::Key,
    attempts: hmac::Key,
}

impl Secrets {
    /// Reads the file that [`sealing::create_master_key`] wrote.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        Self::derive(&MasterKey::read("identity", path)?).map_err(io::Error::other)
    }

    fn derive(key: &MasterKey) -> Result<Self, SealError> {
        Ok(Self {
            sealing: key.sealer("signing keys")?,
            decoys: hmac::Key::new(hmac::HMAC_SHA256, &*key.derive("decoys")?),
            attempts: hmac::Key::new(hmac::HMAC_SHA256, &*key.derive("attempts")?),
        })
    }

    /// Encrypts a private key, bound to its id.
    pub(crate) fn seal(&self, kid: &str, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        self.sealing.seal(kid, secret)
    }

    /// Decrypts what [`Self::seal`] encrypted for the same id.
    pub(crate) fn open(&self, kid: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.sealing.open(kid, sealed)
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
pub(crate) fn refresh_token() -> Result<RefreshToken, SealError> {
    sealing::random().map(|bytes| RefreshToken::from_random(*bytes))
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
    use super::*;

    #[test]
    fn decoy_ids_are_stable_and_look_random() {
        let secrets = Secrets::derive(&MasterKey::new("identity", &[7; 32])).unwrap();
        let id = |email: &str, password: &str| {
            secrets.decoy_id(TenantId::DEFAULT, &Email::new(email), &Password::from(password))
        };

        assert_eq!(id("a@x.com", "secret"), id("A@X.com", "secret"));
        assert_ne!(id("a@x.com", "secret"), id("a@x.com", "Secret"));
        assert_ne!(id("a@x.com", "secret"), id("a@x.co", "msecret"));
        assert_eq!(id("a@x.com", "secret").as_uuid().get_version_num(), 4);
    }
}
