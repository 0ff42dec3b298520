//! Measures what a token costs: seen before, and never seen. `--json` prints one object.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auth::{
    AUDIENCE, Claims, ISSUER, IssuerConfig, Role, StaticKeys, TenantId, TokenSigner, TokenVerifier,
    UserId, Verifier, VerifierConfig,
};
use clock::Clock;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};

const TOKENS: usize = 2_000;
const LOOKS: usize = 1_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let signer = TokenSigner::generate().unwrap();
    let tokens: Vec<String> = (0..TOKENS).map(|_| token(&signer)).collect();
    let keys = || Arc::new(StaticKeys::new(vec![signer.public_jwk().clone()]));
    let issuers = [IssuerConfig::malha()];
    let verifier = Verifier::new(&issuers, Some(keys()), Clock::system()).unwrap();
    verifier.verify(&token(&signer)).await.unwrap();

    let started = Instant::now();
    for token in &tokens {
        black_box(verifier.verify(token).await.unwrap());
    }
    let fresh_us = started.elapsed().as_secs_f64() * 1e6 / count(TOKENS);

    let jsonwebtoken_us = jsonwebtoken(&signer, &tokens);

    // One token again and again, as a busy client sends it; then all, which no cache of a core holds.
    let one = per_look(LOOKS * TOKENS, (0..LOOKS * TOKENS).map(|_| &tokens[0]), &verifier);
    let many = per_look(LOOKS * TOKENS, (0..LOOKS).flat_map(|_| &tokens), &verifier);

    let mesh = TokenVerifier::new(keys(), VerifierConfig::default(), Clock::system());
    mesh.verify(&tokens[0]).await.unwrap();
    let started = Instant::now();
    for _ in 0..LOOKS * TOKENS {
        black_box(mesh.verify(&tokens[0]).await.unwrap());
    }
    let mesh_ns = started.elapsed().as_secs_f64() * 1e9 / count(LOOKS * TOKENS);

    let bytes = tokens[0].len();
    if std::env::args().any(|argument| argument == "--json") {
        println!(
            r#"{{"token_bytes":{bytes},"fresh_us":{fresh_us:.1},"jsonwebtoken_us":{jsonwebtoken_us:.1},"cached_ns":{one:.0},"cached_many_ns":{many:.0},"mesh_cached_ns":{mesh_ns:.0}}}"#
        );
    } else {
        println!("token                     {bytes} bytes");
        println!("never seen                {fresh_us:.1} µs");
        println!("  by jsonwebtoken         {jsonwebtoken_us:.1} µs, decoding alone");
        println!("seen before               {one:.0} ns");
        println!("seen before, one of {TOKENS}  {many:.0} ns");
        println!("in the mesh, seen before  {mesh_ns:.0} ns");
    }
}

/// What the usual crate takes to decode them, without looking for keys and without remembering.
fn jsonwebtoken(signer: &TokenSigner, tokens: &[String]) -> f64 {
    let jwk = signer.public_jwk();
    let key = DecodingKey::from_rsa_components(&jwk.n, &jwk.e).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    let started = Instant::now();
    for token in tokens {
        black_box(jsonwebtoken::decode::<Claims>(token, &key, &validation).unwrap());
    }
    started.elapsed().as_secs_f64() * 1e6 / count(tokens.len())
}

fn per_look<'t>(
    looks: usize,
    tokens: impl Iterator<Item = &'t String>,
    verifier: &Verifier,
) -> f64 {
    let started = Instant::now();
    let mut found = 0;
    for token in tokens {
        found += usize::from(black_box(verifier.cached(token)).is_some_and(|token| token.is_ok()));
    }
    let elapsed = started.elapsed();
    // Two tokens may ask for one place.
    assert!(found * 10 > looks * 9, "{found} of {looks} were cached");
    elapsed.as_secs_f64() * 1e9 / count(looks)
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn count(number: usize) -> f64 {
    number as f64
}

/// A token of about 800 bytes.
fn token(signer: &TokenSigner) -> String {
    let ttl = Duration::from_mins(15);
    let roles = vec![Role::Customer, Role::Viewer, Role::Analyst];
    let now = Clock::system().now();
    signer.sign(&Claims::new(UserId::random(), TenantId::DEFAULT, roles, now, ttl)).unwrap()
}
