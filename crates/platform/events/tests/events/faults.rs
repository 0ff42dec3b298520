//! A bus that fails when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use events::{Bus, BusError, Partition, Reader, Record};
use parking_lot::Mutex;
use uuid::Uuid;

pub(crate) struct Faulty {
    bus: Arc<dyn Bus>,
    /// Takes nothing.
    pub(crate) away: AtomicBool,
    /// Takes everything, and says that it took nothing.
    pub(crate) forgetful: AtomicBool,
    /// Takes everything but these events.
    pub(crate) refused: Mutex<Vec<Uuid>>,
    /// Does not say what is unread on these topics.
    pub(crate) silent: Mutex<Vec<String>>,
}

impl Faulty {
    pub(crate) fn new(bus: Arc<dyn Bus>) -> Arc<Self> {
        Arc::new(Self {
            bus,
            away: AtomicBool::default(),
            forgetful: AtomicBool::default(),
            refused: Mutex::default(),
            silent: Mutex::default(),
        })
    }
}

fn unavailable() -> BusError {
    BusError::Unavailable("it was told to be".into())
}

#[async_trait]
impl Bus for Faulty {
    async fn append(&self, records: &[Record]) -> Result<(), BusError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(unavailable());
        }
        let refused = self.refused.lock().clone();
        if let Some(index) = records.iter().position(|record| refused.contains(&record.id)) {
            self.bus.append(&records[..index]).await?;
            return Err(BusError::Refused { index, reason: "it was told to refuse it".into() });
        }
        self.bus.append(records).await?;
        if self.forgetful.load(Ordering::Relaxed) { Err(unavailable()) } else { Ok(()) }
    }

    async fn reader(&self) -> Result<Box<dyn Reader>, BusError> {
        self.bus.reader().await
    }

    async fn position_at(
        &self,
        partition: &Partition,
        time: DateTime<Utc>,
    ) -> Result<u64, BusError> {
        self.bus.position_at(partition, time).await
    }

    async fn unread_since(
        &self,
        from: &[(Partition, u64)],
    ) -> Result<Option<DateTime<Utc>>, BusError> {
        let silent = self.silent.lock().clone();
        if from.iter().any(|(partition, _)| silent.contains(&partition.topic)) {
            return Err(unavailable());
        }
        self.bus.unread_since(from).await
    }

    async fn ping(&self) -> Result<(), BusError> {
        if self.away.load(Ordering::Relaxed) { Err(unavailable()) } else { self.bus.ping().await }
    }

    async fn trim(&self, age: Duration) -> Result<u64, BusError> {
        self.bus.trim(age).await
    }
}
