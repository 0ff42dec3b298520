#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::schema::{PROBLEM, REF};
use super::*;
use crate::site::{Contract, Settings, Site};

fn site() -> Site {
    Site::of(contracts::pool(), &[]).unwrap()
}

fn built() -> Value {
    serde_json::from_slice(site().openapi.body()).unwrap()
}

/// Every `$ref` in `value`.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get(REF).and_then(Value::as_str).map(ToOwned::to_owned));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(elements) => elements.iter().for_each(|element| references(element, found)),
        _ => {}
    }
}

/// L-10.
#[test]
fn every_route_is_documented_and_every_reference_leads_somewhere() {
    let document = built();
    let site = site();
    for route in site.routes.all() {
        let operation = operation(&document, route);
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{}", route.template);
        let status = route.rpc.policy.success_status.as_str();
        assert!(operation["responses"][status].is_object(), "{}", route.template);
        for way in &route.variables {
            let parameters = operation["parameters"].as_array().unwrap();
            let leaf = way.last().unwrap();
            let is_it = |p: &&Value| p["in"] == "path" && !p["example"].is_null();
            assert!(parameters.iter().find(is_it).is_some(), "{}", leaf.full_name());
        }
    }
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some_and(Value::is_object), "{reference}");
    }
}

#[test]
fn operations_say_who_may_call_and_what_they_answer() {
    let document = built();
    let register = &document["paths"]["/auth/register"]["post"];
    assert_eq!(register["security"], json!([]));
    assert!(register["responses"]["201"].is_object());
    assert_eq!(register["requestBody"]["required"], true);

    let reverse = &document["paths"]["/transactions/{id}/reverse"]["post"];
    assert_eq!(reverse["security"], json!([{"bearer": []}]));
    assert_eq!(reverse["x-roles"], json!(["OPERATOR", "ADMIN"]));
    assert_eq!(
        reverse["requestBody"]["content"]["application/json"]["schema"]["properties"],
        json!({})
    );

    // Services need no user, but they do not come this way.
    let move_money = &document["paths"]["/v1/ledger/transfers"]["post"];
    assert_eq!(move_money["security"], json!([{"bearer": []}]));
    assert_eq!(move_money["x-roles"], json!(["ADMIN", "OPERATOR"]));
    assert!(move_money["responses"]["401"].is_object());

    let create = &document["paths"]["/transactions"]["post"];
    assert!(
        create["parameters"].as_array().unwrap().iter().any(|p| p["name"] == "Idempotency-Key")
    );

    let list = &document["paths"]["/transactions"]["get"]["parameters"];
    let status = list.as_array().unwrap().iter().find(|p| p["name"] == "status").unwrap();
    assert_eq!(status["schema"]["type"], "array");
}

#[test]
fn schemas_show_the_rules_and_options_of_fields() {
    let schemas = &built()["components"]["schemas"];
    let request = &schemas["identity.RegisterRequest"];
    assert_eq!(request["required"], json!(["name", "email", "password"]));
    assert_eq!(request["properties"]["password"]["minLength"], 10);
    assert_eq!(request["properties"]["email"]["format"], "email");
    assert_eq!(schemas["accounts.GetBalanceResponse"]["properties"]["balance"]["type"], "number");
    assert_eq!(
        schemas["payments.TransactionStatus"]["enum"],
        json!(["PENDING", "COMPLETED", "FAILED", "REVERSED"])
    );
    let page_size = &built()["paths"]["/users/{user_id}/statement"]["get"]["parameters"];
    let page_size = page_size.as_array().unwrap().iter().find(|p| p["name"] == "pageSize").unwrap();
    assert_eq!(
        (&page_size["schema"]["minimum"], &page_size["schema"]["maximum"]),
        (&json!(0), &json!(100))
    );
}

