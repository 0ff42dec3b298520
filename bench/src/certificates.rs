//! Certificates of a folder that `malha certs` made.

use std::fs;
use std::path::Path;

use anyhow::Result;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What one end of a connection shows, and whom it trusts.
pub(crate) struct Certificates {
    /// The authority of the folder.
    pub(crate) roots: RootCertStore,
    /// Its own certificate.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// The key of that.
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Certificates {
    /// Those of a member.
    pub(crate) fn of(member: &str, folder: &Path) -> Result<Self> {
        let read = |name: &str| -> Result<Vec<CertificateDer<'static>>> {
            let pem = fs::read(folder.join(name))?;
            Ok(CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>()?)
        };
        let mut roots = RootCertStore::empty();
        for authority in read("ca.pem")? {
            roots.add(authority)?;
        }
        let key = PrivateKeyDer::from_pem_file(folder.join(format!("{member}.key")))?;
        Ok(Self { roots, chain: read(&format!("{member}.pem"))?, key })
    }
}
