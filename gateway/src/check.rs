//! Whether a gateway with these settings could start, as far as can be known without a network: files,
//! keys, certificates and their dates, addresses, bounds.

use std::path::Path;

use ::limits::{AnswerStore, Idempotency, Limiter, Redis};
use auth::Verifier;
use chrono::{DateTime, Utc};
use clock::Clock;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use upstream::Upstreams;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::Config;
use crate::log;
use crate::serve::tls::{CertificateError, Tls, read};
use crate::{StartError, somebody_answers};

/// Checks the settings of a gateway without a mesh. Contracts are not looked at.
pub(crate) async fn check(config: &Config) -> Result<(), StartError> {
    if config.https.is_none() && config.http.is_none() {
        return Err(StartError::NoListener);
    }
    config.validate()?;
    somebody_answers(config, false)?;
    log::check(&config.access_log).map_err(StartError::AccessLog)?;
    certificates(config)?;
    let clock = Clock::system();
    Verifier::new(&config.issuers, None, clock)?.check_files().await?;
    stores(config)?;
    Upstreams::new(&config.upstreams(), None, std::num::NonZeroUsize::MIN)?;
    Ok(())
}

fn certificates(config: &Config) -> Result<(), CertificateError> {
    let now = Clock::system().now();
    if config.https.is_some() {
        Tls::load(&config.tls)?;
        dates("tls.certificate", &config.tls.certificate, now)?;
    }
    for (name, upstream) in &config.upstreams {
        let tls = &upstream.tls;
        for (file, path) in [("ca", &tls.ca), ("certificate", &tls.certificate)] {
            if let Some(path) = path {
                dates(&format!("upstreams.{name}.tls.{file}"), path, now)?;
            }
        }
    }
    match config.postgres.as_ref().and_then(|postgres| postgres.ca.as_ref()) {
        Some(ca) => dates("postgres.ca", ca, now),
        None => Ok(()),
    }
}

/// Every certificate of a file counts now.
fn dates(setting: &str, path: &Path, now: DateTime<Utc>) -> Result<(), CertificateError> {
    let unusable =
        |reason: &dyn std::fmt::Display| CertificateError::unusable(setting, path, reason);
    for der in CertificateDer::pem_slice_iter(&read(setting, path)?) {
        let der = der.map_err(|error| unusable(&error))?;
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|error| unusable(&error))?;
        let validity = certificate.validity();
        if validity.not_after.timestamp() < now.timestamp() {
            return Err(unusable(&format!("expired at {}", validity.not_after)));
        }
        if validity.not_before.timestamp() > now.timestamp() {
            return Err(unusable(&format!("counts only from {}", validity.not_before)));
        }
    }
    Ok(())
}

/// Where requests are counted, and their answers kept.
fn stores(config: &Config) -> Result<(), StartError> {
    let redis = config.redis.as_ref().map(Redis::open).transpose()?;
    Limiter::new(&config.rate_limits, redis.as_ref())?;
    // What the settings say of all stores.
    Idempotency::in_memory(&config.idempotency)?;
    match config.idempotency.store {
        AnswerStore::Redis if redis.is_none() => Err(StartError::NoStore("redis")),
        AnswerStore::Postgres if config.postgres.is_none() => Err(StartError::NoStore("postgres")),
        _ => Ok(()),
    }
}
