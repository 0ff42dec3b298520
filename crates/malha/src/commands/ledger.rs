//! `malha ledger`

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use proof::{PublicKey, SignedHead};
use serde::Serialize;
use tools::Counts;
use uuid::Uuid;

use crate::settings::Settings;

/// Verify, prove, copy, export and fill a ledger by its files.
///
/// `verify`, `prove`, `key`, `export` and `backup` change nothing and work beside a running ledger;
/// `import` and `rotate-key` need one that is stopped.
#[derive(Debug, Subcommand)]
pub(crate) enum Ledger {
    /// Verify every block: checksums, chain, Merkle roots, signatures, changes of the key.
    Verify(Verify),
    /// Prove something to somebody who has the key of the ledger, from the files alone, as JSON.
    #[command(subcommand)]
    Prove(Prove),
    /// Verify a proof and say in words what it proves.
    Check(Check),
    /// Print the public keys: the first one, those that followed, and last the one in force.
    Key {
        /// Folder of the ledger.
        folder: PathBuf,
    },
    /// Write all entries to standard output, a line each, verified as they are read.
    Export(Export),
    /// Record accounts and transfers of the past, from CSV.
    ///
    /// All lines are read first: when one cannot be, nothing is recorded. Lines that the ledger
    /// refuses are listed with their status; the others are recorded all the same, and the exit
    /// code is 2. Importing the same again records nothing twice.
    Import(Import),
    /// Copy what another folder does not have yet, also of a running ledger, and verify the copy.
    Backup {
        /// Folder of the ledger.
        folder: PathBuf,
        /// Folder of the copy: a new one, or an earlier copy, which grows.
        to: PathBuf,
    },
    /// Make a ledger of a backup, and verify it.
    Restore(Restore),
    /// Sign with a new key from now on.
    ///
    /// The old key stays beside the new one as `signing.key.<block>.old`. After a crash the ledger
    /// starts all the same, and doing this again does what was left to do.
    RotateKey(Stopped),
}

