//! Rules of logins and sessions; no gRPC, no SQL, no clock.

use std::fmt;
use std::time::Duration;

use auth::{Role, UserId};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use zeroize::Zeroizing;

use crate::config::LockoutConfig;

/// An e-mail address in lower case. Its `Debug` form hides it.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Email(String);

impl Email {
    /// Takes an address in any case.
    pub(crate) fn new(text: &str) -> Self {
        // PostgreSQL stores no U+0000; as another character it is an address that nobody has.
        Self(text.to_lowercase().replace('\0', "\u{fffd}"))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(***)")
    }
}

/// What identity keeps of a person.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) email: Email,
    pub(crate) password_hash: String,
    pub(crate) roles: Vec<Role>,
    /// What is left to be told to customers; `None` when account and profile exist.
    pub(crate) unprovisioned: Option<Profile>,
}

/// What a person said at registration and customers keeps.
#[derive(Clone)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) address: String,
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Profile(***)")
    }
}

/// A token that buys the next pair of tokens, once: 256 random bits.
pub(crate) struct RefreshToken(Zeroizing<String>);

impl RefreshToken {
    pub(crate) fn from_random(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

/// SHA-256 of a refresh token: what is stored. The token has too many bits to be guessed from it.
pub(crate) struct TokenHash([u8; 32]);

impl TokenHash {
    pub(crate) fn of(token: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(hash)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A stored refresh token with its session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenState {
    pub(crate) expires_at: DateTime<Utc>,
    /// It was traded before.
    pub(crate) rotated: bool,
    /// Its session was ended.
    pub(crate) revoked: bool,
}

/// What to do with a refresh token that somebody shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// Trade it.
    Rotate,
    /// Refuse it.
    Refuse,
    /// Refuse it and end its session: two hold the same token, and one of them stole it.
    Revoke,
}

impl TokenState {
    pub(crate) fn judge(self, now: DateTime<Utc>) -> Verdict {
        match self {
            Self { revoked: true, .. } => Verdict::Refuse,
            Self { rotated: true, .. } => Verdict::Revoke,
            Self { expires_at, .. } if expires_at <= now => Verdict::Refuse,
            _ => Verdict::Rotate,
        }
    }
}

impl LockoutConfig {
    /// How long the e-mail is locked once that many attempts were made without a success.
    pub(crate) fn delay_after(&self, attempts: u32) -> Option<Duration> {
        let doublings = attempts.checked_sub(self.attempts_max)?;
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        Some(self.delay_first.saturating_mul(factor).min(self.delay_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_begin_at_the_fifth_attempt_and_double_up_to_a_limit() {
        let lockout = LockoutConfig::default();
        let table = [
            (1, None),
            (4, None),
            (5, Some(30)),
            (6, Some(60)),
            (7, Some(120)),
            (8, Some(240)),
            (9, Some(480)),
            (10, Some(900)),
            (36, Some(900)),
            (37, Some(900)),
            (u32::MAX, Some(900)),
        ];
        for (attempts, seconds) in table {
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(lockout.delay_after(attempts), expected, "{attempts}");
        }
    }

    #[test]
    fn refresh_tokens_are_judged_in_this_order() {
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let later = now + Duration::from_secs(1);
        let table = [
            // rotated, revoked, expires
            (false, false, later, Verdict::Rotate),
            (false, false, now, Verdict::Refuse),
            (true, false, later, Verdict::Revoke),
            (true, false, now, Verdict::Revoke),
            (false, true, later, Verdict::Refuse),
            (true, true, later, Verdict::Refuse),
        ];
        for (rotated, revoked, expires_at, verdict) in table {
            let state = TokenState { expires_at, rotated, revoked };
            assert_eq!(state.judge(now), verdict, "{state:?}");
        }
    }

    #[test]
    fn emails_compare_without_case_and_never_show() {
        let email = Email::new("Ana.SOUZA@Example.com");

        assert_eq!(email.as_str(), "ana.souza@example.com");
        assert_eq!(email, Email::new("ana.souza@example.COM"));
        assert!(!format!("{email:?}").contains("ana"));
        assert!(!Email::new("a\0b").as_str().contains('\0'));
    }
}
