//! What becomes of the claims of other issuers, and of our own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use auth::{
    Algorithm, Claims, ClaimsConfig, IssuerConfig, Principal, Role, StaticKeys, TenantId,
    TokenError, TokenSigner, UserId, Verifier,
};
use clock::Clock;
use serde_json::{Value, json};

use crate::issuers::Issuers;
use crate::keys::{TestKey, claims, set, start, with};

const ISSUER: &str = "https://issuer.example";

fn mapping(mapping: Value) -> ClaimsConfig {
    serde_json::from_value(mapping).unwrap()
}

fn all(mut claims: Value, more: Value) -> Value {
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

/// C-07.
#[tokio::test]
async fn roles_scopes_tenant_and_user_come_from_where_the_issuer_has_them() {
    let table = [
        // Keycloak.
        (
            json!({ "roles": "realm_access.roles", "tenant": "organization.id", "user": "sub" }),
            json!({
                "realm_access": { "roles": ["teller", "auditor"] }, "scope": "openid email",
                "organization": { "id": "acme" },
            }),
            ("alice", Some("acme"), vec!["teller", "auditor"], vec!["openid", "email"]),
        ),
        // Auth0.
        (
            json!({ "roles": "https://bank.example/roles", "scopes": "permissions" }),
            json!({ "https://bank.example/roles": ["teller"], "permissions": ["read", "write"] }),
            ("alice", None, vec!["teller"], vec!["read", "write"]),
        ),
        // Entra ID.
        (
            json!({ "user": "oid", "tenant": "tid", "scopes": "scp" }),
            json!({ "oid": "o-1", "tid": "t-1", "scp": "a b", "roles": ["teller"] }),
            ("o-1", Some("t-1"), vec!["teller"], vec!["a", "b"]),
        ),
        (json!({}), json!({}), ("alice", None, vec![], vec![])),
    ];
    for (config, more, (subject, tenant, roles, scopes)) in table {
        let key = TestKey::p256("a");
        let mut issuers = Issuers::new();
        issuers.add(ISSUER, &[Algorithm::ES256], &set(&[&key]));
        issuers.configs[0].claims = mapping(config);
        let token = key.sign(&all(claims(ISSUER), more));

        let answer = issuers.verifier().verify(&token).await.unwrap();

        assert_eq!(answer.subject, subject);
        assert_eq!(answer.tenant.as_deref(), tenant);
        assert_eq!(answer.roles, roles);
        assert_eq!(answer.scopes, scopes);
        assert_eq!(answer.expires_at, start() + Duration::from_mins(15));
        assert_eq!(answer.principal, None, "no user of our own bank");
    }
}

#[tokio::test]
async fn claims_are_told_to_upstreams_and_clients_cannot_tell_them() {
    let key = TestKey::p256("a");
    let mut issuers = Issuers::new();
    issuers.add(ISSUER, &[Algorithm::ES256], &set(&[&key]));
    issuers.add("https://other.example", &[Algorithm::ES256], &set(&[&key]));
    issuers.configs[0].claims =
        mapping(json!({ "metadata": { "x-email": "email", "x-groups": "groups" } }));
    issuers.configs[1].claims = mapping(json!({ "metadata": { "x-groups": "g", "x-plan": "p" } }));
    let verifier = issuers.verifier();
    let token =
        key.sign(&all(claims(ISSUER), json!({ "email": "a@b.example", "groups": ["x", "y"] })));

    let answer = verifier.verify(&token).await.unwrap();

    let told: BTreeMap<_, _> =
        answer.metadata.iter().map(|(k, v)| (k.as_str(), v.to_str().unwrap())).collect();
    assert_eq!(told, BTreeMap::from([("x-email", "a@b.example"), ("x-groups", "x,y")]));
    let names: Vec<_> = verifier.metadata_names().iter().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["x-email", "x-groups", "x-plan"], "also those that this token lacks");
}

#[tokio::test]
async fn every_token_names_its_user() {
    let key = TestKey::p256("a");
    let mut issuers = Issuers::new();
    issuers.add(ISSUER, &[Algorithm::ES256], &set(&[&key]));
    let verifier = issuers.verifier();
    for sub in [json!(null), json!(""), json!(7), json!(["alice"])] {
        let token = key.sign(&with(claims(ISSUER), "sub", sub.clone()));
        assert_eq!(verifier.verify(&token).await, Err(TokenError::Malformed), "{sub}");
    }
}

/// Our own tokens beside those of others: they alone make a principal.
#[tokio::test]
async fn our_own_tokens_make_a_principal() {
    let (signer, key) = (TokenSigner::generate().unwrap(), TestKey::p256("a"));
    let mut issuers = Issuers::new();
    issuers.add(ISSUER, &[Algorithm::ES256], &set(&[&key]));
    issuers.configs.push(IssuerConfig::malha());
    let mesh = Arc::new(StaticKeys::new(vec![signer.public_jwk().clone()]));
    let clock = Clock::manual(start());
    let verifier = Verifier::new(&issuers.configs, Some(mesh), clock).unwrap();
    let ttl = Duration::from_mins(15);
    let roles = vec![Role::Customer];
    let ours = Claims::new(UserId::random(), TenantId::DEFAULT, roles, start(), ttl);

    let answer = verifier.verify(&signer.sign(&ours).unwrap()).await.unwrap();

    assert_eq!(answer.principal, Some(Principal::from(&ours)));
    assert_eq!(answer.subject, ours.sub.to_string());
    assert_eq!(answer.tenant, Some(TenantId::DEFAULT.to_string()));
    assert_eq!(answer.roles, ["CUSTOMER"]);
    // The same claims, from somebody else.
    let theirs = all(serde_json::to_value(&ours).unwrap(), json!({ "iss": ISSUER, "aud": "api" }));
    let answer = verifier.verify(&key.sign(&theirs)).await.unwrap();
    assert_eq!(answer.principal, None);
    let impostor = key.sign(&serde_json::to_value(&ours).unwrap());
    assert_eq!(verifier.verify(&impostor).await, Err(TokenError::Untrusted));
}
