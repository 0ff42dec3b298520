//! What happens elsewhere and users are told of.

use std::sync::Arc;

use async_trait::async_trait;
use auth::UserId;
use contracts::identity::v1::UserCreated;
use contracts::notifications::v1::{NotificationRequested, UserNotificationRequested};
use contracts::payments::v1::{TransactionCompleted, TransactionSummary};
use events::{Bus, Consumer, ConsumerConfig, Event, EventError, Handler, HandlerError};
use storage::{Database, Transaction};

use crate::domain::{Order, Variables};
use crate::error::NotificationError;
use crate::recorder::Recorder;

/// The consumer of all that users are told of. Its name stands in the database: it stays.
pub(crate) fn consumer(recorder: &Recorder, database: Database, bus: Arc<dyn Bus>) -> Consumer {
    let on = |read| Arc::new(Flow { recorder: recorder.clone(), read });
    Consumer::builder("notifications", database, bus, ConsumerConfig::default())
        .on("user.created", on(welcome))
        .on("transaction.completed", on(transfer))
        .on("notification.requested", on(requested))
        .on("user.notification.requested", on(user_requested))
        .build()
}

/// One type of event, and what users are told of it.
struct Flow {
    recorder: Recorder,
    read: fn(&Event) -> Result<Option<Order>, FlowError>,
}

/// Why nobody can be told of an event, however often it comes.
#[derive(Debug, thiserror::Error)]
enum FlowError {
    #[error(transparent)]
    Event(#[from] EventError),
    #[error("{0} is missing or wrong")]
    Field(&'static str),
}

#[async_trait]
impl Handler for Flow {
    async fn handle(
        &self,
        transaction: &mut Transaction,
        event: &Event,
    ) -> Result<(), HandlerError> {
        let order = (self.read)(event).map_err(|error| HandlerError::Reject(error.to_string()))?;
        let Some(order) = order else { return Ok(()) };
        match self.recorder.record_in_txn(transaction, &order).await {
            Ok(_) => Ok(()),
            Err(NotificationError::Store(error)) => Err(error.into()),
            Err(error) => Err(HandlerError::Reject(error.to_string())),
        }
    }
}

fn welcome(event: &Event) -> Result<Option<Order>, FlowError> {
    let created: UserCreated = event.decode()?;
    let user = user(&created.user_id)?;
    Ok(Some(order(user, "welcome", "welcome".to_owned(), Variables::new())))
}

/// Both accounts of a transfer have an event of their own, so each owner is told by its own.
fn transfer(event: &Event) -> Result<Option<Order>, FlowError> {
    let completed: TransactionCompleted = event.decode()?;
    let transaction = completed.transaction.ok_or(FlowError::Field("transaction"))?;
    if transaction.r#type != "TRANSFER" {
        return Ok(None);
    }
    let template = match completed.direction.as_str() {
        "DEBIT" => "transfer-sent",
        "CREDIT" => "transfer-received",
        _ => return Err(FlowError::Field("direction")),
    };
    let key = format!("{template}:{}", transaction.id);
    Ok(Some(order(user(&completed.user_id)?, template, key, of_transfer(transaction)?)))
}

fn of_transfer(transaction: TransactionSummary) -> Result<Variables, FlowError> {
    let at = transaction.processed_at.as_ref().and_then(mesh::wire::time);
    let at = at.ok_or(FlowError::Field("transaction.processed_at"))?;
    Ok(Variables::from([
        ("amount".to_owned(), transaction.amount),
        ("currency".to_owned(), transaction.currency),
        ("transaction_id".to_owned(), transaction.id),
        ("completed_at".to_owned(), at.to_rfc3339()),
    ]))
}

fn requested(event: &Event) -> Result<Option<Order>, FlowError> {
    let NotificationRequested { user_id, template, dedup_key, variables } = event.decode()?;
    Ok(Some(order(user(&user_id)?, &template, dedup_key, variables.into_iter().collect())))
}

fn user_requested(event: &Event) -> Result<Option<Order>, FlowError> {
    let UserNotificationRequested { user_id, template, dedup_key, variables } = event.decode()?;
    Ok(Some(order(user(&user_id)?, &template, dedup_key, variables.into_iter().collect())))
}

fn order(user: UserId, template: &str, dedup_key: String, variables: Variables) -> Order {
    Order { user, template: template.to_owned(), dedup_key, variables, recipient: None }
}

fn user(id: &str) -> Result<UserId, FlowError> {
    id.parse().map_err(|_| FlowError::Field("user_id"))
}
