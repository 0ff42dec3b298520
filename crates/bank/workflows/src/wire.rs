//! Messages of the contract, to and from what `workflow` knows.

use chrono::{DateTime, Utc};
use contracts::workflows::v1 as pb;
use mesh::wire::{time, timestamp};
use prost_types::value::Kind as ValueKind;
use prost_types::{Timestamp, Value};
use serde_json::{Map, Number, json};
use workflow::{Entry, Event, Filter, Kind, Resume, Status, Trouble, Workflow};

use crate::error::CallError;

/// Payload of a signal, at most, as JSON.
const PAYLOAD_BYTES_MAX: usize = 16 * 1024;

/// Numbers up to here are whole in a double.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Reads the filters of a listing.
pub(crate) fn filter(request: &pb::ListWorkflowsRequest) -> Result<Filter, CallError> {
    let named = |text: &String| (!text.is_empty()).then(|| text.clone());
    Ok(Filter {
        statuses: request.status().filter_map(status_in).collect(),
        definition: named(&request.definition),
        owner: named(&request.service),
        created_from: bound("created_from", request.created_from.as_ref())?,
        created_before: bound("created_before", request.created_before.as_ref())?,
    })
}

fn bound(field: &'static str, at: Option<&Timestamp>) -> Result<Option<DateTime<Utc>>, CallError> {
    let read = |at| time(at).ok_or(CallError::InvalidField { field, rule: "must be a time" });
    at.map(read).transpose()
}

/// Reads what somebody says of an act.
pub(crate) fn comment(text: String) -> Result<String, CallError> {
    if text.contains('\0') {
        let rule = "must not hold the character U+0000";
        return Err(CallError::InvalidField { field: "comment", rule });
    }
    Ok(text)
}

/// Reads the payload of a signal; nothing is null.
pub(crate) fn payload(value: Option<Value>) -> Result<String, CallError> {
    let invalid = |rule| CallError::InvalidField { field: "payload", rule };
    let json =
        json_of(value.unwrap_or_default()).ok_or(invalid("must hold finite numbers only"))?;
    let text = json.to_string();
    if text.len() > PAYLOAD_BYTES_MAX {
        return Err(invalid("must be at most 16 KiB as JSON"));
    }
    Ok(text)
}

fn json_of(value: Value) -> Option<serde_json::Value> {
    Some(match value.kind {
        None | Some(ValueKind::NullValue(_)) => serde_json::Value::Null,
        Some(ValueKind::BoolValue(truth)) => json!(truth),
        Some(ValueKind::NumberValue(number)) => json!(number_of(number)?),
        Some(ValueKind::StringValue(text)) => json!(text),
        Some(ValueKind::ListValue(list)) => {
            list.values.into_iter().map(json_of).collect::<Option<Vec<_>>>()?.into()
        }
        Some(ValueKind::StructValue(fields)) => {
            let fields = fields.fields.into_iter();
            let fields = fields.map(|(name, value)| Some((name, json_of(value)?)));
            serde_json::Value::Object(fields.collect::<Option<Map<_, _>>>()?)
        }
    })
}

/// A whole number as one, so that the step reads it as one.
fn number_of(number: f64) -> Option<Number> {
    if number.fract() == 0.0 && number.abs() <= WHOLE_MAX {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
        return Some(Number::from(number as i64));
    }
    Number::from_f64(number)
}

/// Reads how a workflow goes on; `None` for what the contract refuses anyway.
pub(crate) fn resume(action: pb::ResumeAction) -> Option<Resume> {
    match action {
        pb::ResumeAction::Unspecified => None,
        pb::ResumeAction::Retry => Some(Resume::Retry),
        pb::ResumeAction::Skip => Some(Resume::Skip),
    }
}

/// Shows a workflow.
pub(crate) fn workflow(workflow: &Workflow) -> pb::Workflow {
    let steps = workflow.steps().iter().zip(&workflow.kinds);
    pb::Workflow {
        id: workflow.id.to_string(),
        definition: workflow.definition.clone(),
        version: i32::try_from(workflow.version).unwrap_or(i32::MAX),
        service: workflow.owner.clone(),
        status: status_out(workflow.status()).into(),
        step: workflow.step().to_owned(),
        steps: steps
            .map(|(name, kind)| pb::WorkflowStep {
                name: name.clone(),
                kind: kind_out(*kind).into(),
            })
            .collect(),
        failure: workflow.failed().map(trouble),
        halt: workflow.halted().map(trouble),
        wait_until: workflow.wait_until.map(timestamp),
        due_at: workflow.due_at.map(timestamp),
        created_at: Some(timestamp(workflow.created_at)),
        updated_at: Some(timestamp(workflow.updated_at)),
        ended_at: workflow.ended_at.map(timestamp),
        correlation_id: workflow.correlation_id.clone(),
    }
}

