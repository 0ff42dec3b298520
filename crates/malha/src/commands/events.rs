//! `malha events`

mod jobs;

use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use events::{DeadLetter, Operator, Replayed};
use storage::Database;
use uuid::Uuid;

use crate::settings::Settings;

/// Look at events that were given up, and have them tried again or left out.
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
    /// Forget how far a consumer has come that runs no more: nothing is late for it then.
    Forget {
        /// Name of the consumer.
        consumer: String,
    },
    /// List the events that the relay could not bring to the bus.
    Failed,
    /// Have the relay try events again that it could not bring to the bus.
    Redrive {
        /// Id of the event; without it, all of them.
        #[arg(long)]
        event: Option<Uuid>,
    },
    /// Leave an event out that the relay could not bring to the bus: nobody hears of it, and later
    /// ones of its subject go on. Prints its data, which are gone then.
    Skip {
        /// Id of the event.
        event: Uuid,
    },
    /// Jobs of work queues that were given up.
    #[command(subcommand)]
    Jobs(jobs::Jobs),
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
    Replay(Chosen),
    /// Remove them: they are not taken up.
    Discard(Chosen),
}

/// Some dead letters.
#[derive(Args, Debug)]
pub(crate) struct Chosen {
    /// Id of the event.
    #[arg(required_unless_present_any = ["consumer", "all"])]
    event: Option<Uuid>,
    /// All of this consumer.
    #[arg(long)]
    consumer: Option<String>,
    /// All of all consumers.
    #[arg(long, conflicts_with_all = ["event", "consumer"])]
    all: bool,
}

impl Events {
    pub(crate) async fn run(self, settings: &Settings) -> Result<()> {
        let database = Database::open("events", &settings.storage);
        database.ping().await.with_context(|| {
            let storage::Config { host, port, .. } = &settings.storage;
            format!("no PostgreSQL answers at {host}, port {port} (storage.host, storage.port)")
        })?;
        let bus = settings.events.open(&database).await?;
        let operator = Operator::new(database.clone(), bus);
        match self {
            Self::Dead(dead) => dead.run(&operator).await?,
            Self::Replay { topic, from, consumer } => {
                check_consumer(&operator, consumer.as_deref()).await?;
                check_topic(&operator, &topic).await?;
                let consumers = operator.replay(&topic, from, consumer.as_deref()).await?;
                println!("taken up again by: {}", listed(&consumers));
            }
            Self::Forget { consumer } => {
                check_consumer(&operator, Some(&consumer)).await?;
                let forgotten = operator.forget(&consumer).await?;
                ensure!(!forgotten.is_empty(), "{consumer} still runs");
                println!("forgotten: {}", listed(&forgotten));
            }
            Self::Failed => operator.failed(1_000).await?.iter().for_each(print),
            Self::Redrive { event } => {
                let driven = operator.redrive(event).await?;
                ensure!(driven > 0 || event.is_none(), "the relay did not give this event up");
                println!("{driven} events are tried again");
            }
            Self::Skip { event } => {
                let data = operator.skip(event).await?;
                println!("{}", data.context("the relay did not give this event up")?);
            }
            Self::Jobs(jobs) => jobs.run(&*settings.events.queues(&database).await?).await?,
        }
        Ok(())
    }
}

impl Dead {
    async fn run(self, operator: &Operator) -> Result<()> {
        match self {
            Self::List { consumer, max } => {
                check_consumer(operator, consumer.as_deref()).await?;
                operator.dead(consumer.as_deref(), max).await?.iter().for_each(print);
            }
            Self::Show { event } => {
                let letters = operator.dead_of(event).await?;
                let first =
                    letters.first().with_context(|| format!("{event} is no dead letter"))?;
                println!("{}", first.value);
                letters.iter().for_each(print);
            }
            Self::Replay(Chosen { event, consumer, .. }) => {
                check_consumer(operator, consumer.as_deref()).await?;
                let Replayed { again, unreadable } =
                    operator.dead_replay(event, consumer.as_deref()).await?;
                ensure!(again + unreadable > 0 || event.is_none(), "this event is no dead letter");
                println!("{again} events are tried again");
                ensure!(
                    unreadable == 0,
                    "{unreadable} cannot be read as events: `dead discard` removes them"
                );
            }
            Self::Discard(Chosen { event, consumer, .. }) => {
                check_consumer(operator, consumer.as_deref()).await?;
                let discarded = operator.dead_discard(event, consumer.as_deref()).await?;
                ensure!(discarded > 0 || event.is_none(), "this event is no dead letter");
                println!("{discarded} events are removed");
            }
        }
        Ok(())
    }
}

/// Refuses a name that no consumer has.
async fn check_consumer(operator: &Operator, consumer: Option<&str>) -> Result<()> {
    let Some(consumer) = consumer else { return Ok(()) };
    let mut names: Vec<_> = operator.consumers().await?.into_iter().map(|it| it.name).collect();
    names.sort();
    names.dedup();
    if !names.iter().any(|name| name == consumer) {
        bail!("there is no consumer {consumer}, but {}", listed(&names));
    }
    Ok(())
}

/// Refuses a name that no topic has.
async fn check_topic(operator: &Operator, topic: &str) -> Result<()> {
    let told = contracts::events::all().iter().any(|event| event.topic == topic);
    let read = operator.consumers().await?.iter().any(|consumer| consumer.topic == topic);
    ensure!(told || read, "there is no topic {topic}");
    Ok(())
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