/// L-10: what is shown to people as an example is accepted when they send it.
#[test]
fn every_body_has_an_example_that_the_contract_accepts() {
    let document = built();
    let mut bodies = 0;
    for (path, verb, operation) in operations(&document) {
        if operation["requestBody"].is_null() {
            continue;
        }
        bodies += 1;
        // It is left out if the rules refuse it.
        let content = operation["requestBody"]["content"].as_object().unwrap();
        assert!(content.values().all(|content| !content["example"].is_null()), "{verb} {path}");
    }
    assert!(bodies > 10);
}

#[test]
fn every_answer_has_an_example_that_is_its_message() {
    let site = site();
    let document = built();
    for route in site.routes.all() {
        let operation = operation(&document, route);
        let status = route.rpc.policy.success_status.as_str();
        let success = &operation["responses"][status]["content"]["application/json"];
        if route.response_body.is_some() || success.is_null() {
            continue;
        }
        let example = success["example"].to_string();
        let output = route.rpc.descriptor.output();
        let schema = Schema::new(
            contracts::pool(),
            &crate::site::OfOptions,
            transcoder::Settings::default(),
        );
        let plan = schema.message(output.full_name()).unwrap();
        let read = plan.encode(example.as_bytes(), &mut Vec::new());
        assert!(read.is_ok(), "{} {example}", route.template);
    }
}

#[test]
fn ids_are_unlike_and_problems_are_those_that_may_come() {
    let document = built();
    let mut ids: Vec<_> =
        operations(&document).map(|(.., it)| it["operationId"].to_string()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);

    let login = &document["paths"]["/auth/login"]["post"]["responses"];
    assert!(login["401"].is_null() && login["422"].is_null());
    assert_eq!(login["429"][REF], "#/components/responses/Problem429");
    let create = &document["paths"]["/transactions"]["post"];
    assert!(create["responses"]["422"].is_object());
    assert!(create["responses"]["201"]["headers"]["X-Idempotent-Replay"].is_object());
    let invalid = &document["components"]["responses"]["Problem400"]["content"];
    let invalid = &invalid["application/problem+json"]["examples"]["INVALID_FIELD"]["value"];
    assert_eq!(invalid["reason"], "INVALID_FIELD");
}

#[test]
fn streams_and_policies_of_a_third_party_are_shown() {
    #[derive(serde::Deserialize)]
    struct File {
        policies: Vec<crate::policy::Rule>,
    }
    let rules = "
        [[policies]]
        methods = '*/SayHello'
        scopes = ['greet']
        roles = ['friend']
        conditional = true";
    let rules = toml::from_str::<File>(rules).unwrap().policies;
    let site = Site::of(crate::corner::greeter(), &rules).unwrap();
    let document: Value = serde_json::from_slice(site.openapi.body()).unwrap();
    let paths = &document["paths"];

    let hello = &paths["/v1/hello/{name}"]["get"];
    assert_eq!(hello["summary"], "Greets one person.");
    assert_eq!(hello["security"], json!([{"bearer": ["greet"]}]));
    assert_eq!(hello["x-roles"], json!(["friend"]));
    assert_eq!(hello["parameters"][0]["example"], "Ana");
    assert!(hello["responses"]["304"].is_object());
    assert!(hello["responses"]["412"].is_object());
    assert!(paths["/v1/hello"]["post"]["responses"]["412"].is_null(), "a POST has no ETag");
    assert!(hello["responses"]["200"]["headers"]["ETag"].is_object());
    assert!(paths["/v1/hello"]["post"]["responses"]["304"].is_null(), "a POST has no ETag");
    let hellos = &paths["/v1/hellos/{name}"]["get"]["responses"]["200"]["content"];
    let kinds: Vec<_> = hellos.as_object().unwrap().keys().collect();
    assert_eq!(kinds, ["application/x-ndjson", "text/event-stream"]);
    let collect = &paths["/v1/hellos:collect"]["post"]["requestBody"]["content"];
    assert!(collect["application/x-ndjson"].is_object());
    assert!(paths["/greeter.v1.GreeterService/SayGoodbye"]["post"].is_object());
    assert_eq!(document["tags"][0]["name"], "greeter.v1.GreeterService");
    assert!(document["components"]["schemas"]["greeter.v1.SayHelloResponse"].is_object());
}

