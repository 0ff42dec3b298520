//! Where contracts come from, and how their changes reach the site.

mod file;
mod merge;
mod reflection;
mod watched;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use prost_reflect::{DescriptorError, DescriptorPool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use upstream::{Left, Upstreams};

use crate::config::{Config, Limits};
use crate::pages::{PAGES, Page};
use crate::reload::Order;
use crate::site::{Contract, Settings, Site, SiteError, Sites, is_of_grpc};
use crate::{StartError, somebody_answers};
use file::DescriptorFile;
use watched::Watched;

pub use reflection::ReflectionError;

/// Reloads of contracts, by outcome.
const RELOADS: &str = "malha_edge_contract_reloads_total";

/// When to ask again after contracts could not be had: an upstream may be about to start.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Time for all that one upstream shows.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The same at the start, where the others wait for it.
const FIRST_ANSWER_WITHIN: Duration = Duration::from_secs(2);

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
    /// A descriptor is not what it should be.
    #[error("a descriptor cannot be read: {0}")]
    Broken(prost::DecodeError),
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
    /// A policy speaks of nobody, and so would not do what it was written for.
    #[error("gateway.policies[{place}].methods: `{methods}` fits no method of the contracts")]
    Idle {
        /// Which policy, counted from 0.
        place: usize,
        /// Its pattern.
        methods: String,
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
    Reflection(Watched),
}

impl Source {
    /// The contracts, when they are not those that were last seen. No upstream is waited for longer
    /// than `within`.
    async fn changed(&mut self, within: Duration) -> Result<Option<Contract>, ContractError> {
        match self {
            Self::Own => Ok(None),
            Self::File(file) => file.changed().await,
            Self::Reflection(upstreams) => upstreams.changed(within).await,
        }
    }

    /// Whether contracts are still to come.
    fn is_awaited(&self) -> bool {
        matches!(self, Self::Reflection(upstreams) if upstreams.is_awaited())
    }
}

/// The site of a source, now and whenever its contracts change.
pub(crate) struct Follower {
    source: Source,
    settings: Settings,
    check: Duration,
    /// For so long a request may still call what the site named that it began with.
    calls_within: Duration,
    /// What was read last, whether it could be served or not: what lacks a policy waits here for it.
    contract: Contract,
    /// Whether nobody tried to serve that yet.
    is_new: bool,
}

impl Follower {
    /// Follows the contracts that the settings name.
    pub(crate) fn of(config: &Config) -> Result<Self, ContractError> {
        let Contracts { descriptors, check } = &config.contracts;
        let Limits { body_timeout, request_timeout, .. } = config.limits;
        let source = match descriptors {
            Some(path) => Source::File(DescriptorFile::new(path.clone())),
            None if config.upstreams.is_empty() => Source::Own,
            None => Source::Reflection(Watched::new(&config.upstreams, *check)?),
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
            classes: config.rate_limits.classes.keys().cloned().collect(),
        };
        Ok(Self {
            source,
            settings,
            check: *check,
            calls_within: body_timeout.saturating_add(request_timeout),
            contract: Contract::default(),
            is_new: false,
        })
    }

    /// The first site, of what is known by now: an upstream that does not show its contracts yet
    /// keeps nobody waiting. Contracts that cannot be served are an error.
    pub(crate) async fn first(&mut self) -> Result<Site, ContractError> {
        let known = self.source.changed(FIRST_ANSWER_WITHIN).await?;
        let own = || match self.source {
            Source::Own => contracts::pool().clone(),
            Source::File(_) | Source::Reflection(_) => DescriptorPool::default(),
        };
        let known = known.unwrap_or_else(|| Contract { pool: own(), ..Contract::default() });
        let site = self.checked(&known)?;
        self.contract = known;
        Ok(site)
    }

    /// The first site, once everything is known that there is to know.
    pub(crate) async fn whole(&mut self) -> Result<Site, ContractError> {
        match &mut self.source {
            Source::Reflection(upstreams) => {
                let contract = upstreams.all().await?;
                self.checked(&contract)
            }
            Source::Own | Source::File(_) => self.first().await,
        }
    }

