//! The keys that sign access tokens: one signs, older ones only verify.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use auth::{Claims, Jwk, KeyError, KeySource, TokenSigner};
use clock::Clock;
use tokio::sync::Mutex;
use tokio::task;
use tokio::time::Instant;

use crate::config::Config;
use crate::error::IdentityError;
use crate::secrets::Secrets;
use crate::store::{Store, key_replace_in_txn};

/// Age at which the keys are read again: how long a replica may not know of a rotation.
const RELOAD_AFTER: Duration = Duration::from_secs(1);

/// Longest time that a call waits for the keys to be read again; then it takes those at hand.
const RELOAD_TIMEOUT: Duration = Duration::from_millis(500);

/// Longest life of a development token, by contract.
const DEVELOPMENT_TOKEN_LIFETIME_MAX: Duration = Duration::from_hours(24);

/// How far clocks of the mesh may stand apart, and how long a replica may sign with the old key.
const RETIREMENT_SLACK: Duration = Duration::from_mins(1);

/// Signing keys of the installation, shared by all replicas through the database.
pub(crate) struct SigningKeys {
    store: Store,
    secrets: Arc<Secrets>,
    clock: Clock,
    /// Age at which a key is replaced.
    lifetime: Duration,
    /// How long a key is published after it retired.
    retention: Duration,
    keys: ArcSwap<Keys>,
    /// Held while the keys are read, so that one call does it and the others go on.
    reloading: Mutex<()>,
}

struct Keys {
    signer: Arc<TokenSigner>,
    /// Newest first.
    published: Vec<Jwk>,
    read_at: Instant,
}

impl SigningKeys {
    /// Reads the keys; makes the first one when there is none.
    pub(crate) async fn start(
        store: Store,
        secrets: Arc<Secrets>,
        clock: Clock,
        config: &Config,
    ) -> Result<Self, IdentityError> {
        replace(&store, &secrets, &clock, Duration::MAX).await?;
        let keys = read(&store, &secrets, None).await?;
        Ok(Self {
            store,
            secrets,
            clock,
            lifetime: config.signing_key_lifetime,
            retention: retention(config),
            keys: ArcSwap::from_pointee(keys),
            reloading: Mutex::new(()),
        })
    }

    /// Signs a token with the newest key.
    pub(crate) async fn sign(&self, claims: Claims) -> Result<String, IdentityError> {
        let key = Arc::clone(&self.fresh().await.signer);
        // About a millisecond of CPU: too much for an async thread that others wait for.
        let signed = task::spawn_blocking(move || key.sign(&claims)).await;
        Ok(signed.map_err(|_| IdentityError::Crypto)??)
    }

    /// The public keys, newest first. Those at hand when the database does not answer.
    pub(crate) async fn published(&self) -> Vec<Jwk> {
        self.fresh().await.published.clone()
    }

    /// Replaces the signing key, whatever its age. Returns the id of the new one.
    pub(crate) async fn rotate(&self) -> Result<String, IdentityError> {
        self.rotate_after(Duration::ZERO).await
    }

    /// Replaces the signing key when it is old, and removes keys whose last token has expired.
    pub(crate) async fn tend(&self) -> Result<(), IdentityError> {
        self.rotate_after(self.lifetime).await?;
        Ok(self.store.keys_delete_retired(self.clock.now() - self.retention).await?)
    }

    async fn rotate_after(&self, age: Duration) -> Result<String, IdentityError> {
        let kid = replace(&self.store, &self.secrets, &self.clock, age).await?;
        if self.keys.load().signer.kid() != kid {
            let _one_at_a_time = self.reloading.lock().await;
            self.reload().await;
        }
        Ok(kid)
    }

    async fn fresh(&self) -> Arc<Keys> {
        if self.keys.load().read_at.elapsed() >= RELOAD_AFTER
            && let Ok(_one_at_a_time) = self.reloading.try_lock()
        {
            self.reload().await;
        }
        self.keys.load_full()
    }

    async fn reload(&self) {
        let old = self.keys.load_full();
        let reading = read(&self.store, &self.secrets, Some(&old.signer));
        let keys = match tokio::time::timeout(RELOAD_TIMEOUT, reading).await {
            Ok(Ok(keys)) => keys,
            failed => {
                let error = failed.map(|read| read.err().map(|error| error.to_string()));
                tracing::warn!(?error, "keeping the signing keys at hand");
                let (signer, published) = (Arc::clone(&old.signer), old.published.clone());
                Keys { signer, published, read_at: Instant::now() }
            }
        };
        self.keys.store(Arc::new(keys));
    }
}

/// Identity verifies with its own keys.
#[async_trait]
impl KeySource for SigningKeys {
    async fn fetch(&self) -> Result<Vec<Jwk>, KeyError> {
        Ok(self.published().await)
    }
}

/// How long a key is published after it signed its last token.
fn retention(config: &Config) -> Duration {
    let longest = if config.development_tokens {
        config.access_token_lifetime.max(DEVELOPMENT_TOKEN_LIFETIME_MAX)
    } else {
        config.access_token_lifetime
    };
    longest + RETIREMENT_SLACK
}

/// Makes a new signing key when there is none or it has reached `age`, once however many replicas
/// want to. Returns the id of the key that signs.
async fn replace(
    store: &Store,
    secrets: &Secrets,
    clock: &Clock,
    age: Duration,
) -> Result<String, IdentityError> {
    let (mut tx, active) = store.keys_lock().await?;
    let now = clock.now();
    if let Some(active) = active
        && (now - active.created_at).to_std().unwrap_or_default() < age
    {
        return Ok(active.kid);
    }
    let signer =
        task::spawn_blocking(TokenSigner::generate).await.map_err(|_| IdentityError::Crypto)??;
    let sealed = secrets.seal(signer.kid(), signer.to_pkcs8()?.as_ref())?;
    key_replace_in_txn(&mut tx, signer.public_jwk(), &sealed, now).await?;
    tx.commit().await?;
    tracing::info!(kid = signer.kid(), "signing with a new key");
    Ok(signer.kid().to_owned())
}

async fn read(
    store: &Store,
    secrets: &Secrets,
    known: Option<&Arc<TokenSigner>>,
) -> Result<Keys, IdentityError> {
    let stored = store.keys_fetch().await?;
    let newest = stored.first().ok_or(IdentityError::Crypto)?;
    let kid = &newest.public.kid;
    let signer = match known {
        Some(signer) if signer.kid() == kid => Arc::clone(signer),
        _ => {
            let sealed = newest.sealed.as_deref().ok_or(IdentityError::Crypto)?;
            let private = secrets
                .open(kid, sealed)
                .map_err(|_| IdentityError::SealedKey { kid: kid.clone() })?;
            Arc::new(TokenSigner::from_pkcs8(&private)?)
        }
    };
    let published = stored.into_iter().map(|key| key.public).collect();
    Ok(Keys { signer, published, read_at: Instant::now() })
}