#[test]
fn paths_that_differ_in_names_alone_are_one() {
    let mut paths = Paths::default();
    assert_eq!(paths.place("/users/{id}").0, "/users/{id}");
    let (path, names) = paths.place("/users/{user.id=*}");
    assert_eq!((path.as_str(), names), ("/users/{id}", vec![vec!["id".to_owned()]]));

    // One may have in one variable what another has in two: each names all that the path names.
    let of_two = ["/v1/shelves/{shelf}/books/{book}", "/v1/{name=shelves/*/books/*}"];
    let (two, one) = ([vec!["shelf"], vec!["book"]].to_vec(), [vec!["shelf", "book"]].to_vec());
    for order in [[0, 1], [1, 0]] {
        let mut paths = Paths::default();
        for template in order {
            let (path, names) = paths.place(of_two[template]);
            assert_eq!(path, "/v1/shelves/{shelf}/books/{book}");
            assert_eq!(names, if template == 0 { two.clone() } else { one.clone() });
        }
    }
}

/// L-10: resources of several kinds, named as Google names them, are several paths.
#[test]
fn no_method_is_lost_where_names_are_paths() {
    let text = r#"
        syntax = "proto3";
        package x.library;
        import "google/api/annotations.proto";
        message In { string name = 1; }
        service Library {
            rpc GetBook(In) returns (In) { option (google.api.http) = {get: "/v1/{name=books/*}"}; }
            rpc GetShelf(In) returns (In) { option (google.api.http) = {get: "/v1/{name=shelves/*}"}; }
        }
    "#;
    let set = testkit::greeter::compile("library.proto", text);
    let pool = DescriptorPool::decode(&*set).unwrap();
    let site = Site::of(&pool, &[]).unwrap();
    let document: Value = serde_json::from_slice(site.openapi.body()).unwrap();
    for (path, method, name) in [
        ("/v1/books/{book}", "Library_GetBook", "book"),
        ("/v1/shelves/{shelf}", "Library_GetShelf", "shelf"),
    ] {
        let operation = &document["paths"][path]["get"];
        assert_eq!(operation["operationId"], method);
        assert_eq!(operation["parameters"][0]["name"], name);
        assert_eq!(operation["parameters"][0]["description"], "Part of `name`.");
    }
}

/// The operation of a route: its path may have another route's names.
fn operation<'d>(document: &'d Value, route: &Route) -> &'d Value {
    let shape = |path: &str| path_of(path).2;
    let (verb, wanted) = (verb_of(route).unwrap(), shape(&route.template));
    let mut all = operations(document);
    all.find(|(path, of, _)| **of == verb && shape(path) == wanted).unwrap().2
}

fn operations(document: &Value) -> impl Iterator<Item = (&String, &String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, verbs)| {
        verbs.as_object().unwrap().iter().map(move |(verb, operation)| (path, verb, operation))
    })
}

/// The document shows errors as the settings have them.
#[test]
fn errors_are_documented_in_the_form_that_they_have() {
    let contract = Contract { pool: contracts::pool().clone(), offers: BTreeMap::new() };
    let settings = Settings { errors: ErrorForm::Status, ..Settings::default() };
    let site = Site::build(&contract, &settings).unwrap();
    let document: Value = serde_json::from_slice(site.openapi.body()).unwrap();
    assert!(!document.to_string().contains("problem+json"));
    let schema = &document["components"]["schemas"][PROBLEM];
    assert_eq!(schema["required"], json!(["code", "message", "details"]));
    let limited = &document["components"]["responses"]["Problem429"]["content"]["application/json"];
    assert_eq!(limited["schema"][REF], "#/components/schemas/Problem");
    let example = &limited["examples"]["RATE_LIMITED"]["value"];
    assert_eq!(
        (&example["code"], &example["details"][0]["reason"]),
        (&json!(8), &json!("RATE_LIMITED"))
    );
    assert_eq!(example["details"][1]["retryDelay"], "1s");
}
