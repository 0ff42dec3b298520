//! HTTP requests → request messages, and response messages → HTTP bodies.

use std::borrow::Cow;

use bytes::Bytes;
use http::{Method, StatusCode};
use prost_protovalidate::{Error as RuleError, Validator, Violation};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value,
};

use crate::json::{At, Codec, ReadError, field_named, fields_given};
use crate::percent;
use crate::problem::{FieldError, Problem};
use crate::routes::{Body, Route};

/// Field of a request that says what a PATCH changes.
const UPDATE_MASK: &str = "update_mask";

/// Turns requests into messages and messages into bodies, for any annotated method.
pub(crate) struct Transcoder {
    codec: Codec,
    validator: Validator,
}

impl Transcoder {
    /// A transcoder for the messages of `pool`.
    pub(crate) fn new(pool: &DescriptorPool) -> Self {
        Self { codec: Codec::new(pool), validator: Validator::new() }
    }

    /// How the messages look in JSON.
    pub(crate) fn codec(&self) -> &Codec {
        &self.codec
    }

    /// The request message: the body, then the query, then the path; checked against its rules.
    pub(crate) fn request(
        &self,
        route: &Route,
        path_values: &[String],
        query: &str,
        body: &[u8],
    ) -> Result<DynamicMessage, Problem> {
        let mut message = self.read_body(route, body)?;
        self.read_query(route, &mut message, query)?;
        for (way, value) in route.variables.iter().zip(path_values) {
            self.set_variable(&mut message, way, value).map_err(one_invalid)?;
        }
        if route.verb == Some(Method::PATCH) {
            infer_update_mask(route, &mut message, body)?;
        }
        self.check_rules(route, &message)?;
        Ok(message)
    }

    /// The HTTP body of a response message.
    pub(crate) fn response(&self, route: &Route, wire: Bytes) -> Result<Vec<u8>, Problem> {
        let method = route.method.full_name();
        let message = DynamicMessage::decode(route.method.output(), wire).map_err(|error| {
            tracing::error!(method, %error, "an upstream answered what is no message");
            Problem::internal()
        })?;
        let json = match &route.response_body {
            Some(field) => self.codec.write_field(&message, field),
            None => self.codec.write(&message),
        };
        json.map_err(|error| {
            tracing::error!(method, %error, "an upstream answered what JSON cannot show");
            Problem::internal()
        })
    }

    fn read_body(&self, route: &Route, body: &[u8]) -> Result<DynamicMessage, Problem> {
        let input = route.method.input();
        match &route.body {
            _ if body.is_empty() => Ok(DynamicMessage::new(input)),
            Body::None => {
                let detail = "this method takes no body";
                Err(Problem::new(StatusCode::BAD_REQUEST, "UNEXPECTED_BODY", detail))
            }
            Body::Whole => self.codec.read(&input, body).map_err(unreadable),
            Body::Field(field) => {
                let mut message = DynamicMessage::new(input);
                if let Some(value) = self.codec.read_field(field, body).map_err(unreadable)? {
                    message.set_field(field, value);
                }
                Ok(message)
            }
        }
    }

    fn read_query(
        &self,
        route: &Route,
        message: &mut DynamicMessage,
        query: &str,
    ) -> Result<(), Problem> {
        let pairs = percent::decode_query(query).map_err(|_| {
            let detail = "the query is not percent-encoded UTF-8";
            Problem::new(StatusCode::BAD_REQUEST, "MALFORMED_QUERY", detail)
        })?;
        let mut given = Vec::new();
        for (name, value) in &pairs {
            let at = At::ROOT;
            let error = |description: &str| one_invalid(at.field(name).error(description));
            let way = query_field(route, name).map_err(error)?;
            let leaf = way.last().ok_or_else(|| error(UNKNOWN))?;
            if !leaf.is_list() && given.contains(&way) {
                return Err(error("is given more than once"));
            }
            let value = self.codec.read_text(&leaf.kind(), value).map_err(error)?;
            set(message, &way, value).map_err(error)?;
            given.push(way);
        }
        Ok(())
    }

    fn set_variable(
        &self,
        message: &mut DynamicMessage,
        way: &[FieldDescriptor],
        text: &str,
    ) -> Result<(), FieldError> {
        let error = |description: &str| {
            let names: Vec<_> = way.iter().map(FieldDescriptor::json_name).collect();
            FieldError::new(names.join("."), description)
        };
        let leaf = way.last().ok_or_else(|| error(UNKNOWN))?;
        if holds(message, way) {
            return Err(error("is set by the path"));
        }
        let value = self.codec.read_text(&leaf.kind(), text).map_err(error)?;
        set(message, way, value).map_err(error)
    }

    fn check_rules(&self, route: &Route, message: &DynamicMessage) -> Result<(), Problem> {
        match self.validator.validate(message) {
            Ok(()) => Ok(()),
            Err(RuleError::Validation(broken)) => {
                let errors = broken.violations().iter().map(|one| broken_rule(route, one));
                Err(Problem::invalid_fields(errors.collect()))
            }
            Err(error) => {
                let method = route.method.full_name();
                tracing::error!(method, %error, "the rules of a contract cannot be applied");
                Err(Problem::internal())
            }
        }
    }
}

/// Why a parameter is refused that no field of the request has.
const UNKNOWN: &str = "is not a parameter that is known here";

