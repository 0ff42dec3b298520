//! Where contracts come from, and how their changes reach the site.

mod file;
mod reflection;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use prost_reflect::{DescriptorError, DescriptorPool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::config::Config;
use crate::pages::{PAGES, Page};
use crate::site::{Contract, Settings, Site, SiteError, Sites, is_of_grpc};
use file::DescriptorFile;
use reflection::{Reflected, Reflection};

pub use reflection::ReflectionError;

/// Reloads of contracts, by outcome.
const RELOADS: &str = "malha_edge_contract_reloads_total";

/// When to ask again after contracts could not be had: an upstream may be about to start.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Where contracts come from. Without a word about it: from Malha itself when there are no
/// upstreams, else from the upstreams by reflection.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Contracts {
    /// File of an encoded `FileDescriptorSet` with its imports, read again when it changes: what
    /// `buf build -o FILE` or `protoc --descriptor_set_out FILE --include_imports` write.
    /// Default: absent.
    pub descriptors: Option<PathBuf>,
    /// How often to look for changes. Default: 30 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub check: Duration,
}

impl Default for Contracts {
    fn default() -> Self {
        Self { descriptors: None, check: Duration::from_secs(30) }
    }
}

/// Why there are no contracts.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// The descriptor set cannot be read.
    #[error("cannot read the descriptor set {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// There is nothing to serve.
    #[error("the contracts hold no service")]
    Empty,
    /// The descriptors make no whole.
    #[error("the descriptors are not complete: {0}")]
    Descriptors(#[from] DescriptorError),
    /// The settings of an upstream cannot be used.
    #[error("gateway: {0}")]
    Upstream(#[from] upstream::ConfigError),
    /// An upstream does not show its contracts.
    #[error("the upstream `{upstream}` does not show its contracts: {source}")]
    Reflection {
        /// Its name.
        upstream: String,
        /// What went wrong.
        source: ReflectionError,
    },
    /// Two upstreams have different files of one name.
    #[error("the upstreams `{one}` and `{other}` show different files `{file}`")]
    Differ {
        /// The file of the contracts.
        file: String,
        /// An upstream.
        one: String,
        /// Another.
        other: String,
    },
    /// The contracts cannot be served.
    #[error(transparent)]
    Site(#[from] SiteError),
}

/// Where contracts come from, and what was last seen there.
pub(crate) enum Source {
    /// The contracts of Malha: they change with the binary alone.
    Own,
    /// A descriptor set.
    File(DescriptorFile),
    /// What upstreams show of themselves.
    Reflection(Vec<Reflection>, Vec<Reflected>),
}

impl Source {
    /// The contracts, when they are not those that were last seen.
    async fn changed(&mut self) -> Result<Option<Contract>, ContractError> {
        match self {
            Self::Own => Ok(None),
            Self::File(file) => file.changed().await,
            Self::Reflection(upstreams, seen) => {
                let mut found = Vec::new();
                for upstream in upstreams.iter() {
                    found.push(upstream.ask().await?);
                }
                if found == *seen {
                    return Ok(None);
                }
                let contract = reflection::merge(&found)?;
                *seen = found;
                Ok(Some(contract))
            }
        }
    }
}

/// The site of a source, now and whenever its contracts change.
pub(crate) struct Follower {
    source: Source,
    settings: Settings,
    check: Duration,
}

impl Follower {
    /// Follows the contracts that the settings name.
    pub(crate) fn of(config: &Config) -> Result<Self, ContractError> {
        let Contracts { descriptors, check } = &config.contracts;
        let source = match descriptors {
            Some(path) => Source::File(DescriptorFile::new(path.clone())),
            None if config.upstreams.is_empty() => Source::Own,
            None => {
                let upstreams = config.upstreams.iter();
                let upstreams: Result<_, _> =
                    upstreams.map(|(name, upstream)| Reflection::new(name, upstream)).collect();
                Source::Reflection(upstreams?, Vec::new())
            }
        };
        let pages = PAGES.into_iter().filter(|page| config.metrics || *page != Page::Metrics);
        let settings = Settings {
            rules: config.policies.clone(),
            upstreams: config.upstreams.keys().cloned().collect(),
            pages: pages.collect(),
            json: transcoder::Settings {
                ignore_unknown: config.json.ignore_unknown,
                merge_duplicates: config.json.merge_duplicates,
            },
            errors: config.errors,
        };
        Ok(Self { source, settings, check: *check })
    }

    /// The first site. An upstream that does not show its contracts yet is asked until it does;
    /// contracts that cannot be served are an error.
    pub(crate) async fn first(&mut self) -> Result<Site, ContractError> {
        loop {
            match self.once().await {
                Err(error @ ContractError::Reflection { .. }) => {
                    tracing::warn!(%error, "waiting for contracts");
                    sleep(AGAIN_AFTER).await;
                }
                result => return result,
            }
        }
    }

    /// The first site, if the contracts can be had now.
    pub(crate) async fn once(&mut self) -> Result<Site, ContractError> {
        if let Some(site) = self.next().await? {
            return Ok(site);
        }
        let own = Contract { pool: contracts::pool().clone(), offers: BTreeMap::new() };
        Ok(Site::build(&own, &self.settings)?)
    }

    /// Keeps `sites` up to date, for as long as it is polled. Contracts that are broken change
    /// nothing: the site that is there stays.
    pub(crate) async fn follow(mut self, sites: Sites) {
        if matches!(self.source, Source::Own) {
            return;
        }
        let mut wait = self.check;
        loop {
            sleep(wait).await;
            wait = self.check;
            match self.next().await {
                Ok(None) => {}
                Ok(Some(site)) => {
                    sites.store(Arc::new(site));
                    counter!(RELOADS, "outcome" => "changed").increment(1);
                    tracing::info!("contracts reloaded");
                }
                Err(error) => {
                    wait = wait.min(AGAIN_AFTER);
                    counter!(RELOADS, "outcome" => "failed").increment(1);
                    tracing::error!(%error, "contracts not reloaded, those before stay");
                }
            }
        }
    }

    async fn next(&mut self) -> Result<Option<Site>, ContractError> {
        let Some(contract) = self.source.changed().await? else { return Ok(None) };
        if contract.pool.services().all(|service| is_of_grpc(&service)) {
            return Err(ContractError::Empty);
        }
        Ok(Some(Site::build(&contract, &self.settings)?))
    }
}

fn pool_of(set: &[u8]) -> Result<DescriptorPool, ContractError> {
    Ok(DescriptorPool::decode(set)?)
}

#[cfg(test)]
mod tests;
