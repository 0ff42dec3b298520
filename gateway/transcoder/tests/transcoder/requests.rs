//! `google.api.http`: what paths, queries and bodies make of a request, and what is the body of an
//! answer.

use http::Method;
use prost_reflect::{DynamicMessage, Value};
use serde_json::json;
use transcoder::{HttpRule, Input, InputError, Output, Request, Response, Settings};

use crate::corner::{Bench, compile, pool};

#[test]
fn path_variables_set_fields_however_deep() {
    let bench = Bench::corner();
    for (target, expected) in [
        ("/v1/shelves/1/books", json!({"parent": "shelves/1"})),
        ("/v1/books/Machado%20de%20Assis", json!({"filter": {"author": "Machado de Assis"}})),
    ] {
        assert_eq!(bench.request(Method::GET, target, "").unwrap(), expected, "{target}");
    }
    let published =
        bench.request(Method::POST, "/v1/shelves/1/books/2:publish", r#"{"note":"x"}"#).unwrap();
    assert_eq!(published, json!({"name": "shelves/1/books/2", "note": "x"}));
}

#[test]
fn query_parameters_set_the_rest() {
    let bench = Bench::corner();
    for (query, expected) in [
        ("", json!({})),
        ("pageSize=5", json!({"pageSize": 5})),
        ("page_size=5", json!({"pageSize": 5})),
        ("pageSize=0", json!({})),
        (
            "colours=RED&colours=2&colours=COLOUR_RED",
            json!({"colours": ["RED", "DARK_BLUE", "RED"]}),
        ),
        (
            "filter.author=A+B&filter.nested.shape=SHAPE_ROUND",
            json!({"filter": {"author": "A B", "nested": {"shape": "SHAPE_ROUND"}}}),
        ),
        (
            "filter.nested.shape=1&pageSize=1&filter.author=A",
            json!({"pageSize": 1, "filter": {"author": "A", "nested": {"shape": "SHAPE_ROUND"}}}),
        ),
        ("filter.years=1&filter.years=2", json!({"filter": {"years": ["1", "2"]}})),
        (
            "since=2026-01-31T12:00:00Z&within=1.5s",
            json!({"since": "2026-01-31T12:00:00Z", "within": "1.500s"}),
        ),
        ("mask=name,deeper.name", json!({"mask": "name,deeper.name"})),
        ("mask=bankingDetails,account_type", json!({"mask": "bankingDetails,accountType"})),
        ("wrapped=7&all=true&key=AAE=", json!({"wrapped": "7", "all": true, "key": "AAE="})),
        ("left=x", json!({"left": "x"})),
        ("left=", json!({"left": ""})),
        ("labels[a]=1&labels%5Bb.c%5D=2", json!({"labels": {"a": "1", "b.c": "2"}})),
    ] {
        let request = bench.request(Method::GET, &format!("/v1/any?{query}"), "").unwrap();
        assert_eq!(request, expected, "{query}");
    }
    let target = "/transactions?status=PENDING&status=COMPLETED&type=TRANSFER\
                  &createdFrom=2026-01-01T00:00:00Z";
    let exact = Bench::malha().request(Method::GET, target, "");
    assert_eq!(exact.unwrap()["status"], json!(["PENDING", "COMPLETED"]));
}

#[test]
fn parameters_that_the_contract_does_not_admit_are_named() {
    let bench = Bench::corner();
    for (target, field) in [
        ("/v1/any?nope=1", "nope"),
        ("/v1/any?filter.nope=1", "filter.nope"),
        ("/v1/any?pageSize.x=1", "pageSize.x"),
        ("/v1/any?pageSize=x", "pageSize"),
        ("/v1/any?pageSize=1&page_size=2", "page_size"),
        ("/v1/any?colours=GREEN", "colours"),
        ("/v1/any?all=1", "all"),
        ("/v1/any?filter=x", "filter"),
        ("/v1/any?filter.nested.amount=1e2", "filter.nested.amount"),
        ("/v1/any?inners=x", "inners"),
        ("/v1/any?inners.name=x", "inners.name"),
        ("/v1/any?data=x", "data"),
        ("/v1/any?labels=x", "labels"),
        ("/v1/any?labels[a]=x&labels[a]=y", "labels[a]"),
        ("/v1/any?labels[a=x", "labels[a"),
        ("/v1/any?pageSize[a]=1", "pageSize[a]"),
        ("/v1/any?left=a&right=b", "right"),
        ("/v1/any?since=now", "since"),
        ("/v1/any?since=2026-01-31T12:00:00Z&since.seconds=1", "since.seconds"),
        ("/v1/any?=1", ""),
        ("/v1/shelves/1/books?parent=x", "parent"),
        ("/v1/books/x?filter.author=y", "filter.author"),
    ] {
        let (reason, fields) = bench.refusal(Method::GET, target, "");
        assert_eq!(
            (reason.as_str(), fields),
            ("INVALID_FIELD", vec![field.to_owned()]),
            "{target}"
        );
    }
    assert_eq!(bench.refusal(Method::GET, "/v1/any?left=%ff", "").0, "MALFORMED_QUERY");
    let (_, fields) = bench.refusal(Method::POST, "/v1/shelves/1/books/2:publish?note=x", "");
    assert_eq!(fields, ["note"], "a whole body leaves nothing to the query");
    let (_, fields) =
        bench.refusal(Method::PATCH, "/v1/things/x?thing.bool=true", r#"{"bool":true}"#);
    assert_eq!(fields, ["thing.bool"], "the body's field is not the query's");
}

#[test]
fn a_setting_skips_unknown_parameters() {
    let settings = Settings { ignore_unknown: true, ..Settings::default() };
    let bench = Bench::new(pool(), settings);
    let request = bench.request(Method::GET, "/v1/any?nope=1&filter.nope=2&left=x", "");
    assert_eq!(request.unwrap(), json!({"left": "x"}));
}

#[test]
fn bodies_are_the_whole_message_or_one_field() {
    let bench = Bench::corner();
    let put = |body| bench.request(Method::PUT, "/v1/tags?owner=me", body);
    assert_eq!(put(r#"["a","b"]"#).unwrap(), json!({"owner": "me", "tags": ["a", "b"]}));
    assert_eq!(put("").unwrap(), json!({"owner": "me"}));
    assert_eq!(put("null").unwrap(), json!({"owner": "me"}));

    let reverse = "/transactions/0199c0de-0000-7000-8000-000000000001/reverse";
    for body in ["", "{}"] {
        assert!(Bench::malha().request(Method::POST, reverse, body).is_ok(), "{body:?}");
    }
    let (_, fields) = Bench::malha().refusal(Method::POST, reverse, r#"{"id":"x"}"#);
    assert_eq!(fields, ["id"], "the path's field is not the body's");
    assert!(Bench::malha().request(Method::POST, reverse, r#"{"id":null}"#).is_ok());

    let (reason, _) = bench.refusal(Method::GET, "/v1/any", "{}");
    assert_eq!(reason, "UNEXPECTED_BODY");
    let error = bench.request(Method::PUT, "/v1/tags", "[\"a\",").unwrap_err();
    assert_eq!(error, InputError::Syntax { line: 1, column: 5 });
}

/// What the path sets below a field, the body must not set; all else of the field it may.
#[test]
fn a_body_and_a_path_may_share_a_message_but_no_field() {
    let bench = Bench::corner();
    let patch = |body| bench.request(Method::PATCH, "/v1/things/x?dryRun=true", body);
    let request = patch(r#"{"int32":7,"inner":{"name":"a"}}"#).unwrap();
    assert_eq!(request["thing"]["text"], "x");
    assert_eq!(request["thing"]["int32"], 7);
    assert_eq!(request["dryRun"], true);
    assert_eq!(request["updateMask"], "int32,inner");
    let error = patch(r#"{"int32":7,"text":"y"}"#).unwrap_err();
    assert_eq!(error.to_string(), "text: is set by the path");
}

#[test]
fn a_patch_without_a_mask_changes_the_fields_that_it_names() {
    let bench = Bench::malha();
    let target = "/users/me";
    let patch = |body| {
        bench.request(Method::PATCH, target, body).map(|request| request["updateMask"].clone())
    };
    assert_eq!(patch(r#"{"name":"Ana","profilePicture":null}"#).unwrap(), "name,profilePicture");
    let banking = r#"{"bankingDetails":
        {"agency":"0001","accountNumber":"12345-6","accountType":"CHECKING"}}"#;
    assert_eq!(patch(banking).unwrap(), "bankingDetails");

    let given = bench.request(
        Method::PATCH,
        "/users/me?updateMask=name",
        r#"{"name":"Ana","address":"x"}"#,
    );
    assert_eq!(given.unwrap()["updateMask"], "name");
    for body in ["", "{}"] {
        assert_eq!(bench.refusal(Method::PATCH, target, body).0, "EMPTY_UPDATE", "{body:?}");
    }
    assert_eq!(bench.refusal(Method::PATCH, target, "null").1, [""]);
}

#[test]
fn rules_that_cannot_be_served_are_refused_at_the_start() {
    let bench = Bench::corner();
    let service = pool().get_service_by_name("malha.corner.v1.CornerService").unwrap();
    let method = service.methods().find(|method| method.name() == "Search").unwrap();
    for (template, body, fault) in [
        ("v1", "", "a template begins with a slash"),
        ("/{nope}", "", "`nope` is no field of malha.corner.v1.SearchRequest"),
        ("/{parent.x}", "", "`parent.x` is no field of malha.corner.v1.SearchRequest"),
        ("/{inners.name}", "", "`inners.name` is no field of malha.corner.v1.SearchRequest"),
        ("/{colours}", "", "`colours` goes through a repeated field"),
        ("/{left}/{right}", "", "`right` excludes another variable"),
        ("/{parent}/{parent}", "", "`parent` excludes another variable"),
        ("/v1", "nope", "malha.corner.v1.SearchRequest has no field `nope`"),
    ] {
        let rule = HttpRule {
            template: template.to_owned(),
            body: body.to_owned(),
            ..HttpRule::default()
        };
        let error = Request::new(&bench.schema, &method, &rule).unwrap_err();
        let name = method.full_name();
        assert_eq!(error.to_string(), format!("the route of {name}: {fault}"), "{template}");
    }
    assert!(Response::new(&bench.schema, &method, "nope").is_err());
}

/// L-07.
#[test]
fn the_rules_of_the_contract_are_kept_and_named_as_the_client_knows_them() {
    let bench = Bench::malha();
    let (reason, fields) = bench.refusal(
        Method::POST,
        "/auth/register",
        r#"{"name":"Ana","email":"no-mail","password":"hunter2"}"#,
    );
    assert_eq!(
        (reason.as_str(), fields),
        ("INVALID_FIELD", vec!["email".to_owned(), "password".to_owned()])
    );

    let body =
        r#"{"bankingDetails":{"agency":"x","accountNumber":"12345-6","accountType":"SAVINGS"}}"#;
    assert_eq!(bench.refusal(Method::PATCH, "/users/me", body).1, ["bankingDetails.agency"]);
    assert_eq!(bench.refusal(Method::GET, "/users/42", "").1, ["id"]);
    assert_eq!(bench.refusal(Method::GET, "/users/me/statement?pageSize=101", "").1, ["pageSize"]);

    let error = bench
        .request(
            Method::POST,
            "/auth/register",
            r#"{"name":"Ana","email":"a@b.c","password":"hunter2"}"#,
        )
        .unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"), "no value is shown");
    let InputError::Fields(errors) = error else { panic!("{error}") };
    assert_eq!(errors[0].rule, "string.min_len");
}

#[test]
fn a_pattern_is_introduced_to_its_reader() {
    let error = Bench::malha().request(Method::GET, "/users/42/balance", "").unwrap_err();
    let InputError::Fields(errors) = error else { panic!("{error}") };
    assert_eq!((errors[0].field.as_str(), errors[0].rule.as_str()), ("userId", "string.pattern"));
    assert_eq!(
        errors[0].description,
        "must have the form that is documented for this field: ^(me|[0-9a-fA-F-]{36})$"
    );
}

/// Metadata is returned as given, or refused.
#[test]
fn a_number_that_a_double_cannot_keep_is_refused() {
    let bench = Bench::malha();
    let read = |number: &str| {
        let body = format!(r#"{{"type":"DEPOSIT","amount":1,"metadata":{{"a":[{number}]}}}}"#);
        bench.request(Method::POST, "/transactions", &body)
    };
    for number in [
        "0",
        "-0.0",
        "5",
        "1.50",
        "0.1",
        "1e3",
        "100E-2",
        "9007199254740991",
        "9007199254740994",
        // Two spellings of seventeen digits that are as near to the float.
        "-1196524472474052.2",
        "-1196524472474052.3",
        "1e300",
        "-2.5e-7",
    ] {
        let shown = read(number).unwrap()["metadata"]["a"][0].as_f64();
        assert_eq!(shown, number.parse().ok(), "{number}");
    }
    for number in ["9007199254740993", "-12345678901234567890", "0.1234567890123456789", "1e-400"] {
        let InputError::Fields(errors) = read(number).unwrap_err() else { panic!("{number}") };
        assert_eq!(errors[0].field, "metadata.a[0]", "{number}");
        assert_eq!(errors[0].description, "is a number that cannot be kept exactly");
    }
}

#[test]
fn amounts_reach_the_service_digit_for_digit() {
    let bench = Bench::malha();
    for amount in ["100.50", "\"100.50\"", "0.1", "9999999999999999.99"] {
        let body = format!("{{\"type\":\"DEPOSIT\",\"amount\":{amount}}}");
        let (method, wire) = bench.wire(&Method::POST, "/transactions", &body).unwrap();
        let message = DynamicMessage::decode(method.input(), &*wire).unwrap();
        let sent = message.get_field_by_name("amount").unwrap();
        assert_eq!(sent.as_str(), Some(amount.trim_matches('"')));
    }
    for amount in ["1e2", "-1", "\"\"", "\"abc\"", "1.0000000000000000001"] {
        let body = format!("{{\"type\":\"DEPOSIT\",\"amount\":{amount}}}");
        assert_eq!(bench.refusal(Method::POST, "/transactions", &body).1, ["amount"], "{amount}");
    }
}

/// A field of the answer as the body: of whatever kind, there or not.
#[test]
fn the_response_body_is_the_field_that_the_contract_names() {
    let bench = Bench::corner();
    let service = pool().get_service_by_name("malha.corner.v1.CornerService").unwrap();
    let method = service.methods().find(|method| method.name() == "Search").unwrap();
    let plan = bench.schema.message("malha.corner.v1.Everything").unwrap();
    for (field, json, body) in [
        ("always_list", r#"{"alwaysList":[{"name":"a"},{}]}"#, r#"[{"name":"a"},{}]"#),
        ("always_list", "{}", "[]"),
        ("by_name", r#"{"byName":{"b":1,"a":2}}"#, r#"{"a":"2","b":"1"}"#),
        ("by_name", "{}", "{}"),
        ("text", r#"{"text":"x","int32":1}"#, r#""x""#),
        ("text", "{}", r#""""#),
        ("int64", r#"{"int64":5}"#, r#""5""#),
        ("balance", "{}", "0"),
        ("colour", r#"{"colour":"RED"}"#, r#""RED""#),
        ("inner", r#"{"inner":{"name":"x"}}"#, r#"{"name":"x"}"#),
        ("inner", "{}", "{}"),
        ("at", "{}", "null"),
        ("at", r#"{"at":"2026-01-31T12:00:00Z"}"#, r#""2026-01-31T12:00:00Z""#),
        ("left", r#"{"left":"x"}"#, r#""x""#),
    ] {
        let mut wire = Vec::new();
        plan.encode(json.as_bytes(), &mut wire).unwrap();
        let response = Response::new(&bench.schema, &method, field).unwrap();
        let mut shown = Vec::new();
        assert_eq!(response.decode(&wire, &mut shown), Ok(Output::Json), "{field}");
        assert_eq!(String::from_utf8(shown).unwrap(), body, "{field} of {json}");
    }
    let response = Response::new(&bench.schema, &method, "").unwrap();
    assert!(response.decode(b"\xff\xff", &mut Vec::new()).is_err(), "this is no message");
}

/// `google.api.HttpBody`, both ways, whole and as a field.
#[test]
fn bodies_may_be_taken_and_given_as_they_are() {
    let pool = compile("raw.proto");
    let bench = Bench::new(&pool, Settings::default());
    let service = pool.get_service_by_name("malha.raw.v1.RawService").unwrap();
    for (name, whole) in [("Echo", true), ("Upload", false)] {
        let method = service.methods().find(|method| method.name() == name).unwrap();
        let rule = &HttpRule::of(&method).unwrap()[0];
        let request = Request::new(&bench.schema, &method, rule).unwrap();
        assert!(request.takes_raw());
        let path: &[&str] = if whole { &[] } else { &["7"] };
        let input = Input { path, query: "", content_type: "image/png", body: b"\x89PNG\xff" };
        let mut wire = Vec::new();
        request.encode(&input, &mut wire).unwrap();

        let message = DynamicMessage::decode(method.input(), &*wire).unwrap();
        let raw = if whole {
            message
        } else {
            assert_eq!(*message.get_field_by_name("id").unwrap(), Value::String("7".into()));
            message.get_field_by_name("file").unwrap().as_message().unwrap().clone()
        };
        let field = |name| raw.get_field_by_name(name).unwrap().into_owned();
        assert_eq!(field("content_type"), Value::String("image/png".to_owned()));
        assert_eq!(field("data"), Value::Bytes(b"\x89PNG\xff".as_slice().into()));

        let response = Response::new(&bench.schema, &method, &rule.response_body).unwrap();
        assert!(response.is_raw());
        let mut body = Vec::new();
        let shown = response.decode(&wire, &mut body).unwrap();
        assert_eq!(shown, Output::Raw { content_type: "image/png".into() });
        assert_eq!(body, b"\x89PNG\xff");
    }
    let method = service.methods().find(|method| method.name() == "Wrap").unwrap();
    let rule = &HttpRule::of(&method).unwrap()[0];
    assert!(!Request::new(&bench.schema, &method, rule).unwrap().takes_raw());
    let response = Response::new(&bench.schema, &method, "").unwrap();
    let mut body = Vec::new();
    let wire = [&[0x0a, 1, b'7', 0x12, 6, 0x0a, 1, b'x', 0x12, 1], &b"y"[..]].concat();
    assert_eq!(response.decode(&wire, &mut body), Ok(Output::Json));
    assert_eq!(body, br#"{"id":"7","file":{"contentType":"x","data":"eQ=="}}"#);
}

/// A oneof is one, whether path, query or body give its fields.
#[test]
fn oneofs_are_kept_across_path_query_and_body() {
    let bench = Bench::corner();
    let service = pool().get_service_by_name("malha.corner.v1.CornerService").unwrap();
    let method = service.methods().find(|method| method.name() == "Search").unwrap();
    let encode = |template: &str, body: &str, path: &[&str], query: &str, json: &str| {
        let rule = HttpRule {
            template: template.to_owned(),
            body: body.to_owned(),
            ..HttpRule::default()
        };
        let request = Request::new(&bench.schema, &method, &rule).unwrap();
        let input = Input { path, query, content_type: "", body: json.as_bytes() };
        request.encode(&input, &mut Vec::new()).map_err(|error| error.to_string())
    };
    let excluded = "right: excludes another parameter that is given".to_owned();
    assert_eq!(encode("/{left}", "", &["a"], "right=b", ""), Err(excluded.clone()));
    assert_eq!(encode("/a", "left", &[], "right=b", "\"a\""), Err(excluded));
    assert_eq!(encode("/a", "left", &[], "right=b", ""), Ok(()));
    assert_eq!(encode("/a", "left", &[], "right=b", "null"), Ok(()));
    let only = |field: &str| format!("{field}only one field of `choice` may be given");
    assert_eq!(encode("/{left}", "*", &["a"], "", r#"{"right":"b"}"#), Err(only("right: ")));
    assert_eq!(encode("/{left}", "right", &["a"], "", "\"b\""), Err(only("")));
    assert_eq!(
        encode("/{left}", "*", &["a"], "", r#"{"left":"b"}"#),
        Err("left: is set by the path".to_owned())
    );
}

#[test]
fn what_is_secret_is_known_to_be() {
    let bench = Bench::corner();
    let service = pool().get_service_by_name("malha.corner.v1.CornerService").unwrap();
    let method = service.methods().find(|method| method.name() == "Update").unwrap();
    let rule = HttpRule { template: "/{thing.secret}/{dry_run}".to_owned(), ..HttpRule::default() };
    let request = Request::new(&bench.schema, &method, &rule).unwrap();
    assert!(request.is_sensitive_parameter("thing.secret"));
    assert!(!request.is_sensitive_parameter("thing.text"));
    assert!(!request.is_sensitive_parameter("nope"));
    assert!(request.is_sensitive_variable(0) && !request.is_sensitive_variable(1));
}

#[test]
fn paths_of_fields_are_shown_as_the_client_knows_them() {
    let bench = Bench::corner();
    let service = pool().get_service_by_name("malha.corner.v1.CornerService").unwrap();
    let method = service.methods().find(|method| method.name() == "Update").unwrap();
    let rule = &HttpRule::of(&method).unwrap()[0];
    let request = Request::new(&bench.schema, &method, rule).unwrap();
    for (path, shown) in [
        ("thing", "thing"),
        ("thing.wrapped_text", "wrappedText"),
        ("thing.always_list[2].name", "alwaysList[2].name"),
        ("thing.by_number[1].deeper.name", "byNumber[1].deeper.name"),
        ("thing.by_name[\"a.b\"]", "byName[\"a.b\"]"),
        ("dry_run", "dryRun"),
        ("nope.nothing", "nope.nothing"),
        ("", ""),
    ] {
        assert_eq!(request.shown_path(path), shown, "{path}");
    }
}