/// The way to the field that a query parameter sets.
fn query_field(route: &Route, name: &str) -> Result<Vec<FieldDescriptor>, &'static str> {
    if route.body == Body::Whole {
        return Err(UNKNOWN);
    }
    let mut way: Vec<FieldDescriptor> = Vec::new();
    for part in name.split('.') {
        let parent = match way.last() {
            None => route.method.input(),
            Some(field) if field.is_list() || field.is_map() => return Err(UNKNOWN),
            Some(field) => field.kind().as_message().ok_or(UNKNOWN)?.clone(),
        };
        way.push(field_named(&parent, part, &At::ROOT).map_err(|_| UNKNOWN)?);
    }
    if route.variables.contains(&way) {
        return Err("is set by the path");
    }
    match &route.body {
        Body::Field(field) if way.first() == Some(field) => Err("is set by the body"),
        _ => Ok(way),
    }
}

/// Sets the field at the end of `way`; adds to it when it is a list.
fn set(
    message: &mut DynamicMessage,
    way: &[FieldDescriptor],
    value: Value,
) -> Result<(), &'static str> {
    let Some((leaf, parents)) = way.split_last() else { return Ok(()) };
    let mut parent = message;
    for field in parents {
        parent = parent.get_field_mut(field).as_message_mut().ok_or(UNKNOWN)?;
    }
    if leaf.is_map() {
        return Err("is no value that a path or query can hold");
    }
    if leaf.is_list() {
        parent.get_field_mut(leaf).as_list_mut().ok_or(UNKNOWN)?.push(value);
        return Ok(());
    }
    if let Some(oneof) = leaf.containing_oneof()
        && oneof.fields().any(|other| other != *leaf && parent.has_field(&other))
    {
        return Err("excludes another parameter that is given");
    }
    parent.set_field(leaf, value);
    Ok(())
}

/// Whether the field at the end of `way` is set.
fn holds(message: &DynamicMessage, way: &[FieldDescriptor]) -> bool {
    let Some((field, rest)) = way.split_first() else { return true };
    message.has_field(field)
        && (rest.is_empty()
            || message.get_field(field).as_message().is_some_and(|child| holds(child, rest)))
}

/// What a PATCH without a mask changes: the fields that its body gives.
fn infer_update_mask(
    route: &Route,
    message: &mut DynamicMessage,
    body: &[u8],
) -> Result<(), Problem> {
    let (Body::Field(field), Some(mask)) = (&route.body, update_mask(&route.method.input())) else {
        return Ok(());
    };
    let Kind::Message(descriptor) = field.kind() else { return Ok(()) };
    if message.has_field(&mask) {
        return Ok(());
    }
    let given = match body {
        [] => Vec::new(),
        body => fields_given(&descriptor, body).map_err(unreadable)?,
    };
    if given.is_empty() {
        let detail = "the body names no field to change";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "EMPTY_UPDATE", detail));
    }
    let paths = given.iter().map(|field| Value::String(field.name().to_owned())).collect();
    if let Some(mask) = message.get_field_mut(&mask).as_message_mut() {
        mask.set_field_by_name("paths", Value::List(paths));
    }
    Ok(())
}

fn update_mask(input: &MessageDescriptor) -> Option<FieldDescriptor> {
    let field = input.get_field_by_name(UPDATE_MASK)?;
    let is_mask = field.kind().as_message()?.full_name() == "google.protobuf.FieldMask";
    is_mask.then_some(field)
}

fn one_invalid(error: FieldError) -> Problem {
    Problem::invalid_fields(vec![error])
}

fn unreadable(error: ReadError) -> Problem {
    match error {
        ReadError::Field(error) => one_invalid(error),
        ReadError::Syntax { line, column } => {
            let detail = format!("the body is not JSON: line {line}, column {column}");
            Problem::new(StatusCode::BAD_REQUEST, "MALFORMED_JSON", detail)
        }
    }
}

fn broken_rule(route: &Route, violation: &Violation) -> FieldError {
    let rule = violation.rule_id().to_owned();
    let pattern = violation.rule_value().and_then(Value::as_str);
    let description = match (violation.message(), pattern) {
        (_, Some(pattern)) if rule == "string.pattern" => {
            format!("must have the form that is documented for this field: {pattern}")
        }
        ("", _) => format!("must keep the rule {rule}"),
        (message, _) => message.to_owned(),
    };
    FieldError { field: shown_path(route, &violation.field_path()), rule, description }
}

/// A field's path as the client knows it: in JSON names, and from the body's root.
pub(crate) fn shown_path(route: &Route, path: &str) -> String {
    let mut message = Some(route.method.input());
    let mut shown = Vec::new();
    for part in path.split('.') {
        let (name, index) = part.split_at(part.find('[').unwrap_or(part.len()));
        let field = message.and_then(|message| message.get_field_by_name(name));
        let name =
            field.as_ref().map_or(Cow::Borrowed(name), |f| Cow::Owned(f.json_name().to_owned()));
        shown.push(format!("{name}{index}"));
        message = field.and_then(|field| field.kind().as_message().cloned());
    }
    if let Body::Field(field) = &route.body
        && shown.len() > 1
        && shown.first().is_some_and(|first| first == field.json_name())
    {
        shown.remove(0);
    }
    shown.join(".")
}

#[cfg(test)]
mod tests;