#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// Folder of the ledger, or of a copy.
    folder: PathBuf,
    /// Public key of the ledger, of any time. Without it the one that the files name is believed.
    #[arg(long, value_name = "VKEY")]
    key: Option<PublicKey>,
    /// File with a signed head that you kept: the ledger has to go on from it.
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Prove {
    /// Prove that a transfer was recorded.
    Transfer(Of),
    /// Prove the state of an account at the newest checkpoint.
    Account(Of),
    /// Prove that the ledger still begins with the entries of a head that somebody kept.
    Consistency {
        /// Folder of the ledger.
        folder: PathBuf,
        /// How many entries there were: the second line of the head.
        #[arg(long, value_name = "SIZE")]
        from: u64,
        #[command(flatten)]
        out: Out,
    },
    /// Prove each key that followed the first one, a list.
    Key {
        /// Folder of the ledger.
        folder: PathBuf,
        #[command(flatten)]
        out: Out,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Of {
    /// Folder of the ledger.
    folder: PathBuf,
    /// Id of the transfer or the account.
    id: Uuid,
    /// Whose it is.
    #[arg(long, value_name = "UUID")]
    tenant: Uuid,
    #[command(flatten)]
    out: Out,
}

#[derive(Args, Debug)]
pub(crate) struct Out {
    /// File to write to. Default: standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Check {
    /// File with the proof.
    proof: PathBuf,
    /// Public key that signed the head of the proof; of proofs of keys, the first one.
    #[arg(long, value_name = "VKEY")]
    key: PublicKey,
    /// File with the signed head that you kept, for a proof of consistency.
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Export {
    /// Folder of the ledger.
    folder: PathBuf,
    /// How the lines are written.
    #[arg(long, value_enum, default_value = "csv")]
    format: Format,
    /// Entries of this tenant alone.
    #[arg(long, value_name = "UUID")]
    tenant: Option<Uuid>,
    /// Number of the first entry.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    from: u64,
    /// Number of the last entry.
    #[arg(long, value_name = "NUMBER")]
    to: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Csv,
    Ndjson,
}

/// A ledger that no process runs.
#[derive(Args, Debug)]
pub(crate) struct Stopped {
    /// Folder of the ledger, or settings file (TOML) that names it. It has to be stopped.
    ledger: PathBuf,
    /// File of its signing key. Default: `signing.key` in its folder, or as the settings say.
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Import {
    #[command(flatten)]
    ledger: Stopped,
    /// CSV of accounts: id, ledger, code; limit, overdraft, `external_id`, linked, metadata.
    accounts: PathBuf,
    /// CSV of transfers: id, `debit_account_id`, `credit_account_id`, amount, ledger; code, kind,
    /// `pending_id`, `timeout_seconds`, `effective_at`, `external_id`, linked, metadata.
    transfers: PathBuf,
    /// Whose they are.
    #[arg(long, value_name = "UUID")]
    tenant: Uuid,
}

#[derive(Args, Debug)]
pub(crate) struct Restore {
    /// Folder of the backup.
    from: PathBuf,
    /// Folder of the ledger to make: a new or an empty one.
    folder: PathBuf,
    /// Public key of the ledger, of any time. Without it the one that the files name is believed.
    #[arg(long, value_name = "VKEY")]
    key: Option<PublicKey>,
    /// File of its signing key, which is put into the folder.
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,
}

impl Ledger {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        match self {
            Self::Verify(verify) => verify.run()?,
            Self::Prove(prove) => prove.run()?,
            Self::Check(check) => check.run()?,
            Self::Key { folder } => print!("{}", tools::keys(&folder)?),
            Self::Export(export) => export.run()?,
            Self::Import(import) => return import.run().await,
            Self::Backup { folder, to } => {
                print!("{}", tools::backup(&folder, &to)?);
                println!(
                    "The signing key was not copied: keep a copy of it elsewhere. Without it a \
                     restored ledger\ncan be read and verified, but not go on."
                );
            }
            Self::Restore(restore) => restore.run()?,
            Self::RotateKey(ledger) => {
                let rotated = tools::rotate_key(&ledger.config()?.into()).await?;
                println!("was {}\nis  {}", rotated.old, rotated.new);
                println!(
                    "Whoever has the old one follows with `malha ledger prove key` and `malha \
                     ledger check`."
                );
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Verify {
    fn run(self) -> Result<()> {
        let head = self.head.as_deref().map(read_head).transpose()?;
        print!("{}", tools::verify(&self.folder, self.key.as_ref(), head.as_ref())?);
        Ok(())
    }
}

impl Prove {
    fn run(self) -> Result<()> {
        match self {
            Self::Transfer(Of { folder, id, tenant, out }) => {
                out.write(&tools::prove_transfer(&folder, number(tenant), number(id))?)
            }
            Self::Account(Of { folder, id, tenant, out }) => {
                out.write(&tools::prove_account(&folder, number(tenant), number(id))?)
            }
            Self::Consistency { folder, from, out } => {
                out.write(&tools::prove_consistency(&folder, from)?)
            }
            Self::Key { folder, out } => out.write(&tools::prove_keys(&folder)?),
        }
    }
}

impl Out {
    fn write(self, proof: &impl Serialize) -> Result<()> {
        let json = serde_json::to_string_pretty(proof)? + "\n";
        let Some(file) = self.out else {
            print!("{json}");
            return Ok(());
        };
        fs::write(&file, json).with_context(|| format!("cannot write {}", file.display()))
    }
}

impl Check {
    fn run(self) -> Result<()> {
        let head = self.head.as_deref().map(read_head).transpose()?;
        print!("{}", tools::check(&read(&self.proof)?, &self.key, head.as_ref())?);
        Ok(())
    }
}

impl Export {
    fn run(self) -> Result<()> {
        let format = match self.format {
            Format::Csv => tools::Format::Csv,
            Format::Ndjson => tools::Format::Ndjson,
        };
        let tenant = self.tenant.map(number);
        let range = tools::Range { tenant, from: self.from, to: self.to };
        match tools::export(&self.folder, format, range, io::stdout().lock()) {
            // Whoever reads has seen enough.
            Err(error) if is_broken_pipe(&error) => Ok(()),
            exported => exported.map(|_| ()),
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_of = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(is_of))
}

impl Import {
    async fn run(self) -> Result<ExitCode> {
        let (options, tenant) = (self.ledger.config()?.into(), number(self.tenant));
        let mut refusals = BufWriter::new(io::stdout());
        let imported =
            tools::import(&options, tenant, &self.accounts, &self.transfers, &mut refusals).await;
        refusals.flush()?;
        let imported = imported?;
        for (name, counts) in [("accounts", imported.accounts), ("transfers", imported.transfers)] {
            let Counts { created, existed, refused } = counts;
            println!("{name}: {created} recorded, {existed} there before, {refused} refused");
        }
        let refused = imported.accounts.refused + imported.transfers.refused;
        Ok(if refused > 0 { ExitCode::from(2) } else { ExitCode::SUCCESS })
    }
}

impl Restore {
    fn run(self) -> Result<()> {
        let Self { from, folder, key, signing_key } = self;
        let restored = tools::restore(&from, &folder, key.as_ref(), signing_key.as_deref())?;
        print!("{restored}");
        if signing_key.is_none() {
            println!(
                "Before it can go on it needs the signing key of\n  {}\nas {} or where the setting \
                 ledger.signing_key says.",
                restored.key,
                folder.join("signing.key").display()
            );
        }
        println!(
            "What was recorded after the backup is not there: whoever kept a later head will see \
             that."
        );
        Ok(())
    }
}

impl Stopped {
    /// Its settings. It is never created.
    fn config(self) -> Result<ledger::Config> {
        let mut config = if self.ledger.is_file() {
            Settings::load("", Some(&self.ledger))?.ledger
        } else {
            ledger::Config { journal: self.ledger, ..ledger::Config::default() }
        };
        config.create = false;
        config.signing_key = self.signing_key.or(config.signing_key);
        Ok(config)
    }
}

fn number<T: From<u128>>(id: Uuid) -> T {
    id.as_u128().into()
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn read_head(file: &Path) -> Result<SignedHead> {
    read(file)?.parse().with_context(|| format!("{} cannot be used as a head", file.display()))
}
