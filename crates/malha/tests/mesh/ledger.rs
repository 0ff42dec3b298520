//! The ledger at the edge: what staff and auditors do over REST.

use std::fs;

use proof::{SignedHead, SigningKey};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Dev, Edge, body, text};

const CASH: u128 = 1;
const ANA: u128 = 2;
const SHOP: u128 = 3;

/// Somebody with a token.
struct Staff {
    edge: Edge,
    token: String,
}

impl Staff {
    fn new(dev: &Dev, role: &str) -> Self {
        Self { edge: dev.edge.clone(), token: dev.site.run(&["token", "--role", role]) }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let path = format!("/v1/ledger/{path}");
        let request = self.edge.request(method, &path).bearer_auth(&self.token);
        match body {
            Some(body) => request.json(&body).send().await.unwrap(),
            None => request.send().await.unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.send(Method::GET, path, None).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}: {}", answer.text().await.unwrap());
        body(answer).await
    }

    async fn post(&self, path: &str, message: Value) -> Value {
        let answer = self.send(Method::POST, path, Some(message)).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}: {}", answer.text().await.unwrap());
        body(answer).await
    }

    /// Creates transfers, and answers their statuses.
    async fn transfer(&self, transfers: Value) -> Vec<String> {
        let answer = self.post("transfers", json!({ "transfers": transfers })).await;
        statuses(&answer["results"])
    }
}

fn id(number: u128) -> String {
    Uuid::from_u128(number).to_string()
}

fn statuses(results: &Value) -> Vec<String> {
    results.as_array().unwrap().iter().map(|result| text(&result["status"])).collect()
}

fn ids(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| text(&item["id"])).collect()
}

fn transfer(number: u128, from: u128, to: u128, amount: u64) -> Value {
    json!({
        "id": id(number), "debitAccountId": id(from), "creditAccountId": id(to),
        "amount": amount, "ledger": 986, "code": 7,
    })
}

fn with(mut message: Value, more: Value) -> Value {
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    message
}

/// K-08, B-29: an operator opens accounts and moves money, an analyst reads and proves it.
#[tokio::test(flavor = "multi_thread")]
async fn staff_walk_over_the_ledger() {
    let dev = Dev::start().await;
    let (operator, analyst) = (Staff::new(&dev, "operator"), Staff::new(&dev, "analyst"));
    open(&operator).await;
    move_money(&operator).await;
    read_balances(&analyst).await;
    find(&analyst).await;
    page_through(&analyst).await;
    prove(&dev, &analyst).await;
}

async fn open(operator: &Staff) {
    let account = |number| json!({ "id": id(number), "ledger": 986, "code": 1 });
    let limited = json!({
        "limit": "DEBITS_WITHIN_CREDITS", "overdraft": 50,
        "externalId": id(77), "metadata": { "branch": "0001" },
    });
    let accounts = json!([account(CASH), with(account(ANA), limited), account(SHOP)]);
    let answer = operator.post("accounts", json!({ "accounts": accounts })).await;
    assert_eq!(statuses(&answer["results"]), ["CREATED"; 3]);
    let updates = json!([{ "id": id(ANA), "closed": false, "overdraft": 100 }]);
    let answer = operator.post("accounts:update", json!({ "updates": updates })).await;
    assert_eq!(statuses(&answer["results"]), ["UPDATED"]);
}

async fn move_money(operator: &Staff) {
    let salary = json!({ "effectiveAt": "2020-01-31T12:00:00Z", "metadata": { "order": "42" } });
    let hold = json!({ "kind": "PENDING", "externalId": id(78) });
    let transfers = json!([
        with(transfer(10, CASH, ANA, 1_000), salary),
        with(transfer(11, ANA, SHOP, 300), hold.clone()),
        with(transfer(12, ANA, SHOP, 200), hold),
        transfer(13, ANA, SHOP, 601),
    ]);
    let expected = ["CREATED", "CREATED", "CREATED", "EXCEEDS_CREDITS"];
    assert_eq!(operator.transfer(transfers).await, expected);
    let post = json!({ "id": id(20), "amount": 250 });
    let posted = operator.post(&format!("transfers/{}/post", id(11)), post).await;
    assert_eq!((&posted["status"], &posted["amount"]), (&json!("CREATED"), &json!(250)));
    let void = json!({ "id": id(21) });
    let voided = operator.post(&format!("transfers/{}/void", id(12)), void).await;
    assert_eq!((&voided["status"], &voided["amount"]), (&json!("CREATED"), &json!(200)));
}

async fn read_balances(analyst: &Staff) {
    let ana = analyst.get(&format!("accounts/{}", id(ANA))).await;
    assert_eq!((&ana["creditsPosted"], &ana["debitsPosted"]), (&json!(1_000), &json!(250)));
    assert_eq!((&ana["overdraft"], &ana["closed"]), (&json!(100), &json!(false)));
    assert_eq!(ana["metadata"], json!({ "branch": "0001" }));
    let balance = |query: &str| format!("accounts/{}/balance{query}", id(ANA));
    let now = analyst.get(&balance("")).await;
    let expected = json!({
        "debitsPending": 0, "debitsPosted": 250, "creditsPending": 0, "creditsPosted": 1_000,
    });
    assert_eq!(now, expected);
    let effective = analyst.get(&balance("?effectiveAt=2020-01-31T12:00:00Z")).await;
    assert_eq!(effective["creditsPosted"], 1_000);
    assert_eq!(effective["debitsPosted"], 0);
    let then = analyst.get(&balance("?at=2020-01-31T12:00:00Z")).await;
    assert_eq!(then["creditsPosted"], 0, "nobody knew it then");
    let both = balance("?at=2020-01-31T12:00:00Z&effectiveAt=2020-01-31T12:00:00Z");
    let refused = analyst.send(Method::GET, &both, None).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
}