    /// Keeps `sites` up to date, for as long as it is polled. Contracts that are broken change
    /// nothing: the site that is there stays.
    ///
    /// Orders that come in by the way change policies and upstreams too, or nothing.
    pub(crate) async fn follow(
        mut self,
        sites: Sites,
        upstreams: Upstreams,
        mut orders: mpsc::Receiver<Order>,
    ) {
        let mut fault = None;
        let mut leaving = JoinSet::new();
        loop {
            let is_well = fault.is_none() && !self.source.is_awaited();
            let wait = if is_well { self.check } else { self.check.min(AGAIN_AFTER) };
            tokio::select! {
                Some(Order { config, done }) = orders.recv() => {
                    let obeyed = self.obey(&config, &sites, &upstreams).await;
                    let obeyed = obeyed.map(|left| {
                        leaving.spawn(keep(left, self.calls_within));
                    });
                    // Who gave the order may be gone.
                    let _ = done.send(obeyed);
                    continue;
                }
                Some(_) = leaving.join_next() => continue,
                () = sleep(wait) => {}
            }
            match self.next().await {
                Ok(None) => fault = None,
                Ok(Some(site)) => {
                    fault = None;
                    sites.store(Arc::new(site));
                    counter!(RELOADS, "outcome" => "changed").increment(1);
                    tracing::info!("contracts reloaded");
                }
                Err(error) => {
                    counter!(RELOADS, "outcome" => "failed").increment(1);
                    let news = Some(error.to_string());
                    if fault != news {
                        tracing::error!(%error, "contracts not reloaded, those before stay");
                    }
                    fault = news;
                }
            }
        }
    }

    /// Takes upstreams and policies over, all or none. What left is to be kept for those who began
    /// before.
    async fn obey(
        &mut self,
        config: &Config,
        sites: &Sites,
        upstreams: &Upstreams,
    ) -> Result<Left, StartError> {
        config.validate()?;
        somebody_answers(config, upstreams.has_mesh())?;
        let mut watched = match &self.source {
            Source::Reflection(watched) => Some(watched.under(&config.upstreams)?),
            Source::Own | Source::File(_) => None,
        };
        let contract = if let Some(watched) = &mut watched {
            watched.known(FIRST_ANSWER_WITHIN).await?
        } else {
            // What these settings are for may be there already, and not looked at yet.
            self.read().await?;
            self.contract.clone()
        };
        let settings = Settings {
            rules: config.policies.clone(),
            upstreams: config.upstreams.keys().cloned().collect(),
            ..self.settings.clone()
        };
        let is_awaited = watched.as_ref().is_some_and(Watched::is_awaited);
        let site = checked(&contract, &settings, is_awaited)?;
        let left = upstreams.reload(&config.upstreams())?;
        sites.store(Arc::new(site));
        (self.settings, self.contract, self.is_new) = (settings, contract, false);
        if let Some(watched) = watched {
            self.source = Source::Reflection(watched);
        }
        Ok(left)
    }

    /// Reads the contracts again, if they are not those that were last seen.
    async fn read(&mut self) -> Result<(), ContractError> {
        if let Some(contract) = self.source.changed(ANSWER_WITHIN).await? {
            (self.contract, self.is_new) = (contract, true);
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Site>, ContractError> {
        self.read().await?;
        if !std::mem::take(&mut self.is_new) {
            return Ok(None);
        }
        let is_awaited = self.source.is_awaited();
        let site = site(&self.contract, &self.settings, is_awaited)?;
        if let Err(error) = check_policies(&site, &self.settings, is_awaited) {
            tracing::warn!(%error, "contracts changed, and a policy is idle now");
        }
        Ok(Some(site))
    }

    fn checked(&self, contract: &Contract) -> Result<Site, ContractError> {
        checked(contract, &self.settings, self.source.is_awaited())
    }
}

/// Keeps what left for so long.
async fn keep(left: Left, time: Duration) {
    sleep(time).await;
    drop(left);
}

/// The site of contracts and settings that are all that is meant.
fn checked(
    contract: &Contract,
    settings: &Settings,
    is_awaited: bool,
) -> Result<Site, ContractError> {
    let site = site(contract, settings, is_awaited)?;
    check_policies(&site, settings, is_awaited)?;
    Ok(site)
}

/// Every policy speaks of a method, as far as all are known.
fn check_policies(site: &Site, settings: &Settings, is_awaited: bool) -> Result<(), ContractError> {
    match site.idle.first() {
        Some(&place) if !is_awaited => {
            let methods = settings.rules[place].methods.clone();
            Err(ContractError::Idle { place, methods })
        }
        _ => Ok(()),
    }
}

fn site(contract: &Contract, settings: &Settings, is_awaited: bool) -> Result<Site, ContractError> {
    let is_empty = contract.pool.services().all(|service| is_of_grpc(&service));
    if is_empty && !is_awaited {
        return Err(ContractError::Empty);
    }
    Ok(Site::build(contract, settings)?)
}

fn pool_of(set: &[u8]) -> Result<DescriptorPool, ContractError> {
    Ok(DescriptorPool::decode(set)?)
}

#[cfg(test)]
mod tests;
