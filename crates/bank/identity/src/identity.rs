//! The use cases: registration, login, sessions, roles.

use std::sync::Arc;
use std::time::Duration;

use auth::{Claims, Role, TenantId, UserId};
use clock::Clock;
use tokio::time::Instant;

use crate::config::Config;
use crate::domain::{Email, Profile, TokenHash, User};
use crate::error::IdentityError;
use crate::keys::SigningKeys;
use crate::passwords::{Password, Passwords};
use crate::provisioning::Provisioning;
use crate::secrets::{Attempted, Secrets, refresh_token};
use crate::store::{NewToken, Rotation, Store};

/// Everything that the use cases work with.
pub(crate) struct Identity {
    pub(crate) store: Store,
    pub(crate) keys: Arc<SigningKeys>,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) passwords: Passwords,
    pub(crate) provisioning: Provisioning,
    pub(crate) clock: Clock,
    pub(crate) config: Config,
}

/// Who registers, and how it will log in.
pub(crate) struct Registration {
    pub(crate) email: Email,
    pub(crate) password: Password,
    pub(crate) profile: Profile,
}

/// A fresh pair of tokens.
pub(crate) struct TokenPair {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Identity {
    /// Registers a person. Answers an id whether or not the e-mail was known, after the same work.
    pub(crate) async fn register(
        &self,
        tenant: TenantId,
        registration: Registration,
    ) -> Result<UserId, IdentityError> {
        let answer_at = Instant::now() + self.config.registration_time_min;
        let registered = self.register_untimed(tenant, registration).await;
        tokio::time::sleep_until(answer_at).await;
        registered
    }

    async fn register_untimed(
        &self,
        tenant: TenantId,
        registration: Registration,
    ) -> Result<UserId, IdentityError> {
        let Registration { email, password, profile } = registration;
        // Counted also when the e-mail is new: else registration would be a way to guess passwords.
        self.count_attempt(tenant, Attempted::Registration, &email).await?;
        let user = User {
            id: UserId::random(),
            email,
            password_hash: self.passwords.hash(&password).await?,
            roles: vec![Role::Customer],
            unprovisioned: Some(profile),
        };
        let user = self.store.user_insert_or_fetch(tenant, user, self.clock.now()).await?;
        // Superfluous for a new user, except for the time that it takes.
        if !self.passwords.verify(&password, Some(&user.password_hash)).await? {
            self.store.owner_tell(tenant, user.id, self.clock.now()).await?;
            return Ok(self.secrets.decoy_id(tenant, &user.email, &password));
        }
        self.complete_provisioning(tenant, &user).await?;
        Ok(user.id)
    }

    /// Checks a password and opens a session.
    pub(crate) async fn login(
        &self,
        tenant: TenantId,
        email: Email,
        password: Password,
    ) -> Result<TokenPair, IdentityError> {
        let subject = self.count_attempt(tenant, Attempted::Login, &email).await?;
        let user = self.store.user_by_email(tenant, &email).await?;
        let hash = user.as_ref().map(|user| user.password_hash.as_str());
        let fits = self.passwords.verify(&password, hash).await?;
        let Some(user) = user.filter(|_| fits) else {
            return Err(IdentityError::InvalidCredentials);
        };
        self.store.attempts_clear(tenant, &subject).await?;
        if self.passwords.is_outdated(&password, &user.password_hash) {
            let hash = self.passwords.hash(&password).await?;
            self.store.user_set_password_hash(tenant, &user, &hash).await?;
        }
        self.complete_provisioning(tenant, &user).await?;
        let refresh = refresh_token()?;
        self.store.session_open(tenant, user.id, &self.new_token(refresh.hash())).await?;
        let access = self.access_token(tenant, user.id, user.roles).await?;
        Ok(TokenPair { access, refresh: refresh.as_str().to_owned() })
    }

