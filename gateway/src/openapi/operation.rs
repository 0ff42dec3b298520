//! One route as an operation.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use prost_types::{MethodOptions, ServiceOptions};
use serde_json::{Value, json};
use transcoder::Schema;

use super::comments::Comments;
use super::example::Examples;
use super::path::patterns;
use super::rules::is_required;
use super::schema::{self, Schemas};
use super::{problems, tag_name};
use crate::policy::Access;
use crate::site::{Body, Route, Streaming};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const EVENTS: &str = "text/event-stream";

/// One route, and what is known of it.
pub(super) struct Operation<'a> {
    pub(super) route: &'a Route,
    /// Names of its path variables in the document, one for each segment.
    pub(super) names: Vec<Vec<String>>,
    pub(super) schema: &'a Schema,
    pub(super) comments: &'a Comments,
}

impl Operation<'_> {
    pub(super) fn build(&self, schemas: &mut Schemas<'_>) -> Value {
        let rpc = &self.route.rpc;
        let method = &rpc.descriptor;
        let service = method.parent_service();
        let text = self.comments.of_path(&method.parent_file(), method.path());
        let summary = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
        let mut operation = json!({
            "operationId": format!("{}_{}", service.name(), method.name()),
            "tags": [tag_name(service)],
            "summary": summary,
            "description": self.description(text),
            "parameters": self.parameters(schemas),
            "responses": self.responses(schemas),
            "security": self.security(),
        });
        if let Some(body) = self.request_body(schemas) {
            operation["requestBody"] = body;
        }
        if !rpc.policy.roles.is_empty() {
            operation["x-roles"] = json!(rpc.policy.roles);
        }
        let own = method.method_descriptor_proto().options.as_ref();
        let of_service = service.service_descriptor_proto().options.as_ref();
        if own.is_some_and(MethodOptions::deprecated)
            || of_service.is_some_and(ServiceOptions::deprecated)
        {
            operation["deprecated"] = json!(true);
        }
        operation
    }

    /// What the contract says, and what it says in options.
    fn description(&self, text: &str) -> String {
        let policy = &self.route.rpc.policy;
        let mut parts = vec![text.to_owned()];
        if !policy.roles.is_empty() {
            parts.push(format!("Needs one of the roles {}.", quoted(&policy.roles)));
        }
        if !policy.scopes.is_empty() {
            parts.push(format!("Needs the scopes {}.", quoted(&policy.scopes)));
        }
        if self.route.rpc.streaming == Streaming::Both {
            parts.push("A GET that asks for a WebSocket opens one here.".to_owned());
        }
        parts.retain(|part| !part.is_empty());
        parts.join("\n\n")
    }

    fn security(&self) -> Value {
        let policy = &self.route.rpc.policy;
        match policy.access {
            Access::Public => json!([]),
            _ => json!([{"bearer": policy.scopes}]),
        }
    }

    fn parameters(&self, schemas: &mut Schemas<'_>) -> Vec<Value> {
        let policy = &self.route.rpc.policy;
        let mut parameters = Vec::new();
        let variables = self.route.variables.iter().zip(&self.names);
        for ((way, names), pattern) in variables.zip(patterns(&self.route.template)) {
            let Some(leaf) = way.last() else { continue };
            match (names.as_slice(), pattern) {
                ([name], "*" | "**") => parameters.push(parameter("path", name, leaf, schemas)),
                (parts, _) => parameters.extend(parts.iter().map(|part| segment(part, leaf))),
            }
        }
        if self.route.body != Body::Whole {
            let input = self.route.rpc.descriptor.input();
            self.query_parameters(&input, &mut Vec::new(), &mut parameters, schemas);
        }
        if policy.idempotency_key {
            parameters.push(header(
                "Idempotency-Key",
                "Under one key a repeat of the request has no further effect.",
                &json!({"type": "string", "minLength": 1, "maxLength": 255}),
            ));
        }
        if self.is_conditional() {
            let text = "The `ETag` of the answer that the client has already.";
            parameters.push(header("If-None-Match", text, &json!({"type": "string"})));
            let text = "The `ETag` of the only answer that the client wants.";
            parameters.push(header("If-Match", text, &json!({"type": "string"})));
        }
        parameters
    }

    /// Every field that neither path nor body sets; those of inner messages by their way.
    fn query_parameters(
        &self,
        message: &MessageDescriptor,
        way: &mut Vec<FieldDescriptor>,
        parameters: &mut Vec<Value>,
        schemas: &mut Schemas<'_>,
    ) {
        for field in message.fields() {
            let recursive = way.contains(&field);
            let is_body = way.is_empty() && self.route.body == Body::Field(field.clone());
            way.push(field.clone());
            if !recursive && !is_body && !field.is_map() && !self.route.variables.contains(way) {
                match field.kind() {
                    Kind::Message(inner) if !schema::is_text(&inner) => {
                        if !field.is_list() && !schema::is_well_known(&inner) {
                            self.query_parameters(&inner, way, parameters, schemas);
                        }
                    }
                    _ => {
                        let names: Vec<_> = way.iter().map(FieldDescriptor::json_name).collect();
                        parameters.push(parameter("query", &names.join("."), &field, schemas));
                    }
                }
            }
            way.pop();
        }
    }

    fn request_body(&self, schemas: &mut Schemas<'_>) -> Option<Value> {
        let input = self.route.rpc.descriptor.input();
        let examples = Examples(self.schema);
        let (schema, example, required) = match &self.route.body {
            Body::None => return None,
            Body::Field(field) => (schemas.field(field), examples.field(field), true),
            Body::Whole => {
                let in_path: Vec<_> =
                    self.route.variables.iter().filter_map(|way| way.first()).cloned().collect();
                let schema = if in_path.is_empty() {
                    schemas.reference(&input)
                } else {
                    schemas.message(&input, &in_path)
                };
                let required = input.fields().any(|field| is_required(&field));
                (schema, examples.message(&input, &in_path), required)
            }
        };
        let streams = matches!(self.route.rpc.streaming, Streaming::Client | Streaming::Both);
        let media = if streams { NDJSON } else { JSON };
        let mut content = json!({"schema": schema});
        // What the contract's own rules refuse is no example.
        if let Some(example) = example.filter(|example| self.accepts(example)) {
            content["example"] = example;
        }
        let mut body = json!({"required": required, "content": {media: content}});
        if streams {
            body["description"] = json!("One message in each line.");
        }
        Some(body)
    }

    /// Whether a request with this body keeps the rules.
    fn accepts(&self, body: &Value) -> bool {
        let examples = Examples(self.schema);
        let of_path = |way: &Vec<FieldDescriptor>| {
            let example = examples.field(way.last()?)?;
            Some(example.as_str().map_or_else(|| example.to_string(), ToOwned::to_owned))
        };
        let path: Option<Vec<_>> = self.route.variables.iter().map(of_path).collect();
        let body = body.to_string();
        path.is_some_and(|path| {
            let input = transcoder::Input {
                path: &path,
                query: "",
                content_type: "application/json",
                body: body.as_bytes(),
            };
            self.route.request.encode(&input, &mut Vec::new()).is_ok()
        })
    }

    fn responses(&self, schemas: &mut Schemas<'_>) -> Value {
        let policy = &self.route.rpc.policy;
        let status = policy.success_status.as_u16();
        let mut responses = problems::references(policy);
        responses[status.to_string()] = self.success(schemas);
        if self.is_conditional() {
            responses["304"] = json!({"description": "The client has this answer already."});
            responses["412"] = problems::response("412");
        }
        responses
    }

    fn success(&self, schemas: &mut Schemas<'_>) -> Value {
        let policy = &self.route.rpc.policy;
        let output = self.route.rpc.descriptor.output();
        let text = self.comments.of_message(&output);
        let text = if text.is_empty() { "The answer." } else { text };
        let mut headers = problems::header_references();
        if policy.idempotency_key {
            headers["X-Idempotent-Replay"] = problems::header("X-Idempotent-Replay");
        }
        if self.is_conditional() {
            headers["ETag"] = problems::header("ETag");
        }
        let mut success = json!({"description": text, "headers": headers});
        if policy.success_status.as_u16() == 204 {
            return success;
        }
        let examples = Examples(self.schema);
        let (schema, example) = match &self.route.response_body {
            Some(field) => (schemas.field(field), examples.field(field)),
            None => (schemas.reference(&output), examples.message(&output, &[])),
        };
        let mut content = json!({"schema": schema});
        if let Some(example) = example {
            content["example"] = example;
        }
        success["content"] = match self.route.rpc.streaming {
            _ if self.route.response.is_raw() => json!({"*/*": {}}),
            Streaming::None | Streaming::Client => json!({JSON: content}),
            Streaming::Server | Streaming::Both => {
                success["description"] = json!(format!(
                    "{text}\n\nOne in each line, or in each event: as `Accept` wishes."
                ));
                json!({NDJSON: content, EVENTS: {"schema": schema}})
            }
        };
        success
    }

    /// Whether answers carry an `ETag`.
    fn is_conditional(&self) -> bool {
        self.route.rpc.policy.conditional && self.route.verb == Some(http::Method::GET)
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn header(name: &str, description: &str, schema: &Value) -> Value {
    json!({"name": name, "in": "header", "description": description, "schema": schema})
}

/// A part of the value of a path variable.
fn segment(name: &str, of: &FieldDescriptor) -> Value {
    json!({
        "name": name,
        "in": "path",
        "required": true,
        "description": format!("Part of `{}`.", of.json_name()),
        "schema": {"type": "string", "minLength": 1},
        "example": name,
    })
}

fn parameter(place: &str, name: &str, field: &FieldDescriptor, schemas: &mut Schemas<'_>) -> Value {
    let example = schemas.example(field);
    let mut schema = schemas.field(field);
    let mut take = |name| schema.as_object_mut().and_then(|schema| schema.remove(name));
    let (description, deprecated) = (take("description"), take("deprecated"));
    let mut parameter = json!({
        "name": name,
        "in": place,
        "required": place == "path" || is_required(field),
        "description": description.unwrap_or_else(|| json!("")),
        "schema": schema,
    });
    if let Some(deprecated) = deprecated {
        parameter["deprecated"] = deprecated;
    }
    if let (Some(example), true) = (example, place == "path") {
        parameter["example"] = example;
    }
    parameter
}