async fn find(analyst: &Staff) {
    let held = analyst.get(&format!("transfers/{}", id(11))).await;
    assert_eq!((&held["holdState"], &held["kind"]), (&json!("POSTED"), &json!("PENDING")));
    for query in ["metadata=branch:0001".to_owned(), format!("externalId={}", id(77))] {
        let found = analyst.get(&format!("accounts?{query}")).await;
        assert_eq!(ids(&found["accounts"]), [id(ANA)], "{query}");
    }
    for (query, expected) in [
        ("metadata=order%3A42".to_owned(), vec![id(10)]),
        (format!("externalId={}&accountId={}", id(78), id(SHOP)), vec![id(12), id(11)]),
    ] {
        let found = analyst.get(&format!("transfers?{query}")).await;
        assert_eq!(ids(&found["transfers"]), expected, "{query}");
    }
}

async fn page_through(analyst: &Staff) {
    let history = format!("accounts/{}/history?order=OLDEST_FIRST&pageSize=2", id(ANA));
    let page = analyst.get(&history).await;
    let next = format!("{history}&pageToken={}", text(&page["nextPageToken"]));
    let rest = analyst.get(&next).await;
    assert_eq!((moved(&page), moved(&rest)), (vec![id(10), id(11)], vec![id(12), id(20)]));

    let mut told = Vec::new();
    let mut after = json!(0);
    loop {
        let page = analyst.get(&format!("changes?after={after}&limit=3")).await;
        told.extend(page["changes"].as_array().unwrap().iter().map(kind));
        if page["nextAfter"] == after {
            break;
        }
        after = page["nextAfter"].clone();
    }
    assert_eq!(told[..4], ["account", "account", "account", "accountChange"]);
    let moves = ["transfer", "transfer", "transfer", "refusal", "transfer", "transfer"];
    assert_eq!(told[4..], moves);
}

/// The transfers of a page of a history.
fn moved(page: &Value) -> Vec<String> {
    let entries = page["entries"].as_array().unwrap().iter();
    entries.map(|entry| text(&entry["transfer"]["id"])).collect()
}

/// What kind of change it is: the name of its one field of that.
fn kind(change: &Value) -> String {
    let fields = change.as_object().unwrap().keys();
    let mut kinds = fields.filter(|name| *name != "sequence" && *name != "createdAt");
    kinds.next().unwrap().clone()
}

/// What was read is proved with the key of the ledger alone.
async fn prove(dev: &Dev, analyst: &Staff) {
    let head = analyst.get("head").await;
    let note = SignedHead::parse(head["note"].as_str().unwrap()).unwrap();
    let pem = fs::read_to_string(dev.site.path("ledger/signing.key")).unwrap();
    let key = SigningKey::from_pem(&pem).unwrap().public(note.head.ledger);
    assert_eq!(note.verify(&key).unwrap().size, head["size"].as_u64().unwrap());

    let transfer = analyst.get(&format!("transfers/{}/proof", id(10))).await;
    let words = tools::check(&transfer.to_string(), &key, None).unwrap();
    assert!(words.contains("1,000 minor units") && words.contains(r#"{"order":"42"}"#), "{words}");
    let forged = transfer.to_string().replace("\"sequence\":", "\"sequence\":1");
    assert!(tools::check(&forged, &key, None).is_err());

    let account = analyst.get(&format!("accounts/{}/proof", id(ANA))).await;
    let words = tools::check(&account.to_string(), &key, None).unwrap();
    assert!(words.contains("1,000 and 0 on hold"), "{words}");

    let growth = analyst.get(&format!("head/consistency?from={}", head["size"])).await;
    let words = tools::check(&growth.to_string(), &key, Some(&note)).unwrap();
    assert!(words.contains("still begins with"), "{words}");
}

/// T-45: who only reads moves nothing, customers see nothing, and what is malformed is named.
#[tokio::test(flavor = "multi_thread")]
async fn only_staff_with_the_role_is_let_in_and_wrong_fields_are_named() {
    let dev = Dev::start().await;
    let (viewer, customer) = (Staff::new(&dev, "viewer"), Staff::new(&dev, "customer"));
    let operator = Staff::new(&dev, "operator");
    let transfers = || Some(json!({ "transfers": [transfer(10, CASH, ANA, 1)] }));

    for (staff, method, path, message) in [
        (&viewer, Method::POST, "transfers", transfers()),
        (&viewer, Method::POST, "accounts:update", Some(json!({}))),
        (&customer, Method::GET, "head", None),
        (&customer, Method::POST, "transfers", transfers()),
    ] {
        let refused = staff.send(method, path, message).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{path}");
        assert_eq!(body(refused).await["reason"], "ROLE_MISSING");
    }
    viewer.get("head").await;
    assert_eq!(
        operator.transfer(json!([transfer(10, CASH, ANA, 1)])).await,
        ["DEBIT_ACCOUNT_NOT_FOUND"]
    );

    let wrong = with(transfer(11, CASH, ANA, 1), json!({ "id": "x" }));
    for (path, message, field) in [
        (
            "transfers",
            json!({ "transfers": [transfer(12, CASH, ANA, 1), wrong] }),
            "transfers[1].id",
        ),
        ("transfers", json!({}), "transfers"),
        (
            "accounts:update",
            json!({ "updates": [{ "id": id(ANA), "closed": true }] }),
            "updates[0].overdraft",
        ),
    ] {
        let refused = operator.send(Method::POST, path, Some(message)).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        let problem = body(refused).await;
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    let missing = operator.send(Method::GET, &format!("accounts/{}", id(404)), None).await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert_eq!(body(missing).await["reason"], "ACCOUNT_NOT_FOUND");
}
