//! The contracts as an `OpenAPI` 3.1 document (L-10).

mod comments;
mod example;
mod operation;
mod path;
mod pattern;
mod problems;
mod rules;
mod schema;

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, ServiceDescriptor};
use serde_json::{Map, Value, json};
use transcoder::Schema;

use crate::config::ErrorForm;
use crate::site::{Route, Routes};
use comments::Comments;
use operation::Operation;
use path::path_of;
use schema::Schemas;

/// Builds the document of all routes, whose errors have that form.
pub(crate) fn document(
    pool: &DescriptorPool,
    routes: &Routes,
    schema: &Schema,
    errors: ErrorForm,
) -> Value {
    let comments = Comments::of(pool);
    let mut schemas = Schemas::new(schema, &comments);
    let mut paths = Paths::default();
    for route in routes.all() {
        // Other verbs than these have no place in a document.
        let Some(verb) = verb_of(route) else { continue };
        let (path, names) = paths.place(&route.template);
        let operation = Operation { route, names, schema, comments: &comments };
        let operation = operation.build(&mut schemas);
        paths.add(path, verb, operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": info(pool, errors),
        "servers": [{"url": "/"}],
        "tags": tags(pool, routes, &comments),
        "paths": paths.all,
        "components": {
            "schemas": schemas.into_components(problems::schema(errors)),
            "responses": problems::responses(errors),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "An access token.",
                },
            },
            "headers": problems::headers(),
        },
    })
}

fn info(pool: &DescriptorPool, errors: ErrorForm) -> Value {
    let own = pool.services().any(|service| service.package_name().starts_with("malha."));
    let title = if own { "Malha" } else { "API" };
    let errors = match errors {
        ErrorForm::Problem => "RFC 9457 problems",
        ErrorForm::Status => "`google.rpc.Status`",
    };
    json!({
        "title": title,
        "version": env!("CARGO_PKG_VERSION"),
        "description": format!("Methods of gRPC services, over REST and JSON. Errors are {errors}."),
    })
}

fn tags(pool: &DescriptorPool, routes: &Routes, comments: &Comments) -> Value {
    let has_route = |service: &ServiceDescriptor| {
        routes.all().iter().any(|route| route.rpc.descriptor.parent_service() == service)
    };
    let tag = |service: ServiceDescriptor| {
        let description = comments.of_path(&service.parent_file(), service.path());
        json!({"name": tag_name(&service), "description": description})
    };
    pool.services().filter(has_route).map(tag).collect()
}

/// `malha.payments.v1.PaymentsService` → `Payments`; of others the whole name, for it tells them
/// apart.
fn tag_name(service: &ServiceDescriptor) -> String {
    if service.package_name().starts_with("malha.") {
        return service.name().strip_suffix("Service").unwrap_or(service.name()).to_owned();
    }
    service.full_name().to_owned()
}

/// The verb in `OpenAPI`'s words. What admits any is shown as what its body makes it.
fn verb_of(route: &Route) -> Option<String> {
    let verb = match &route.verb {
        Some(verb) => verb.as_str().to_ascii_lowercase(),
        None if route.body == crate::site::Body::None => "get".to_owned(),
        None => "post".to_owned(),
    };
    let verbs = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
    verbs.contains(&&*verb).then_some(verb)
}

/// The paths of the document. Templates that differ in the names of their variables alone are one
/// path; the first one names them.
#[derive(Default)]
struct Paths {
    all: Map<String, Value>,
    /// Path and names by its shape.
    shapes: HashMap<String, (String, Vec<String>)>,
    /// Operations by id, counted.
    ids: HashMap<String, u32>,
}

impl Paths {
    /// Where a template stands, and how its variables are named there.
    fn place(&mut self, template: &str) -> (String, Vec<Vec<String>>) {
        let (path, own, shape) = path_of(template);
        let (path, names) = self.shapes.entry(shape).or_insert_with(|| (path, own.concat()));
        // Where one template has two variables another may have one of two segments.
        let mut names = names.iter().cloned();
        let dealt = own.iter().map(|own| names.by_ref().take(own.len()).collect()).collect();
        (path.clone(), dealt)
    }

    fn add(&mut self, path: String, verb: String, mut operation: Value) {
        let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
        let count = self.ids.entry(id.clone()).or_default();
        *count += 1;
        if *count > 1 {
            operation["operationId"] = json!(format!("{id}_{count}"));
        }
        let methods = self.all.entry(path).or_insert_with(|| json!({}));
        if let Some(methods) = methods.as_object_mut() {
            methods.entry(verb).or_insert(operation);
        }
    }
}

#[cfg(test)]
mod tests;
