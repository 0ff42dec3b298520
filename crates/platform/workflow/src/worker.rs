//! Finds workflows that are due and drives them.

use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use metrics::gauge;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgListener;
use storage::{Database, Error};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::config::{Config, ConfigError};
use crate::definition::Definition;
use crate::program::{Bound, Program};
use crate::row::Workflow;
use crate::run::{Programs, Runner};
use crate::store::{self, Halted, Known};

/// How often workflows that ended long ago are deleted.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_mins(10);

/// Workflows that one statement deletes.
const BATCH: u16 = 500;

/// Works on the workflows of one service, beside as many others as there are processes.
#[derive(Clone)]
pub struct Worker {
    database: Database,
    clock: Clock,
    config: Config,
    programs: Arc<Programs>,
}

impl Worker {
    /// A worker that knows no definition yet. The database is that of its service.
    ///
    /// # Errors
    /// When a setting has no meaning.
    pub fn new(database: Database, clock: Clock, config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self { database, clock, config, programs: Arc::default() })
    }

    /// Adds a definition; `world` is what its steps work with. Old versions are added as long as
    /// workflows are on them.
    ///
    /// # Panics
    /// When it has no steps.
    pub fn register<W, S>(mut self, definition: Definition<W, S>, world: Arc<W>) -> Self
    where
        W: Send + Sync + 'static,
        S: Serialize + DeserializeOwned + Send + 'static,
    {
        let key = (definition.name.to_owned(), definition.version);
        let program: Arc<dyn Program> = Arc::new(Bound::new(definition, world));
        Arc::make_mut(&mut self.programs).insert(key, program);
        self
    }

    /// Works for ever: `service.task("workflows", move || worker.clone().run())`. Dropped, it stops at
    /// once; what it was at is taken up by others when its lease ends.
    pub async fn run(self) {
        tokio::join!(self.work(), self.keep_house());
    }

    async fn work(&self) {
        let mut ticks = tokio::time::interval(self.config.poll_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut listener = None;
        let mut running = JoinSet::new();
        loop {
            let is_full = self.take_up(&mut running).await;
            tokio::select! {
                _ = ticks.tick() => {
                    self.measure().await;
                    if listener.is_none() {
                        listener = self.listen().await;
                    }
                }
                () = heard(&mut listener) => {}
                Some(_) = running.join_next(), if is_full => {}
            }
            while running.try_join_next().is_some() {}
        }
    }

    async fn keep_house(&self) {
        loop {
            if let Err(error) = self.delete_old().await {
                tracing::warn!(?error, "workflows that ended long ago are not deleted");
            }
            tokio::time::sleep(HOUSEKEEPING_INTERVAL).await;
        }
    }

    async fn delete_old(&self) -> Result<(), Error> {
        let before = self.clock.now() - self.config.retention;
        loop {
            let mut txn = self.database.begin_worker().await?;
            let deleted = store::ended_delete(&mut txn, before, BATCH.into()).await?;
            txn.commit().await?;
            if deleted < BATCH.into() {
                return Ok(());
            }
        }
    }

    /// Takes up what is due, as far as there is room. Whether there is none any more.
    async fn take_up(&self, running: &mut JoinSet<()>) -> bool {
        let room = usize::from(self.config.in_flight_max.get()).saturating_sub(running.len());
        let claimed = match self.claim(room).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(?error, "no workflows could be taken up");
                return false;
            }
        };
        let is_full = claimed.len() >= room;
        let runner = Runner {
            database: self.database.clone(),
            clock: self.clock.clone(),
            lease: self.config.lease,
            programs: Arc::clone(&self.programs),
        };
        for workflow in claimed {
            let runner = runner.clone();
            running.spawn(async move {
                let id = workflow.id;
                if let Err(error) = runner.drive(workflow).await {
                    tracing::warn!(?error, workflow = %id, "a workflow is left until its lease ends");
                }
            });
        }
        is_full
    }

    async fn claim(&self, room: usize) -> Result<Vec<Workflow>, Error> {
        let limit = i64::try_from(room).unwrap_or(i64::MAX);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let Config { lease, park_after, .. } = self.config;
        let (known, now) = (self.known(), self.clock.now());
        let mut txn = self.database.begin_worker().await?;
        let mut claimed =
            store::workflows_claim(&mut txn, &known, now, (lease, park_after), limit).await?;
        let limit = limit.saturating_sub(i64::try_from(claimed.len()).unwrap_or(limit));
        claimed.extend(store::parked_claim(&mut txn, &known, now, lease, limit).await?);
        txn.commit().await?;
        Ok(claimed)
    }

    fn known(&self) -> Known {
        let versions = self.programs.values();
        Known {
            definitions: versions.clone().map(|program| program.name().to_owned()).collect(),
            versions: versions
                .map(|program| i32::try_from(program.version()).unwrap_or(i32::MAX))
                .collect(),
        }
    }

    async fn listen(&self) -> Option<PgListener> {
        let listening = async {
            let mut connection = self.database.connection().await?;
            let owner = store::owner_fetch(&mut connection).await?;
            self.database.listen(&store::channel(&owner)).await
        };
        listening
            .await
            .inspect_err(|error| tracing::warn!(?error, "workflows are looked for, not heard of"))
            .ok()
    }

    async fn measure(&self) {
        let counting = async {
            let mut txn = self.database.begin_worker().await?;
            store::halted_count(&mut txn).await
        };
        match counting.await {
            Ok(halted) => show(halted),
            Err(error) => tracing::warn!(?error, "halted workflows could not be counted"),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges of counts")]
fn show(Halted { owner, parked, manual }: Halted) {
    gauge!("malha_workflow_manual_intervention", "service" => owner.clone()).set(manual as f64);
    gauge!("malha_workflow_parked", "service" => owner).set(parked as f64);
}

/// Waits for word of new work; for ever while nobody listens.
async fn heard(listener: &mut Option<PgListener>) {
    let Some(connected) = listener else { return std::future::pending().await };
    if let Err(error) = connected.recv().await {
        tracing::warn!(?error, "the notifications of workflows are lost for a while");
        *listener = None;
    }
}
