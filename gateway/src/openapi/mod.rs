//! The contracts as an `OpenAPI` 3.1 document (L-10).

mod comments;
mod schema;

use contracts::policy::Access;
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use crate::json::Codec;
use crate::routes::{Body, Route, Routes};
use comments::Comments;
use schema::{REF, Schemas};

/// Problems that any method may answer, beside those of its own.
const PROBLEMS: [(&str, &str); 3] = [
    ("400", "The request is not what the contract says, or the present state forbids it."),
    ("429", "Too many requests."),
    ("503", "The service behind the method is unavailable."),
];

/// Builds the document of all routes.
pub(crate) fn document(pool: &DescriptorPool, routes: &Routes, codec: &Codec) -> Value {
    let comments = Comments::of(pool);
    let mut schemas = Schemas::new(codec, &comments);
    let mut paths = Map::new();
    for route in routes.all() {
        let operation = Operation { route, comments: &comments }.build(&mut schemas);
        let path = paths.entry(path_of(&route.template)).or_insert_with(|| json!({}));
        if let Some(methods) = path.as_object_mut() {
            methods.entry(verb_of(route)).or_insert(operation);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Malha",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The public methods of the mesh, over REST and JSON. Errors are RFC 9457 problems.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": tags(pool, routes, &comments),
        "paths": paths,
        "components": {
            "schemas": schemas.into_components(problem_schema()),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The `accessToken` that login answers.",
                },
            },
            "headers": headers(),
        },
    })
}

fn tags(pool: &DescriptorPool, routes: &Routes, comments: &Comments) -> Value {
    let has_route = |name: &str| {
        routes.all().iter().any(|route| route.method.parent_service().full_name() == name)
    };
    let services = pool.services().filter(|service| has_route(service.full_name()));
    let tag = |service: prost_reflect::ServiceDescriptor| {
        let description = comments.of_path(&service.parent_file(), service.path());
        json!({"name": tag_name(service.name()), "description": description})
    };
    services.map(tag).collect()
}

/// `PaymentsService` → `Payments`.
fn tag_name(service: &str) -> &str {
    service.strip_suffix("Service").unwrap_or(service)
}

/// The path in `OpenAPI`'s words: `/v1/{name=shelves/*}` → `/v1/{name}`.
fn path_of(template: &str) -> String {
    let mut path = String::new();
    let mut pattern = false;
    for character in template.chars() {
        match character {
            '=' => pattern = true,
            '}' => pattern = false,
            _ => {}
        }
        if !pattern {
            path.push(character);
        }
    }
    path
}

fn verb_of(route: &Route) -> String {
    match (&route.verb, &route.body) {
        (Some(verb), _) => verb.as_str().to_ascii_lowercase(),
        (None, Body::None) => "get".to_owned(),
        (None, _) => "post".to_owned(),
    }
}

/// One route as an operation.
struct Operation<'a> {
    route: &'a Route,
    comments: &'a Comments,
}

