//! Who calls: ids of users and tenants, access tokens, and the keys that prove them.
//!
//! identity signs our own tokens with a [`TokenSigner`] (RS256 JSON Web Tokens, RFC 7519); every
//! service verifies them again with a [`TokenVerifier`], which asks no other service on the hot
//! path. The edge trusts further issuers by its settings, with a [`Verifier`]. Invariants:
//!
//! - There is one way to verify a token: `verify`. Whoever trusts one issuer takes the same way.
//! - A key is found by the `kid` of the token among those of the token's issuer, never in the token
//!   itself, and is used only for the algorithms that both the issuer's settings and the key name.
//! - A [`Verified`] exists only for a token whose signature, issuer, audience and times hold; a
//!   [`Principal`] only for one of our own.
//! - What was verified is forgotten when its key is withdrawn.

mod claims;
mod config;
mod ids;
mod jwk;
mod keys;
mod signer;
mod verifier;
mod verify;

pub use claims::{AUDIENCE, Claims, ISSUER, Principal, role_from_name, role_name};
pub use config::{Algorithm, ClaimsConfig, ConfigError, IssuerConfig, JwksUrl, KeysConfig};
pub use contracts::policy::Role;
pub use ids::{InvalidId, TenantId, UserId};
pub use jwk::{Jwk, KeyError, KeySource, StaticKeys};
pub use signer::{SignerError, TokenSigner};
pub use verifier::{TokenError, TokenVerifier, VerifierConfig};
pub use verify::{Verified, Verifier};
