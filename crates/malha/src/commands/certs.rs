//! `malha certs`

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use crate::settings::Settings;

/// Make and look at the certificates of the mesh.
#[derive(Debug, Subcommand)]
pub(crate) enum Certs {
    /// Make the certificate authority. One that exists is kept.
    Init(Folder),
    /// Issue the certificate of one member, or renew it; running services take it up by themselves.
    Issue {
        /// Name of the member, such as `ledger`, `gateway` or `engineer`.
        name: String,
        #[command(flatten)]
        folder: Folder,
    },
    /// List the certificates: whom they stand for, and until when.
    Show(Folder),
}

#[derive(Args, Debug)]
pub(crate) struct Folder {
    /// Folder of the certificates. Default: the setting `mesh.certs`.
    #[arg(long)]
    folder: Option<PathBuf>,
}

impl Folder {
    fn or_setting(self, settings: &Settings) -> PathBuf {
        self.folder.unwrap_or_else(|| settings.mesh.certs.clone())
    }
}

impl Certs {
    pub(crate) fn run(self, settings: &Settings) -> Result<()> {
        match self {
            Self::Init(folder) => {
                let folder = folder.or_setting(settings);
                mesh::certs::init(&folder)?;
                println!("{}", folder.join("ca.pem").display());
            }
            Self::Issue { name, folder } => {
                let folder = folder.or_setting(settings);
                mesh::certs::issue(&folder, &name)?;
                println!("{}", folder.join(format!("{name}.pem")).display());
            }
            Self::Show(folder) => show(&folder.or_setting(settings))?,
        }
        Ok(())
    }
}

fn show(folder: &Path) -> Result<()> {
    let certificates = mesh::certs::show(folder)
        .context("there are no certificates; `malha certs init` makes their authority")?;
    for certificate in certificates {
        let id = certificate.spiffe_id.as_deref().unwrap_or("certificate authority");
        println!("{:<20} {id:<32} {}", certificate.file, validity(certificate.not_after));
    }
    Ok(())
}

fn validity(not_after: SystemTime) -> String {
    const DAY: Duration = Duration::from_hours(24);
    match not_after.duration_since(SystemTime::now()) {
        Ok(left) => format!("valid for {} days", left.as_secs() / DAY.as_secs()),
        Err(_) => "EXPIRED: issue it again".to_owned(),
    }
}
