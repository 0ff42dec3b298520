//! Upstreams that show their contracts, each watched by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use metrics::counter;
use tokio::time::Instant;
use upstream::UpstreamConfig;

use super::merge::merge;
use super::reflection::{Reflected, Reflection};
use super::{ANSWER_WITHIN, ContractError, RELOADS};
use crate::site::Contract;

/// What upstreams show of themselves. One that is away keeps what it showed before, and nobody waits
/// for it.
pub(crate) struct Watched {
    upstreams: Vec<Watch>,
    check: Duration,
}

/// One upstream.
#[derive(Clone)]
struct Watch {
    config: UpstreamConfig,
    reflection: Reflection,
    asked: Option<Instant>,
    /// What it showed last.
    seen: Option<Reflected>,
    /// Why it shows nothing now.
    fault: Option<String>,
}

impl Watched {
    /// These upstreams, each to be asked every `check`; nothing is asked yet.
    pub(super) fn new(
        upstreams: &BTreeMap<String, UpstreamConfig>,
        check: Duration,
    ) -> Result<Self, ContractError> {
        let watch = |(name, config): (&String, &UpstreamConfig)| {
            let (reflection, config) = (Reflection::new(name, config)?, config.clone());
            Ok(Watch { config, reflection, asked: None, seen: None, fault: None })
        };
        let upstreams = upstreams.iter().map(watch).collect::<Result<_, ContractError>>()?;
        Ok(Self { upstreams, check })
    }

    /// The same under other settings. Who stays is known already; whose settings changed is asked
    /// again, and keeps what it showed until it answers.
    pub(super) fn under(
        &self,
        upstreams: &BTreeMap<String, UpstreamConfig>,
    ) -> Result<Self, ContractError> {
        let mut watched = Self::new(upstreams, self.check)?;
        for watch in &mut watched.upstreams {
            let same = |old: &&Watch| old.reflection.name() == watch.reflection.name();
            match self.upstreams.iter().find(same) {
                Some(old) if old.config == watch.config => *watch = old.clone(),
                Some(old) => watch.seen.clone_from(&old.seen),
                None => {}
            }
        }
        Ok(watched)
    }

    /// The contracts of all that have shown theirs, asking those of whom nothing is known.
    pub(super) async fn known(&mut self, within: Duration) -> Result<Contract, ContractError> {
        let new = self.upstreams.iter_mut().filter(|upstream| upstream.asked.is_none());
        join_all(new.map(|upstream| upstream.ask(within))).await;
        self.merged()
    }

    /// The contracts of all that have shown theirs, when those of one changed.
    pub(super) async fn changed(
        &mut self,
        within: Duration,
    ) -> Result<Option<Contract>, ContractError> {
        let due = self.upstreams.iter_mut().filter(|upstream| upstream.is_due(self.check));
        let news = join_all(due.map(|upstream| upstream.ask(within))).await;
        if !news.contains(&true) {
            return Ok(None);
        }
        self.merged().map(Some)
    }

    fn merged(&self) -> Result<Contract, ContractError> {
        merge(self.upstreams.iter().filter_map(|upstream| upstream.seen.as_ref()))
    }

    /// The contracts of all of them, or why one does not show its own.
    pub(super) async fn all(&self) -> Result<Contract, ContractError> {
        let asked = self.upstreams.iter().map(|upstream| upstream.reflection.ask(ANSWER_WITHIN));
        merge(&try_join_all(asked).await?)
    }

    /// Whether one of them is away.
    pub(super) fn is_awaited(&self) -> bool {
        self.upstreams.iter().any(|upstream| upstream.fault.is_some())
    }
}

impl Watch {
    /// One that is away may be about to come.
    fn is_due(&self, check: Duration) -> bool {
        self.fault.is_some() || self.asked.is_none_or(|asked| asked.elapsed() >= check)
    }

    /// Whether it shows something new.
    async fn ask(&mut self, within: Duration) -> bool {
        let asked = self.reflection.ask(within).await;
        self.asked = Some(Instant::now());
        let upstream = self.reflection.name();
        match asked {
            Ok(found) => {
                if self.fault.take().is_some() {
                    tracing::info!(upstream, "an upstream shows its contracts now");
                }
                let is_new = self.seen.as_ref() != Some(&found);
                self.seen = Some(found);
                is_new
            }
            Err(error) => {
                counter!(RELOADS, "outcome" => "failed").increment(1);
                let fault = error.to_string();
                // Once, not at every look.
                if self.fault.as_ref() != Some(&fault) {
                    tracing::warn!(upstream, %error, "waiting for the contracts of an upstream");
                }
                self.fault = Some(fault);
                false
            }
        }
    }
}
