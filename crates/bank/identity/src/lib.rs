//! Who a user is: credentials, sessions, tokens, roles.
//!
//! Invariants:
//!
//! - An answer, and as far as possible its time, does not tell whether an e-mail is registered.
//! - A password is stored as an Argon2id hash alone (bcrypt hashes of other systems are replaced
//!   at the first login), a refresh token as its SHA-256, a signing key under a key that is not in
//!   the database.
//! - A refresh token works once. A second use ends its session, without a period of grace: whoever
//!   sends one request twice has to log in again.
//! - Every attempt on an e-mail is counted before it is made; a successful login clears the count.

mod config;
mod domain;
mod error;
mod identity;
mod keys;
mod passwords;
mod provisioning;
mod secrets;
mod service;
mod store;

use std::sync::Arc;

use auth::{TokenVerifier, VerifierConfig};
use clock::Clock;
use contracts::identity::v1::identity_service_server::IdentityServiceServer;
use mesh::Mesh;
use storage::Database;

pub use config::{Config, LockoutConfig, PasswordConfig};
pub use error::StartError;

use identity::Identity;
use keys::SigningKeys;
use passwords::Passwords;
use provisioning::Provisioning;
use secrets::Secrets;
use service::Grpc;
use store::Store;

/// Brings the schema up to date, makes the first signing key, and returns the service to be served.
///
/// Several replicas may start at once.
pub async fn start(
    config: Config,
    mesh: &Mesh,
    database: Database,
    clock: Clock,
) -> Result<mesh::Service, StartError> {
    let secrets = Secrets::read(&config.key_encryption_key).map_err(|source| {
        StartError::KeyEncryptionKey { path: config.key_encryption_key.clone(), source }
    })?;
    let secrets = Arc::new(secrets);
    let passwords = Passwords::new(&config.passwords).map_err(|_| StartError::Passwords)?;
    database.migrate(&sqlx::migrate!()).await?;
    let check = database.check();
    let store = Store::new(database);
    let keys = SigningKeys::start(store.clone(), Arc::clone(&secrets), clock.clone(), &config);
    let keys = Arc::new(keys.await?);
    let verifier =
        TokenVerifier::new(Arc::clone(&keys) as _, VerifierConfig::default(), clock.clone());
    let provisioning = Provisioning::new(mesh);
    let identity =
        Arc::new(Identity { store, keys, secrets, passwords, provisioning, clock, config });
    Ok(service(identity).verifier(verifier).check("postgres", check))
}

fn service(identity: Arc<Identity>) -> mesh::Service {
    let housekeeper = Arc::clone(&identity);
    mesh::Service::new("identity").mount(IdentityServiceServer::new(Grpc(identity))).task(
        "housekeeping",
        move || {
            let identity = Arc::clone(&housekeeper);
            async move { identity.keep_house().await }
        },
    )
}