/// Shows a line of a history.
pub(crate) fn entry(entry: Entry) -> pb::HistoryEntry {
    pb::HistoryEntry {
        at: Some(timestamp(entry.at)),
        event: event_out(entry.event).into(),
        step: entry.step,
        attempt: i32::try_from(entry.attempt).unwrap_or(i32::MAX),
        reason: entry.reason,
        message: entry.message,
        actor_id: entry.actor.map(|actor| actor.to_string()).unwrap_or_default(),
        comment: entry.comment,
    }
}

fn trouble(trouble: &Trouble) -> pb::Trouble {
    let Trouble { step, reason, message } = trouble.clone();
    pb::Trouble { step, reason, message }
}

fn status_in(status: pb::WorkflowStatus) -> Option<Status> {
    Status::ALL.into_iter().find(|known| status_out(*known) == status)
}

fn status_out(status: Status) -> pb::WorkflowStatus {
    match status {
        Status::Running => pb::WorkflowStatus::Running,
        Status::Waiting => pb::WorkflowStatus::Waiting,
        Status::Compensating => pb::WorkflowStatus::Compensating,
        Status::Completed => pb::WorkflowStatus::Completed,
        Status::Failed => pb::WorkflowStatus::Failed,
        Status::Cancelled => pb::WorkflowStatus::Cancelled,
        Status::Parked => pb::WorkflowStatus::Parked,
        Status::ManualIntervention => pb::WorkflowStatus::ManualIntervention,
    }
}

fn kind_out(kind: Kind) -> pb::StepKind {
    match kind {
        Kind::Step => pb::StepKind::Step,
        Kind::Sleep => pb::StepKind::Sleep,
        Kind::Signal => pb::StepKind::Signal,
        Kind::Approval => pb::StepKind::Approval,
    }
}

fn event_out(event: Event) -> pb::HistoryEvent {
    match event {
        Event::Started => pb::HistoryEvent::Started,
        Event::StepDone => pb::HistoryEvent::StepDone,
        Event::AttemptFailed => pb::HistoryEvent::AttemptFailed,
        Event::StepFailed => pb::HistoryEvent::StepFailed,
        Event::Waiting => pb::HistoryEvent::Waiting,
        Event::Signalled => pb::HistoryEvent::Signalled,
        Event::SignalUnreadable => pb::HistoryEvent::SignalUnreadable,
        Event::Approved => pb::HistoryEvent::Approved,
        Event::Rejected => pb::HistoryEvent::Rejected,
        Event::Compensated => pb::HistoryEvent::Compensated,
        Event::CompensationAttemptFailed => pb::HistoryEvent::CompensationAttemptFailed,
        Event::CompensationFailed => pb::HistoryEvent::CompensationFailed,
        Event::Parked => pb::HistoryEvent::Parked,
        Event::Resumed => pb::HistoryEvent::Resumed,
        Event::Skipped => pb::HistoryEvent::Skipped,
        Event::CancelRequested => pb::HistoryEvent::CancelRequested,
        Event::TurnedBack => pb::HistoryEvent::TurnedBack,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_stay_whole_and_others_as_they_are() {
        let number = |number| Some(Value { kind: Some(ValueKind::NumberValue(number)) });
        for (given, text) in [(7.0, "7"), (-1.0, "-1"), (0.5, "0.5"), (1e300, "1e+300")] {
            assert_eq!(payload(number(given)).unwrap(), text);
        }
        assert_eq!(payload(None).unwrap(), "null");
        assert!(payload(number(f64::NAN)).is_err());
    }

    #[test]
    fn a_payload_is_limited() {
        let text = |length| Some(Value { kind: Some(ValueKind::StringValue("x".repeat(length))) });
        assert!(payload(text(PAYLOAD_BYTES_MAX - 2)).is_ok());
        assert!(payload(text(PAYLOAD_BYTES_MAX - 1)).is_err());
    }
}
