//! Hashes and checks passwords, off the async threads and a few at a time.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use argon2::password_hash::phc::PasswordHash;
use argon2::{
    ARGON2ID_IDENT, Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version,
};
use tokio::sync::Semaphore;
use tokio::task;
use zeroize::Zeroizing;

use crate::config::PasswordConfig;

/// bcrypt looks at no more of a password than this.
const BCRYPT_BYTES_MAX: usize = 72;

/// A password could not be hashed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a password could not be hashed")]
pub(crate) struct HashError;

/// A password in clear, erased from memory when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Password(Arc<Zeroizing<String>>);

impl Password {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

/// Hashes with Argon2id; checks Argon2id and bcrypt. Clones share the limit on work at once.
#[derive(Clone)]
pub(crate) struct Passwords {
    argon2: Argon2<'static>,
    /// Hash of nobody's password, checked in place of one that does not exist.
    dummy: Arc<str>,
    permits: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new(config: &PasswordConfig) -> Result<Self, HashError> {
        let params = Params::new(config.memory_kib, config.passes, config.lanes, None)
            .map_err(|_| HashError)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let dummy = argon2.hash_password(b"").map_err(|_| HashError)?.to_string();
        let permits = Arc::new(Semaphore::new(config.concurrency_max.get()));
        Ok(Self { argon2, dummy: dummy.into(), permits })
    }

    /// Hashes a password under a new salt.
    pub(crate) async fn hash(&self, password: &Password) -> Result<String, HashError> {
        let (argon2, password) = (self.argon2.clone(), password.clone());
        self.run(move || argon2.hash_password(password.as_bytes()).map(|hash| hash.to_string()))
            .await?
            .map_err(|_| HashError)
    }

    /// Whether the password fits the hash. Without a hash, no, after the same work.
    pub(crate) async fn verify(
        &self,
        password: &Password,
        hash: Option<&str>,
    ) -> Result<bool, HashError> {
        let known = hash.is_some();
        let hash = hash.unwrap_or(&self.dummy).to_owned();
        let (argon2, password) = (self.argon2.clone(), password.clone());
        let fits = self.run(move || verify(&argon2, &password, &hash)).await?;
        Ok(fits && known)
    }

    /// Whether the hash of this password, which fits it, is to be replaced by a new one.
    pub(crate) fn is_outdated(&self, password: &Password, hash: &str) -> bool {
        if is_bcrypt(hash) {
            // Of a longer password bcrypt has confirmed only the beginning.
            return password.as_bytes().len() <= BCRYPT_BYTES_MAX;
        }
        let Ok(hash) = PasswordHash::new(hash) else { return true };
        let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
        hash.algorithm != ARGON2ID_IDENT
            || Params::try_from(&hash).map(|used| cost(&used)) != Ok(cost(self.argon2.params()))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let waiting = Instant::now();
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| HashError)?;
        metrics::histogram!("identity_hash_wait_seconds").record(waiting.elapsed());
        // The permit goes along: the work goes on when the call that wants it is cancelled.
        let work = task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        work.await.map_err(|_| HashError)
    }
}

fn verify(argon2: &Argon2<'_>, password: &Password, hash: &str) -> bool {
    if is_bcrypt(hash) {
        return bcrypt::verify(password.as_bytes(), hash).unwrap_or(false);
    }
    PasswordHash::new(hash)
        .is_ok_and(|hash| argon2.verify_password(password.as_bytes(), &hash).is_ok())
}

fn is_bcrypt(hash: &str) -> bool {
    ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use super::*;

    fn passwords(passes: u32) -> Passwords {
        let config = PasswordConfig { memory_kib: 64, passes, ..PasswordConfig::default() };
        Passwords::new(&config).unwrap()
    }

    async fn fits(password: &str, hash: &str) -> bool {
        passwords(1).verify(&password.into(), Some(hash)).await.unwrap()
    }

    /// L-66: hashes that other programs made with bcrypt at 10 rounds.
    #[tokio::test]
    async fn bcrypt_of_all_its_prefixes_is_verified() {
        let hash = bcrypt::hash("correct horse", 10).unwrap();
        for prefix in ["$2a$", "$2b$", "$2y$"] {
            let hash = hash.replacen("$2b$", prefix, 1);

            assert!(fits("correct horse", &hash).await, "{prefix}");
            assert!(!fits("correct hors", &hash).await, "{prefix}");
            assert!(passwords(1).is_outdated(&"correct horse".into(), &hash));
        }
    }

    #[tokio::test]
    async fn argon2id_is_verified_with_the_cost_it_was_made_with() {
        let password = Password::from("correct horse");
        let hash = passwords(3).hash(&password).await.unwrap();

        assert!(hash.starts_with("$argon2id$v=19$m=64,t=3,p=1$"), "{hash}");
        assert!(fits("correct horse", &hash).await);
        assert!(!fits("Correct horse", &hash).await);
        assert!(passwords(1).is_outdated(&password, &hash));
        assert!(!passwords(3).is_outdated(&password, &hash));
    }

    #[tokio::test]
    async fn nothing_fits_a_missing_or_broken_hash() {
        let passwords = passwords(1);
        for password in ["", "anything"] {
            assert!(!passwords.verify(&password.into(), None).await.unwrap());
            for broken in ["", "$2b$10$short", "$argon2id$v=19$", "plain"] {
                assert!(!fits(password, broken).await, "{broken}");
            }
        }
    }

    #[test]
    fn what_bcrypt_did_not_see_of_a_password_does_not_become_part_of_it() {
        let hash = bcrypt::hash("x".repeat(72), 4).unwrap();

        assert!(passwords(1).is_outdated(&"x".repeat(72).into(), &hash));
        assert!(!passwords(1).is_outdated(&"x".repeat(73).into(), &hash));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_flood_of_logins_hashes_a_few_at_a_time() {
        let config = PasswordConfig {
            memory_kib: 64,
            concurrency_max: NonZeroUsize::MIN,
            ..PasswordConfig::default()
        };
        let passwords = Passwords::new(&config).unwrap();
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let busy = tokio::spawn({
            let passwords = passwords.clone();
            async move { passwords.run(move || blocked.recv()).await }
        });
        while passwords.permits.available_permits() > 0 {
            task::yield_now().await;
        }

        let password = Password::from("x");
        let waiting = passwords.hash(&password);
        assert!(tokio::time::timeout(Duration::from_millis(50), waiting).await.is_err());
        release.send(()).unwrap();
        assert!(passwords.hash(&password).await.is_ok());
        busy.await.unwrap().unwrap().unwrap();
    }

    #[test]
    fn default_cost_is_that_of_owasp() {
        let config = PasswordConfig::default();

        assert_eq!((config.memory_kib, config.passes, config.lanes), (19_456, 2, 1));
    }

    #[test]
    fn passwords_never_show() {
        assert_eq!(format!("{:?}", Password::from("secret")), "Password(***)");
    }
}