    /// Trades a refresh token for a fresh pair; ends the session when it was traded before.
    pub(crate) async fn refresh(
        &self,
        tenant: TenantId,
        shown: &TokenHash,
    ) -> Result<TokenPair, IdentityError> {
        let refresh = refresh_token()?;
        let next = self.new_token(refresh.hash());
        match self.store.token_rotate(tenant, shown, &next).await? {
            Rotation::Rotated { user, roles } => {
                let access = self.access_token(tenant, user, roles).await?;
                Ok(TokenPair { access, refresh: refresh.as_str().to_owned() })
            }
            Rotation::Revoked { user } => {
                metrics::counter!("identity_refresh_reuse_total").increment(1);
                tracing::warn!(userId = %user, "a refresh token was used twice; its session is over");
                Err(IdentityError::InvalidRefreshToken)
            }
            Rotation::Refused => Err(IdentityError::InvalidRefreshToken),
        }
    }

    /// Ends the session of a refresh token, if there is one.
    pub(crate) async fn logout(
        &self,
        tenant: TenantId,
        shown: &TokenHash,
    ) -> Result<(), IdentityError> {
        Ok(self.store.session_end(tenant, shown, self.clock.now()).await?)
    }

    /// Replaces the roles of a user.
    pub(crate) async fn set_roles(
        &self,
        tenant: TenantId,
        user: UserId,
        roles: &[Role],
    ) -> Result<(), IdentityError> {
        let found = self.store.user_set_roles(tenant, user, roles).await?;
        if found { Ok(()) } else { Err(IdentityError::UserNotFound) }
    }

    /// Signs a token for anybody, where the settings allow it.
    pub(crate) async fn development_token(
        &self,
        tenant: TenantId,
        user: UserId,
        roles: Vec<Role>,
        time_to_live: Option<Duration>,
    ) -> Result<String, IdentityError> {
        if !self.config.development_tokens {
            return Err(IdentityError::DevelopmentTokensOff);
        }
        let time_to_live = time_to_live.unwrap_or(self.config.access_token_lifetime);
        let now = self.clock.now();
        self.keys.sign(Claims::new(user, tenant, roles, now, time_to_live)).await
    }

    /// Removes what has expired and replaces an old signing key, again and again.
    pub(crate) async fn keep_house(&self) {
        loop {
            tokio::time::sleep(self.config.housekeeping_interval).await;
            let now = self.clock.now();
            if let Err(error) = self.store.expired_delete(&self.config.lockout, now).await {
                tracing::warn!(%error, "cannot remove expired rows");
            }
            if let Err(error) = self.keys.tend().await {
                tracing::warn!(%error, "cannot tend the signing keys");
            }
        }
    }

    /// Refuses when the e-mail is locked. Returns what the attempt was counted under.
    async fn count_attempt(
        &self,
        tenant: TenantId,
        attempted: Attempted,
        email: &Email,
    ) -> Result<Vec<u8>, IdentityError> {
        let subject = self.secrets.attempt_subject(attempted, email);
        let now = self.clock.now();
        let lockout = &self.config.lockout;
        match self.store.attempt_count(tenant, &subject, lockout, now).await? {
            None => Ok(subject),
            Some(until) => {
                metrics::counter!("identity_locked_total").increment(1);
                let retry_after = (until - now).to_std().unwrap_or_default();
                Err(IdentityError::TooManyAttempts { retry_after })
            }
        }
    }

    /// Makes account and profile if a registration was interrupted before they existed.
    async fn complete_provisioning(
        &self,
        tenant: TenantId,
        user: &User,
    ) -> Result<(), IdentityError> {
        let Some(profile) = user.unprovisioned.clone() else { return Ok(()) };
        self.provisioning.provision(user.id, &user.email, profile).await?;
        Ok(self.store.user_set_provisioned(tenant, user.id, self.clock.now()).await?)
    }

    fn new_token(&self, hash: TokenHash) -> NewToken {
        let now = self.clock.now();
        NewToken { hash, now, expires_at: now + self.config.refresh_token_lifetime }
    }

    async fn access_token(
        &self,
        tenant: TenantId,
        user: UserId,
        roles: Vec<Role>,
    ) -> Result<String, IdentityError> {
        let time_to_live = self.config.access_token_lifetime;
        let now = self.clock.now();
        self.keys.sign(Claims::new(user, tenant, roles, now, time_to_live)).await
    }
}
