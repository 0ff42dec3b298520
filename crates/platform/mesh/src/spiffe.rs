//! Names of mesh members in certificates: `spiffe://malha/<name>`.

use std::sync::Arc;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

const PREFIX: &str = "spiffe://malha/";

/// The SPIFFE id of the member `name`.
pub(crate) fn id(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// The member that a certificate (DER) names. It must hold exactly one URI, and that ours: a
/// certificate with two identities has none.
pub(crate) fn member(certificate: &[u8]) -> Option<Arc<str>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let member = uris.next()?.strip_prefix(PREFIX)?;
    (uris.next().is_none() && is_name(member)).then(|| member.into())
}

/// Whether `name` can name a member: a lower-case DNS label.
pub(crate) fn is_name(name: &str) -> bool {
    let label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(label)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(uris: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names =
            uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_member_is_named_by_exactly_one_uri_of_our_trust_domain() {
        let table: [(&[&str], Option<&str>); 8] = [
            (&["spiffe://malha/ledger"], Some("ledger")),
            (&[], None),
            (&["spiffe://other/ledger"], None),
            (&["spiffe://malha/"], None),
            (&["spiffe://malha/ledger/x"], None),
            (&["spiffe://malha/Ledger"], None),
            (&["https://malha/ledger"], None),
            (&["spiffe://malha/ledger", "spiffe://malha/payments"], None),
        ];
        for (uris, expected) in table {
            assert_eq!(member(&certificate(uris)).as_deref(), expected, "{uris:?}");
        }
        assert_eq!(member(b"not a certificate"), None);
    }
}
