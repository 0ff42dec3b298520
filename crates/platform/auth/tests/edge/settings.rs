//! Settings of issuers: defaults, and refusals that name the setting.

use auth::{Algorithm, ClaimsConfig, IssuerConfig, JwksUrl, KeysConfig, Verifier};
use clock::Clock;
use serde_json::{Value, json};
use std::time::Duration;

fn minimal() -> Value {
    json!({ "issuer": "https://a.example", "audiences": ["api"], "keys": { "file": "jwks.json" } })
}

fn read(settings: Value) -> Result<IssuerConfig, serde_json::Error> {
    serde_json::from_value(settings)
}

/// The field that refuses `path` set to `value`.
fn refused(path: &[&str], value: Value) -> String {
    let mut settings = minimal();
    let mut place = &mut settings;
    for name in path {
        place = &mut place[*name];
    }
    *place = value;
    Verifier::new(&[read(settings).unwrap()], None, Clock::system()).unwrap_err().field
}

#[test]
fn what_is_left_out_has_a_default() {
    let config = read(minimal()).unwrap();

    assert_eq!(config.algorithms, [Algorithm::RS256]);
    assert_eq!(config.leeway, Duration::from_secs(30));
    assert_eq!(config.claims, ClaimsConfig::default());
    assert_eq!(config.keys, KeysConfig::File("jwks.json".into()));
    let keys = |keys: Value| read(super::keys::with(minimal(), "keys", keys)).unwrap().keys;
    assert_eq!(keys(json!("mesh")), KeysConfig::Mesh);
    let url = JwksUrl { address: "https://a.example/jwks".to_owned(), ca: None };
    assert_eq!(keys(json!({ "url": { "address": url.address } })), KeysConfig::Url(url));
}

#[test]
fn what_no_setting_has_is_refused() {
    for (name, value) in [
        ("isuer", json!("x")),
        ("algorithms", json!(["none"])),
        ("algorithms", json!(["HS256"])),
        ("keys", json!("web")),
        ("keys", json!({ "url": { "address": "https://a.example", "insecure": true } })),
        ("claims", json!({ "role": "roles" })),
        ("leeway", json!(30)),
    ] {
        assert!(
            read(super::keys::with(minimal(), name, value.clone())).is_err(),
            "{name}: {value}"
        );
    }
    let mut nowhere = minimal();
    nowhere.as_object_mut().unwrap().remove("audiences");
    assert!(read(nowhere).is_err());
}

#[test]
fn a_refusal_names_the_setting() {
    assert_eq!(refused(&["issuer"], json!("")), "issuers[0].issuer");
    assert_eq!(refused(&["audiences"], json!([])), "issuers[0].audiences");
    assert_eq!(refused(&["audiences"], json!(["api", ""])), "issuers[0].audiences");
    assert_eq!(refused(&["algorithms"], json!([])), "issuers[0].algorithms");
    assert_eq!(refused(&["leeway"], json!("6m")), "issuers[0].leeway");
    assert_eq!(refused(&["keys"], json!("mesh")), "issuers[0].keys");
    assert_eq!(refused(&["claims"], json!({ "user": "" })), "issuers[0].claims.user");
    let url = |address: &str| json!({ "url": { "address": address } });
    for address in
        ["", "a.example/jwks", "ftp://a.example", "file:///jwks", "https://u:p@a.example"]
    {
        assert_eq!(refused(&["keys"], url(address)), "issuers[0].keys.url.address", "{address}");
    }
    for ca in ["/nowhere.pem", "/dev/null"] {
        let url = json!({ "url": { "address": "https://a.example", "ca": ca } });
        assert_eq!(refused(&["keys"], url), "issuers[0].keys.url.ca", "{ca}");
    }
    let twice = [read(minimal()).unwrap(), read(minimal()).unwrap()];
    let error = Verifier::new(&twice, None, Clock::system()).unwrap_err();
    assert_eq!(error.to_string(), "issuers[1].issuer: is there twice");
}

#[test]
fn claims_go_into_headers_of_their_own_alone() {
    let header = |name: &str| refused(&["claims"], json!({ "metadata": { name: "email" } }));
    for name in [
        "",
        "X-User",
        "x user",
        "x-user:",
        "x-ü",
        ":path",
        "grpc-timeout",
        "x-user-bin",
        "authorization",
        "x-malha-tenant",
        "x-correlation-id",
        "idempotency-key",
        "traceparent",
        "connection",
        "transfer-encoding",
        "te",
        "host",
        "content-type",
        "cookie",
    ] {
        assert_eq!(header(name), format!("issuers[0].claims.metadata.{name}"));
    }
    let empty = refused(&["claims"], json!({ "metadata": { "x-user": "" } }));
    assert_eq!(empty, "issuers[0].claims.metadata.x-user");
}

#[test]
fn settings_describe_themselves() {
    let schema = serde_json::to_value(schemars::schema_for!(IssuerConfig)).unwrap();

    assert_eq!(schema["required"], json!(["issuer", "audiences", "keys"]));
    assert_eq!(schema["additionalProperties"], json!(false));
}
