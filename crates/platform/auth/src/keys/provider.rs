//! An `OpenID` provider, whose metadata name the address of its keys (`OpenID` Connect Discovery 1.0).

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use super::remote::Remote;
use crate::{ConfigError, JwksUrl, KeyError};

/// A provider. Its metadata are read again with its keys, for it may move them.
pub(crate) struct Provider {
    pub(super) metadata: Remote,
    issuer: String,
    is_https: bool,
    ca: Option<PathBuf>,
}

/// What of the metadata is of use (section 3).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Provider {
    /// The provider that `issuer` is, to the letter, whose metadata are at that address.
    pub(super) fn new(issuer: &str, metadata: &JwksUrl) -> Result<Self, ConfigError> {
        Ok(Self {
            metadata: Remote::new(metadata)?,
            issuer: issuer.to_owned(),
            is_https: metadata.address.starts_with("https:"),
            ca: metadata.ca.clone(),
        })
    }

    /// The document of its keys, and for how long it is good when the server says so.
    pub(super) async fn read(&self) -> Result<(Bytes, Option<Duration>), KeyError> {
        let (document, _) = self.metadata.read().await?;
        let Metadata { issuer, jwks_uri } = serde_json::from_slice(&document)
            .map_err(|_| KeyError("answered no metadata of a provider".to_owned()))?;
        // Section 4.3: else one provider could speak for another.
        if issuer != self.issuer {
            return Err(KeyError(format!("the metadata are of another issuer: {issuer}")));
        }
        if self.is_https && !jwks_uri.starts_with("https:") {
            return Err(KeyError("the metadata name an address without https".to_owned()));
        }
        let ca = self.ca.clone().filter(|_| self.is_https);
        let keys = Remote::new(&JwksUrl { address: jwks_uri, ca });
        keys.map_err(|error| KeyError(format!("jwks_uri: {error}")))?.read().await
    }
}
