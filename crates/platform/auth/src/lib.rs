//! Who calls: ids of users and tenants, access tokens, and the keys that prove them.
//!
//! Access tokens are RS256 JSON Web Tokens (RFC 7519). identity signs them with a
//! [`TokenSigner`]; every service verifies them again with a [`TokenVerifier`], which asks
//! no other service on the hot path. Invariants:
//!
//! - A key is found by the `kid` of the token among those of the [`KeySource`], never in the
//!   token itself, and is used for RS256 alone.
//! - A [`Principal`] exists only for a token whose signature, issuer, audience and times hold.

mod claims;
mod ids;
mod jwk;
mod keyring;
mod signer;
mod verifier;

pub use claims::{AUDIENCE, Claims, ISSUER, Principal, role_from_name, role_name};
pub use contracts::policy::Role;
pub use ids::{InvalidId, TenantId, UserId};
pub use jwk::{Jwk, KeyError, KeySource, StaticKeys};
pub use signer::{SignerError, TokenSigner};
pub use verifier::{TokenError, TokenVerifier, VerifierConfig};
