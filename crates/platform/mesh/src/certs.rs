//! A development certificate authority in a folder.
//!
//! `ca.pem`, `ca.key`, and per member `<name>.pem` and `<name>.key`. In production cert-manager or
//! SPIRE writes the same files; the mesh only reads them.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use uuid::Uuid;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::spiffe;

const DAY: Duration = Duration::from_hours(24);
const CA_LIFETIME: Duration = DAY.saturating_mul(3650);
const LEAF_LIFETIME: Duration = DAY.saturating_mul(90);

/// Clocks of the mesh may stand this far apart.
const BACKDATED: Duration = Duration::from_mins(5);

const FOLDER_MODE: u32 = 0o700;
const KEY_MODE: u32 = 0o600;
const CERTIFICATE_MODE: u32 = 0o644;

/// Why certificates could not be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// A file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The name cannot name a member of the mesh.
    #[error("`{0}` cannot be a name: use lower-case letters, digits and hyphens, and not `ca`")]
    Name(String),
    /// Only one of `ca.pem` and `ca.key` is there.
    #[error("{folder} holds half a CA: ca.pem and ca.key belong together", folder = .0.display())]
    HalfCa(PathBuf),
    /// A file does not hold what its name says.
    #[error("{path} is not a certificate", path = .0.display())]
    Malformed(PathBuf),
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// What a certificate says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateInfo {
    /// Name of the file in its folder.
    pub file: String,
    /// Member it stands for, such as `spiffe://malha/ledger`; `None` for a CA.
    pub spiffe_id: Option<String>,
    /// It counts from here on.
    pub not_before: SystemTime,
    /// It no longer counts from here on.
    pub not_after: SystemTime,
}

/// Makes the folder and its CA, valid for 10 years. A CA that is there already is kept.
pub fn init(folder: &Path) -> Result<(), CertError> {
    let (certificate_path, key_path) = (folder.join("ca.pem"), folder.join("ca.key"));
    match (certificate_path.exists(), key_path.exists()) {
        (true, true) => return Ok(()),
        (false, false) => {}
        _ => return Err(CertError::HalfCa(folder.to_owned())),
    }
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(folder)
        .map_err(|source| CertError::File { path: folder.to_owned(), source })?;

    let key = KeyPair::generate()?;
    let mut params = params("Malha development CA", CA_LIFETIME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    write(&key_path, &key.serialize_pem(), KEY_MODE)?;
    write(&certificate_path, &certificate.pem(), CERTIFICATE_MODE)
}

/// The certificate that the gateway shows to the world. It names no member of the mesh, so that the
/// most exposed key opens no door inside.
const EDGE: &str = "edge";

/// Makes a key and a certificate of `name`, signed by the folder's CA and valid for 90 days.
/// Issuing again renews them; members in service notice by themselves. `edge` is no member, but the
/// public server.
pub fn issue(folder: &Path, name: &str) -> Result<(), CertError> {
    if !spiffe::is_name(name) || name == "ca" {
        return Err(CertError::Name(name.to_owned()));
    }
    let ca_key = KeyPair::from_pem(&read(&folder.join("ca.key"))?)?;
    let ca = Issuer::from_ca_cert_pem(&read(&folder.join("ca.pem"))?, ca_key)?;

    let key = KeyPair::generate()?;
    let mut params = params(name, LEAF_LIFETIME);
    params.subject_alt_names = vec![
        SanType::DnsName(name.try_into()?),
        SanType::DnsName("localhost".try_into()?),
        SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
        SanType::IpAddress(Ipv6Addr::LOCALHOST.into()),
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    if name != EDGE {
        params.subject_alt_names.push(SanType::URI(spiffe::id(name).try_into()?));
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    }
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &ca)?;
    write(&folder.join(format!("{name}.key")), &key.serialize_pem(), KEY_MODE)?;
    write(&folder.join(format!("{name}.pem")), &certificate.pem(), CERTIFICATE_MODE)
}

/// Reads what the certificates of a folder say, sorted by file.
pub fn show(folder: &Path) -> Result<Vec<CertificateInfo>, CertError> {
    let failed = |source| CertError::File { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            found.push(inspect(&path)?);
        }
    }
    found.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(found)
}

