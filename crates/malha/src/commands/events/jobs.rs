//! `malha events jobs`

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use events::WorkQueue;
use uuid::Uuid;

/// Jobs of work queues that were given up.
#[derive(Debug, Subcommand)]
pub(crate) enum Jobs {
    /// List those of a queue with their reasons.
    List {
        /// Name of the queue, such as `maintenance.inspect`.
        queue: String,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        max: usize,
    },
    /// Have them done after all.
    Retry(Which),
    /// Remove them for good.
    Discard(Which),
}

/// Which jobs of a queue.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// Name of the queue, such as `maintenance.inspect`.
    queue: String,
    /// Id of the job.
    #[arg(required_unless_present = "all")]
    job: Option<Uuid>,
    /// All that were given up.
    #[arg(long, conflicts_with = "job")]
    all: bool,
}

impl Jobs {
    pub(crate) async fn run(self, queues: &dyn WorkQueue) -> Result<()> {
        match self {
            Self::List { queue, max } => {
                for (id, body, reason) in queues.buried(&queue, max).await? {
                    println!("{id}  {reason}: {body}");
                }
            }
            Self::Retry(which) => {
                let retried = queues.retry(&which.queue, which.job).await?;
                println!("{} jobs are tried again", which.found(retried)?);
            }
            Self::Discard(which) => {
                let discarded = queues.discard(&which.queue, which.job).await?;
                println!("{} jobs are removed", which.found(discarded)?);
            }
        }
        Ok(())
    }
}

impl Which {
    /// That a job was named and not found is an error.
    fn found(&self, count: u64) -> Result<u64> {
        match self.job {
            Some(job) if count == 0 => bail!("{job} is no job of {} that was given up", self.queue),
            _ => Ok(count),
        }
    }
}
