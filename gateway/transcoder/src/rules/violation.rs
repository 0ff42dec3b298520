//! What the complete validator says of messages that are not surely valid.

use prost_protovalidate::{Error, Violation};
use prost_reflect::{DynamicMessage, Value};

use super::{Rules, surely_valid};
use crate::error::{FieldError, InputError};
use crate::schema::Plans;

/// Checks the rules of a message.
pub(crate) fn check(plans: &Plans, place: u32, wire: &[u8]) -> Result<(), InputError> {
    if surely_valid(plans, place, wire, 0) {
        return Ok(());
    }
    let descriptor = plans.message(place).descriptor.clone();
    let message = DynamicMessage::decode(descriptor, wire)
        .map_err(|error| InputError::Rules(error.to_string()))?;
    match plans.validator.validate(&message) {
        Ok(()) => Ok(()),
        Err(Error::Validation(broken)) => {
            Err(InputError::Fields(broken.violations().iter().map(broken_rule).collect()))
        }
        Err(error) => Err(InputError::Rules(error.to_string())),
    }
}

/// Looks for rules that no message could be checked by, before one has to be.
pub(crate) fn check_all(plans: &Plans) -> Result<(), (String, String)> {
    for (plan, rules) in plans.messages.iter().zip(&plans.rules) {
        let message = DynamicMessage::new(plan.descriptor.clone());
        if !matches!(rules, Rules::Free)
            && let Err(Error::Compilation(error)) = plans.validator.validate(&message)
        {
            return Err((plan.descriptor.full_name().to_owned(), error.to_string()));
        }
    }
    Ok(())
}

fn broken_rule(violation: &Violation) -> FieldError {
    let rule = violation.rule_id().to_owned();
    let pattern = violation.rule_value().and_then(Value::as_str);
    let description = match (violation.message(), pattern) {
        (_, Some(pattern)) if rule == "string.pattern" => {
            format!("must have the form that is documented for this field: {pattern}")
        }
        ("", _) => format!("must keep the rule {rule}"),
        (message, _) => message.to_owned(),
    };
    FieldError { field: violation.field_path(), rule, description }
}
