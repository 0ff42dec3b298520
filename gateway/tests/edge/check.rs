//! What a check finds before a gateway starts: each fault names its setting, its file and the rule.

use std::fs;
use std::path::Path;

use gateway::{Config, Preview};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use testkit::greeter;

/// Settings of a gateway whose files are all there and right.
fn settings(folder: &Path) -> Value {
    let file = |name: &str| folder.join(name);
    fs::write(file("greeter.binpb"), greeter::descriptors()).unwrap();
    mesh::certs::init(folder).unwrap();
    mesh::certs::issue(folder, "edge").unwrap();
    mesh::certs::issue(folder, "other").unwrap();
    let signer = auth::TokenSigner::generate().unwrap();
    fs::write(file("keys.json"), json!({"keys": [signer.public_jwk()]}).to_string()).unwrap();
    json!({
        "https": "127.0.0.1:0",
        "tls": {"certificate": file("edge.pem"), "key": file("edge.key")},
        "contracts": {"descriptors": file("greeter.binpb")},
        "issuers": [{
            "issuer": "https://issuer.example",
            "audiences": ["api"],
            "keys": {"file": file("keys.json")},
        }],
        "upstreams": {"greeter": {
            "endpoints": ["https://localhost:1"],
            "tls": {"ca": file("ca.pem")},
        }},
        "access_log": {},
        "redis": {"url": "redis://localhost"},
        "postgres": {"host": "localhost"},
    })
}

async fn check(settings: &Value) -> Result<String, String> {
    let config: Config = serde_json::from_value(settings.clone()).unwrap();
    let preview = Preview::checked(&config).await;
    preview.map(|preview| preview.to_string()).map_err(|error| error.to_string())
}

/// A certificate with a key, which counted until so long ago.
fn expired(folder: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let certificate = parameters.self_signed(&key).unwrap();
    fs::write(folder.join("old.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("old.key"), key.serialize_pem()).unwrap();
}

#[tokio::test]
async fn a_check_looks_into_the_files_that_the_settings_name() {
    let folder = tempfile::tempdir().unwrap();
    let right = settings(folder.path());
    let routes = check(&right).await.unwrap();
    assert!(routes.contains("/v1/hello/{name}") && !routes.contains("issuers"), "{routes}");

    expired(folder.path());
    let file = |name: &str| json!(folder.path().join(name));
    fs::write(folder.path().join("empty"), "").unwrap();
    fs::write(folder.path().join("none.json"), "{\"keys\": []}").unwrap();
    for (place, value, said) in [
        (
            "/tls/certificate",
            file("gone.pem"),
            ["gateway.tls.certificate: cannot read", "gone.pem"],
        ),
        ("/tls/certificate", file("empty"), ["gateway.tls.certificate: ", "holds no certificate"]),
        ("/tls/key", file("gone.key"), ["gateway.tls.key: cannot read", "gone.key"]),
        ("/tls/key", file("other.key"), ["gateway.tls.key: ", "other.key: keys may not be consis"]),
        ("/issuers/0/keys/file", file("gone"), ["gateway.issuers[0].keys.file: ", "gone: No such"]),
        ("/issuers/0/keys/file", file("edge.pem"), ["issuers[0].keys.file", "no JSON Web Key Set"]),
        ("/issuers/0/keys/file", file("none.json"), ["none.json: no key is for", "RS256"]),
        ("/issuers/0/audiences", json!([]), ["issuers[0].audiences", "at least one name"]),
        ("/upstreams/greeter/tls/ca", file("gone.pem"), ["upstreams.greeter.tls.ca: ", "gone.pem"]),
        ("/upstreams/greeter/tls/ca", file("old.pem"), ["upstreams.greeter.tls.ca", "expired at"]),
        ("/upstreams/greeter/tls/ca", file("empty"), ["upstream `greeter`: tls.ca", "certificate"]),
        (
            "/access_log",
            json!({"file": folder.path().join("gone/access.log")}),
            ["gateway.access_log.file", "No such file"],
        ),
        ("/access_log", json!({"ratio": 7}), ["gateway.access_log.ratio", "from 0 to 1"]),
        (
            "/upstreams/greeter/endpoints/0",
            json!("127.0.0.1:1"),
            ["upstream `greeter`", "`127.0.0.1:1` needs http:// or https://"],
        ),
        ("/upstreams/greeter/endpoints", json!([]), ["upstream `greeter`", "has no endpoints"]),
        ("/upstreams/greeter/endpoints/0", json!("ftp://x:1"), ["`greeter`", "neither http nor"]),
        (
            "/redis/url",
            json!("http://localhost"),
            ["gateway.redis.url", "is not an address of Redis"],
        ),
    ] {
        let mut wrong = right.clone();
        *wrong.pointer_mut(place).unwrap() = value;
        let error = check(&wrong).await.unwrap_err();
        assert!(said.iter().all(|said| error.contains(said)), "{place}: {error}");
    }
    let mut wrong = right.clone();
    wrong["tls"] = json!({"certificate": file("old.pem"), "key": file("old.key")});
    let error = check(&wrong).await.unwrap_err();
    assert!(error.starts_with("gateway.tls.certificate: ") && error.contains("expired"), "{error}");

    let mut wrong = right.clone();
    wrong["redis"] = Value::Null;
    wrong["idempotency"] = json!({"store": "redis"});
    assert!(check(&wrong).await.unwrap_err().contains("gateway.redis"));
}

#[tokio::test]
async fn a_check_says_when_no_token_can_count() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings["issuers"] = json!([]);
    let routes = check(&settings).await.unwrap();
    assert!(routes.contains("gateway.issuers names nobody"), "{routes}");
    settings["policies"] = json!([{"methods": "*", "access": "public"}]);
    assert!(!check(&settings).await.unwrap().contains("issuers"));
}
