//! What both gateways are given: certificates, the contract, keys, tokens, requests.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use auth::{Claims, TenantId, TokenSigner, UserId};
use contracts::policy::Role;
use prost_types::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::backend::shop::{Address, Order, Status};
use super::load::Requests;

/// Folder of the certificates.
pub(super) const CERTS: &str = "certs";

/// The contract and what it imports, as a descriptor set.
pub(super) const CONTRACT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shop.bin"));

/// Tokens that follow one another, more than twice as many as either gateway remembers.
const FRESH: usize = 40_000;

/// Tokens that Envoy is told to remember.
pub(super) const REMEMBERED: usize = 1_000;

/// Files that both gateways read, and requests that both get.
pub(super) struct Material {
    /// An access token that counts for a day.
    pub(super) token: String,
    /// A descriptor set of the contract, its imports included.
    pub(super) contract: PathBuf,
    /// The key set of the issuer.
    pub(super) keys: PathBuf,
    get: PathBuf,
    post: PathBuf,
    fresh: PathBuf,
}

impl Material {
    /// Makes all of it in a folder.
    pub(super) fn make(folder: &Path) -> Result<Self> {
        let certs = folder.join(CERTS);
        mesh::certs::init(&certs)?;
        for name in ["orders", "gateway", "edge"] {
            mesh::certs::issue(&certs, name)?;
        }
        let signer = TokenSigner::generate()?;
        let token = token(&signer)?;
        let fresh = tokens(&signer, FRESH)?;
        let file = |name: &str, content: &[u8]| -> Result<PathBuf> {
            let path = folder.join(name);
            fs::write(&path, content)?;
            Ok(path)
        };
        Ok(Self {
            contract: file("shop.bin", CONTRACT)?,
            keys: file("jwks.json", json!({"keys": [signer.public_jwk()]}).to_string().as_bytes())?,
            get: file("get.lua", script(&[&token], GET).as_bytes())?,
            post: file("post.lua", script(&[&token], &post()).as_bytes())?,
            fresh: file("fresh.lua", script(&fresh, GET).as_bytes())?,
            token,
        })
    }

    /// One order after another, with one token.
    pub(super) fn get(&self) -> Requests {
        Requests { script: self.get.clone() }
    }

    /// Orders of ten fields, with one token.
    pub(super) fn post(&self) -> Requests {
        Requests { script: self.post.clone() }
    }

    /// One order after another, each with a token that was not seen lately.
    pub(super) fn fresh(&self) -> Requests {
        Requests { script: self.fresh.clone() }
    }
}

/// Many tokens; signing takes longer than anything else here.
fn tokens(signer: &TokenSigner, count: usize) -> Result<Vec<String>> {
    let threads = thread::available_parallelism()?.get();
    thread::scope(|scope| {
        let sign = || (0..count.div_ceil(threads)).map(|_| token(signer)).collect();
        let signing: Vec<_> = (0..threads).map(|_| scope.spawn(sign)).collect();
        let tokens = signing.into_iter().map(|thread| -> Result<Vec<String>> {
            thread.join().ok().context("a thread that signs tokens panicked")?
        });
        Ok(tokens.collect::<Result<Vec<_>>>()?.concat())
    })
}

fn token(signer: &TokenSigner) -> Result<String> {
    let user = UserId::from(Uuid::new_v4());
    let now = clock::Clock::system().now();
    let day = Duration::from_hours(24);
    Ok(signer.sign(&Claims::new(user, TenantId::DEFAULT, vec![Role::Customer], now, day))?)
}

const GET: &str =
    r#"return wrk.format("GET", "/v1/orders/0198c0de-7000-7000-8000-000000000001", headers)"#;

/// The order that the service answers, as JSON.
pub(super) const ORDER: &str = concat!(
    r#"{"id":"0198c0de-7000-7000-8000-000000000001","#,
    r#""customerId":"0198c0de-7000-7000-8000-000000000002","#,
    r#""description":"three chairs and a table","amountMinor":"129900","currency":"BRL","#,
    r#""status":"STATUS_PLACED","parcels":4,"paid":true,"placedAt":"2026-11-22T12:34:56.789Z","#,
    r#""address":{"street":"Rua da Aurora 1","city":"Recife","postalCode":"50050-000"}}"#,
);

fn post() -> String {
    format!(r#"return wrk.format("POST", "/v1/orders", headers, '{ORDER}')"#)
}

/// A wrk script that sends `request` with one token after the other. All is written beforehand: wrk is
/// not to be what is measured.
fn script(tokens: &[impl AsRef<str>], request: &str) -> String {
    let mut script = "tokens = {}\n".to_owned();
    for token in tokens {
        // A String takes all that is written.
        let _ = writeln!(script, r#"tokens[#tokens + 1] = "Bearer {}""#, token.as_ref());
    }
    script.push_str(
        r#"
headers = { ["content-type"] = "application/json" }
written = {}
init = function()
  for at, token in ipairs(tokens) do
    headers["authorization"] = token
    written[at] = format()
  end
end
at = 0
request = function()
  at = at % #written + 1
  return written[at]
end
format = function()
  "#,
    );
    script + request + "\nend\n"
}

/// The order that the service answers.
pub(super) fn order(id: String) -> Order {
    Order {
        id,
        customer_id: "0198c0de-7000-7000-8000-000000000002".to_owned(),
        description: "three chairs and a table".to_owned(),
        amount_minor: 129_900,
        currency: "BRL".to_owned(),
        status: Status::Placed.into(),
        parcels: 4,
        paid: true,
        placed_at: Some(Timestamp { seconds: 1_795_350_896, nanos: 789_000_000 }),
        address: Some(Address {
            street: "Rua da Aurora 1".to_owned(),
            city: "Recife".to_owned(),
            postal_code: "50050-000".to_owned(),
        }),
    }
}
