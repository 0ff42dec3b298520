//! Replacing the key that signs a ledger.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use engine::{Options, next_key_file};
use proof::{PublicKey, SigningKey};

use crate::engines::open;

/// A ledger with another key.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// The key before.
    pub old: PublicKey,
    /// The key from now on.
    pub new: PublicKey,
}

/// Lets a ledger that no process runs sign with a new key, and returns once that one has signed.
/// The old key is kept in a file of another name.
///
/// After a crash at any moment the ledger starts with the key that it named last. If that was a new
/// one, doing this again does what was left to do.
pub async fn rotate_key(options: &Options) -> Result<Rotated> {
    let next_file = next_key_file(&options.signing_key);
    let was_begun = next_file.exists();
    let old = read_key(&options.signing_key)?;
    let mut engine = open(options)?;
    let is_done = was_begun && !next_file.exists();
    if !is_done {
        engine.rotate_key(next_key(&next_file)?).await?;
        // When it starts, the new key takes the place of the old one and signs.
        drop(engine);
        engine = open(options)?;
    }
    let ledger = engine.reader().head().head.ledger;
    let new = read_key(&options.signing_key)?;
    Ok(Rotated { old: old.public(ledger), new: new.public(ledger) })
}

/// A new key in that file. The ledger has started with another one, so it never named what is there.
fn next_key(file: &Path) -> Result<SigningKey> {
    let written = || format!("the new key cannot be written to {}", file.display());
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(written);
        }
        _ => {}
    }
    let key = SigningKey::from_seed(&rand::random());
    engine::create_key(file, &key).with_context(written)?;
    Ok(key)
}

fn read_key(file: &Path) -> Result<SigningKey> {
    let name = file.display();
    let pem = fs::read_to_string(file).with_context(|| format!("{name} cannot be read"))?;
    SigningKey::from_pem(&pem).with_context(|| format!("{name} cannot be used"))
}