impl Operation<'_> {
    fn build(&self, schemas: &mut Schemas<'_>) -> Value {
        let method = &self.route.method;
        let service = method.parent_service();
        let text = self.comments.of_path(&method.parent_file(), method.path());
        let summary = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
        let mut operation = json!({
            "operationId": format!("{}_{}", service.name(), method.name()),
            "tags": [tag_name(service.name())],
            "summary": summary,
            "description": text,
            "parameters": self.parameters(schemas),
            "responses": self.responses(schemas),
            "security": self.security(),
        });
        if let Some(body) = self.request_body(schemas) {
            operation["requestBody"] = body;
        }
        if !self.route.policy.roles.is_empty() {
            let roles = self.route.policy.roles.iter().map(|role| auth::role_name(*role));
            operation["x-roles"] = roles.collect();
        }
        operation
    }

    fn security(&self) -> Value {
        match self.route.policy.access {
            Access::Public => json!([]),
            _ => json!([{"bearer": []}]),
        }
    }

    fn parameters(&self, schemas: &mut Schemas<'_>) -> Vec<Value> {
        let mut parameters = Vec::new();
        for way in &self.route.variables {
            let Some(leaf) = way.last() else { continue };
            let names: Vec<_> = way.iter().map(FieldDescriptor::name).collect();
            parameters.push(parameter("path", &names.join("."), leaf, schemas));
        }
        if self.route.body != Body::Whole {
            let input = self.route.method.input();
            self.query_parameters(&input, &mut Vec::new(), &mut parameters, schemas);
        }
        if self.route.policy.idempotency_key {
            parameters.push(json!({
                "name": "Idempotency-Key",
                "in": "header",
                "description": "Under one key a repeat of the request has no further effect.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            }));
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
        let schema = match &self.route.body {
            Body::None => return None,
            Body::Field(field) => schemas.field(field),
            Body::Whole => {
                let input = self.route.method.input();
                let in_path: Vec<_> =
                    self.route.variables.iter().filter_map(|way| way.first()).cloned().collect();
                if in_path.is_empty() {
                    schemas.reference(&input)
                } else {
                    schemas.message(&input, &in_path)
                }
            }
        };
        let required = match &self.route.body {
            Body::Whole => schema::has_required(&self.route.method.input()),
            _ => true,
        };
        Some(json!({"required": required, "content": {"application/json": {"schema": schema}}}))
    }

    fn responses(&self, schemas: &mut Schemas<'_>) -> Value {
        let route = self.route;
        let status = route.policy.success_status;
        let mut success = json!({
            "description": self.comments.of_message(&route.method.output()),
            "headers": header_references(),
        });
        if status != 204 {
            let schema = match &route.response_body {
                Some(field) => schemas.field(field),
                None => schemas.reference(&route.method.output()),
            };
            success["content"] = json!({"application/json": {"schema": schema}});
        }
        let mut responses = json!({status.to_string(): success});
        let own: &[_] = match route.policy.access {
            Access::Public => &[],
            _ => &[
                ("401", "The access token is missing or not valid."),
                ("403", "The user may not do this."),
            ],
        };
        for (status, description) in PROBLEMS.iter().chain(own) {
            responses[*status] = problem(description);
        }
        responses["default"] = problem("Any other problem.");
        responses
    }
}

fn parameter(place: &str, name: &str, field: &FieldDescriptor, schemas: &mut Schemas<'_>) -> Value {
    let mut schema = schemas.field(field);
    let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
    json!({
        "name": name,
        "in": place,
        "required": place == "path",
        "description": description.unwrap_or_default().as_str().unwrap_or_default(),
        "schema": schema,
    })
}

fn problem(description: &str) -> Value {
    json!({
        "description": description,
        "headers": header_references(),
        "content": {
            "application/problem+json": {"schema": {REF: "#/components/schemas/Problem"}},
        },
    })
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "Why a request was not carried out (RFC 9457).",
        "required": ["type", "title", "status", "detail", "instance", "reason", "correlationId"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference", "examples": ["/problems/insufficient-funds"]},
            "title": {"type": "string", "examples": ["Insufficient funds"]},
            "status": {"type": "integer", "examples": [400]},
            "detail": {"type": "string", "description": "What happened, for people."},
            "instance": {"type": "string", "description": "Path of the request."},
            "reason": {
                "type": "string",
                "description": "Stable name of the problem, for programs.",
                "examples": ["INSUFFICIENT_FUNDS"],
            },
            "correlationId": {"type": "string", "description": "Names the request in our logs."},
            "errors": {
                "type": "array",
                "description": "What is wrong with which field.",
                "items": {
                    "type": "object",
                    "required": ["field", "description"],
                    "properties": {
                        "field": {"type": "string", "examples": ["bankingDetails.agency"]},
                        "rule": {"type": "string", "examples": ["string.min_len"]},
                        "description": {"type": "string"},
                    },
                },
            },
            "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    })
}

fn headers() -> Value {
    let text =
        |description: &str| json!({"description": description, "schema": {"type": "string"}});
    let number =
        |description: &str| json!({"description": description, "schema": {"type": "integer"}});
    json!({
        "X-Correlation-Id": text("Names the request in our logs; the client's own when it sends one."),
        "RateLimit-Policy": text("Requests `q` admitted in `w` seconds, for each window."),
        "RateLimit": text("Requests `r` left for each window, and the seconds `t` until all are back."),
        "Retry-After": number("Seconds to wait before the next request."),
    })
}

fn header_references() -> Value {
    let names = ["X-Correlation-Id", "RateLimit-Policy", "RateLimit", "Retry-After"];
    let reference = |name: &str| json!({REF: format!("#/components/headers/{name}")});
    names.into_iter().map(|name| (name.to_owned(), reference(name))).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests;
