//! Issuers of the tests: keys of every kind, and what they sign.

use auth::TokenSigner;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

/// The time at which the tests begin.
pub(crate) fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

/// A key pair with its published half.
#[derive(Clone)]
pub(crate) struct TestKey {
    pub(crate) jwk: Value,
    algorithm: Algorithm,
    private: EncodingKey,
}

impl TestKey {
    pub(crate) fn rsa(kid: &str, algorithm: Algorithm) -> Self {
        let signer = TokenSigner::generate().unwrap();
        let der = STANDARD.encode(signer.to_pkcs8().unwrap().as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
        let mut jwk = serde_json::to_value(signer.public_jwk()).unwrap();
        jwk["kid"] = json!(kid);
        jwk["alg"] = json!(algorithm);
        Self { jwk, algorithm, private: EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap() }
    }

    pub(crate) fn p256(kid: &str) -> Self {
        Self::ec(kid, "P-256", Algorithm::ES256, &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    pub(crate) fn p384(kid: &str) -> Self {
        Self::ec(kid, "P-384", Algorithm::ES384, &ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    fn ec(
        kid: &str,
        crv: &str,
        algorithm: Algorithm,
        signing: &'static EcdsaSigningAlgorithm,
    ) -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(signing, pkcs8.as_ref()).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
        let jwk = json!({
            "kty": "EC", "crv": crv, "kid": kid, "use": "sig",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        });
        Self { jwk, algorithm, private: EncodingKey::from_ec_der(pkcs8.as_ref()) }
    }

    pub(crate) fn ed25519(kid: &str) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let pkcs8 = pair.to_pkcs8v1().unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x });
        let private = EncodingKey::from_ed_der(pkcs8.as_ref());
        Self { jwk, algorithm: Algorithm::EdDSA, private }
    }

    /// The same key pair, for another algorithm.
    pub(crate) fn signing(&self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self.clone() }
    }

    pub(crate) fn header(&self) -> Value {
        json!({ "alg": self.algorithm, "typ": "JWT", "kid": self.jwk["kid"] })
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_text(&self.header().to_string(), &claims.to_string())
    }

    /// Signs a token to the letter, as no library would make it.
    pub(crate) fn sign_text(&self, header: &str, payload: &str) -> String {
        let encode = |part: &str| URL_SAFE_NO_PAD.encode(part);
        let body = format!("{}.{}", encode(header), encode(payload));
        let signature = jsonwebtoken::crypto::sign(body.as_bytes(), &self.private, self.algorithm);
        format!("{body}.{}", signature.unwrap())
    }
}

/// A JSON Web Key Set.
pub(crate) fn set(keys: &[&TestKey]) -> String {
    json!({ "keys": keys.iter().map(|key| &key.jwk).collect::<Vec<_>>() }).to_string()
}

/// Claims that count for 15 minutes from the start of the tests.
pub(crate) fn claims(issuer: &str) -> Value {
    let now = start().timestamp();
    json!({ "iss": issuer, "aud": "api", "sub": "alice", "exp": now + 900, "nbf": now })
}

/// The claims with one of them changed.
pub(crate) fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}
