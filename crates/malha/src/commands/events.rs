//! `malha events`

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use clap::Subcommand;
use events::{DeadLetter, Operator};
use storage::Database;
use uuid::Uuid;

use crate::settings::Settings;

/// Look at events that were given up, and have them tried again.
#[derive(Debug, Subcommand)]
pub(crate) enum Events {
    /// Events that a consumer could not take up.
    #[command(subcommand)]
    Dead(Dead),
    /// Have consumers take up again what was appended to a topic since a time.
    Replay {
        /// Name of the topic, such as `transaction-events`.
        #[arg(long)]
        topic: String,
        /// The time, as `2026-11-22T10:00:00Z`.
        #[arg(long)]
        from: DateTime<Utc>,
        /// Name of the consumer; without it, all that read the topic.
        #[arg(long)]
        consumer: Option<String>,
    },
    /// List the events that the relay could not bring to the bus.
    Failed,
    /// Have the relay try events again that it could not bring to the bus.
    Redrive {
        /// Id of the event; without it, all of them.
        #[arg(long)]
        event: Option<Uuid>,
    },
}

/// Events that a consumer could not take up.
#[derive(Debug, Subcommand)]
pub(crate) enum Dead {
    /// List them, oldest first.
    List {
        /// Name of the consumer; without it, those of all.
        #[arg(long)]
        consumer: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        max: u32,
    },
    /// Show one with its data.
    Show {
        /// Id of the event.
        event: Uuid,
    },
    /// Have them tried again.
    Replay {
        /// Id of the event.
        #[arg(required_unless_present_any = ["consumer", "all"])]
        event: Option<Uuid>,
        /// All of this consumer.
        #[arg(long)]
        consumer: Option<String>,
        /// All of all consumers.
        #[arg(long, conflicts_with_all = ["event", "consumer"])]
        all: bool,
    },
}

impl Events {
    pub(crate) async fn run(self, settings: &Settings) -> Result<()> {
        let database = Database::open("events", &settings.storage);
        let bus = settings.events.open(&database).await?;
        let operator = Operator::new(database, bus);
        match self {
            Self::Dead(dead) => dead.run(&operator).await,
            Self::Replay { topic, from, consumer } => {
                let consumers = operator.replay(&topic, from, consumer.as_deref()).await?;
                println!("taken up again by: {}", listed(&consumers));
                Ok(())
            }
            Self::Failed => {
                operator.failed(1_000).await?.iter().for_each(print);
                Ok(())
            }
            Self::Redrive { event } => {
                println!("{} events are tried again", operator.redrive(event).await?);
                Ok(())
            }
        }
    }
}

impl Dead {
    async fn run(self, operator: &Operator) -> Result<()> {
        match self {
            Self::List { consumer, max } => {
                operator.dead(consumer.as_deref(), max).await?.iter().for_each(print);
            }
            Self::Show { event } => {
                let letters = operator.dead_of(event).await?;
                let first =
                    letters.first().with_context(|| format!("{event} is no dead letter"))?;
                println!("{}", first.value);
                letters.iter().for_each(print);
            }
            Self::Replay { event, consumer, .. } => {
                let replayed = operator.dead_replay(event, consumer.as_deref()).await?;
                println!("{replayed} events are tried again");
            }
        }
        Ok(())
    }
}

fn listed(consumers: &[String]) -> String {
    if consumers.is_empty() { "nobody".into() } else { consumers.join(", ") }
}

fn print(letter: &DeadLetter) {
    let DeadLetter { service, consumer, event_id, kind, key, attempts, error, parked_at, .. } =
        letter;
    println!(
        "{event_id}  {}  {service}/{consumer}  {kind}  of {key}  after {attempts} attempts: {error}",
        parked_at.format("%FT%TZ")
    );
}
