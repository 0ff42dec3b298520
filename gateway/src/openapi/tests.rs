#![allow(clippy::unwrap_used)]

use super::*;
use crate::pages::PAGES;

fn built() -> Value {
    let pool = contracts::pool();
    document(pool, &Routes::compile(pool, &PAGES).unwrap(), &Codec::new(pool))
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
    let routes = Routes::compile(contracts::pool(), &PAGES).unwrap();
    for route in routes.all() {
        let operation = &document["paths"][path_of(&route.template)][verb_of(route)];
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{}", route.template);
        let status = route.policy.success_status.to_string();
        assert!(operation["responses"][&status].is_object(), "{}", route.template);
        for way in &route.variables {
            let parameters = operation["parameters"].as_array().unwrap();
            assert!(parameters.iter().any(|p| p["in"] == "path" && p["name"] == way[0].name()));
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
