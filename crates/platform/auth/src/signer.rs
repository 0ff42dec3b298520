//! Signs access tokens.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::{Claims, Jwk};

/// A signing key could not be made, read or used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SignerError {
    /// The system could not make a key.
    #[error("cannot generate a signing key")]
    Generate,
    /// The bytes are no PKCS#8 RSA key of at least 2048 bits.
    #[error("not an RSA private key in PKCS#8")]
    Key,
    /// The key could not sign.
    #[error("cannot sign a token")]
    Sign,
}

/// Signs access tokens with one RSA key (RS256).
pub struct TokenSigner {
    // Parsed once: jsonwebtoken parses and checks the private key again for every signature.
    key: KeyPair,
    public: Jwk,
}

#[derive(Serialize)]
struct SignedHeader<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

impl TokenSigner {
    /// Makes a new RSA key of 2048 bits. Takes tens of milliseconds of CPU.
    pub fn generate() -> Result<Self, SignerError> {
        KeyPair::generate(KeySize::Rsa2048).map(Self::new).map_err(|_| SignerError::Generate)
    }

    /// Reads a key that [`Self::to_pkcs8`] wrote.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, SignerError> {
        KeyPair::from_pkcs8(der).map(Self::new).map_err(|_| SignerError::Key)
    }

    fn new(key: KeyPair) -> Self {
        let public_key = key.public_key();
        let modulus = public_key.modulus().big_endian_without_leading_zero().to_vec();
        let exponent = public_key.exponent().big_endian_without_leading_zero().to_vec();
        Self { public: Jwk::rs256(&modulus, &exponent), key }
    }

    /// The private key in PKCS#8, DER: a secret. The buffer is cleared when it is dropped.
    pub fn to_pkcs8(&self) -> Result<Pkcs8V1Der<'static>, SignerError> {
        self.key.as_der().map_err(|_| SignerError::Key)
    }

    /// The id of the key, which is the RFC 7638 thumbprint of its public half.
    pub fn kid(&self) -> &str {
        &self.public.kid
    }

    /// The public half.
    pub fn public_jwk(&self) -> &Jwk {
        &self.public
    }

    /// Signs a token. Takes about a millisecond of CPU.
    pub fn sign(&self, claims: &Claims) -> Result<String, SignerError> {
        let header = SignedHeader { alg: "RS256", typ: "JWT", kid: self.kid() };
        let mut token = format!("{}.{}", encode(&header)?, encode(claims)?);
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature)
            .map_err(|_| SignerError::Sign)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

fn encode(part: &impl Serialize) -> Result<String, SignerError> {
    let json = serde_json::to_vec(part).map_err(|_| SignerError::Sign)?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSigner").field("kid", &self.kid()).finish_non_exhaustive()
    }
}