fn inspect(path: &Path) -> Result<CertificateInfo, CertError> {
    let malformed = || CertError::Malformed(path.to_owned());
    let pem = read(path)?;
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| malformed())?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| malformed())?;
    let validity = certificate.validity();
    Ok(CertificateInfo {
        file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        spiffe_id: spiffe::member(&der).map(|name| spiffe::id(&name)),
        not_before: validity.not_before.to_datetime().into(),
        not_after: validity.not_after.to_datetime().into(),
    })
}

fn params(common_name: &str, lifetime: Duration) -> CertificateParams {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + lifetime).into();
    params
}

fn read(path: &Path) -> Result<String, CertError> {
    fs::read_to_string(path).map_err(|source| CertError::File { path: path.to_owned(), source })
}

/// Replaces a file in one step; it never exists with a wider mode or with half its content.
fn write(path: &Path, content: &str, mode: u32) -> Result<(), CertError> {
    let temporary = path.with_extension(format!("{}.tmp", Uuid::now_v7()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(content.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        // What is left of a failed attempt is of no use; the first error is what matters.
        let _ = fs::remove_file(&temporary);
        CertError::File { path: path.to_owned(), source }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn keys_are_for_their_owner_only() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("certs");
        init(&folder).unwrap();
        issue(&folder, "ledger").unwrap();

        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join("ca.key")), 0o600);
        assert_eq!(mode(&folder.join("ledger.key")), 0o600);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 4, "no temporary file stays");
    }

    #[test]
    fn certificates_name_their_member_for_ninety_days() {
        let root = tempfile::tempdir().unwrap();
        init(root.path()).unwrap();
        issue(root.path(), "ledger").unwrap();

        let [ca, ledger] = show(root.path()).unwrap().try_into().unwrap();

        assert_eq!((ca.file.as_str(), ca.spiffe_id), ("ca.pem", None));
        assert!(ca.not_after > SystemTime::now() + DAY * 3649);
        assert_eq!(ledger.spiffe_id.as_deref(), Some("spiffe://malha/ledger"));
        assert!(ledger.not_before <= SystemTime::now());
        let left = ledger.not_after.duration_since(SystemTime::now()).unwrap();
        assert!(left > DAY * 89 && left <= DAY * 90);
    }

    #[test]
    fn the_public_certificate_names_no_member() {
        let root = tempfile::tempdir().unwrap();
        init(root.path()).unwrap();
        issue(root.path(), "edge").unwrap();

        let [_, edge] = show(root.path()).unwrap().try_into().unwrap();

        assert_eq!((edge.file.as_str(), edge.spiffe_id), ("edge.pem", None));
    }

    #[test]
    fn a_second_init_keeps_the_ca_and_half_a_ca_is_refused() {
        let root = tempfile::tempdir().unwrap();
        init(root.path()).unwrap();
        let first = read(&root.path().join("ca.pem")).unwrap();
        init(root.path()).unwrap();
        assert_eq!(read(&root.path().join("ca.pem")).unwrap(), first);

        fs::remove_file(root.path().join("ca.key")).unwrap();
        assert!(matches!(init(root.path()), Err(CertError::HalfCa(_))));
    }

    #[test]
    fn names_that_leave_the_folder_or_shadow_the_ca_are_refused() {
        let root = tempfile::tempdir().unwrap();
        init(root.path()).unwrap();
        for name in ["ca", "", "../ledger", "a/b", "Ledger", "a.b"] {
            assert!(matches!(issue(root.path(), name), Err(CertError::Name(_))), "{name}");
        }
    }
}
