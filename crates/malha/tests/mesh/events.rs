//! What the mesh tells: each change of a person's walk, on its topic, under its name.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::Row;

use crate::support::{Dev, House, eventually};

/// L-30, L-32, L-33, L-38, L-42, L-44, K-16, K-17, K-19: the events of users, accounts, transactions and
/// the ledger are on the bus under their exact names; a transfer is told once for each account.
#[tokio::test(flavor = "multi_thread")]
async fn a_walk_is_told_on_the_promised_topics_under_the_promised_names() {
    let house = House::start(&["all"], "").await;
    let (ana, bruno) = (house.edge.register("ana").await, house.edge.register("bruno").await);
    assert_eq!(ana.deposit("100.00").await.status(), StatusCode::CREATED);
    let transfer =
        |amount: &str| json!({"type": "TRANSFER", "receiverUserId": bruno.id, "amount": amount});
    assert_eq!(ana.transact(transfer("40.00")).await.status(), StatusCode::CREATED);
    assert!(!ana.transact(transfer("1000.00")).await.status().is_success());
    let details = json!({"bankingDetails":
        {"agency": "0001", "accountNumber": "123456-7", "accountType": "CHECKING"}});
    let path = format!("/users/{}", ana.id);
    let answer = ana.request(Method::PATCH, &path).json(&details).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());

    let expected: BTreeMap<_, _> = [
        (("user-events", "user.created"), 2),
        (("user-events", "user.banking-details.updated"), 1),
        // As many as accounts of users changed.
        (("user-events", "user.balance.updated"), 3),
        (("accounts.events", "account.opened"), 2),
        // One for the deposit, two for the transfer.
        (("transaction-events", "transaction.completed"), 3),
        (("transaction-events", "transaction.failed"), 2),
        (("payments.processed", "payments.processed"), 3),
        // Both accounts of the deposit and of the transfer.
        (("transactions.created", "transactions.created"), 4),
    ]
    .into_iter()
    .map(|((topic, kind), count)| ((topic.to_owned(), kind.to_owned()), count))
    .collect();
    let mut database = house.database().await;
    eventually("all is told", async || told(&mut database).await == expected).await;
    check_envelopes(&mut database, &ana.id).await;
}

async fn told(database: &mut sqlx::PgConnection) -> BTreeMap<(String, String), i64> {
    let rows = sqlx::query(
        "SELECT topic, value::json ->> 'type', count(*) FROM event_sourcing.bus_records
         GROUP BY 1, 2",
    )
    .fetch_all(database)
    .await
    .unwrap();
    rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect()
}

/// L-54, L-71: every event says which request it goes back to; none says who somebody is.
async fn check_envelopes(database: &mut sqlx::PgConnection, user: &str) {
    let values: Vec<String> = sqlx::query_scalar("SELECT value FROM event_sourcing.bus_records")
        .fetch_all(database)
        .await
        .unwrap();
    let mut mine = 0;
    for value in &values {
        let event: Value = serde_json::from_str(value).unwrap();
        assert_eq!(event["specversion"], "1.0");
        assert!(event["correlationid"].as_str().is_some_and(|id| !id.is_empty()), "{value}");
        assert!(event["source"].as_str().is_some_and(|source| source.starts_with('/')), "{value}");
        for personal in ["ana@", "bruno@", "123456-7"] {
            assert!(!value.contains(personal), "{value}");
        }
        mine += usize::from(event["subject"] == user);
    }
    assert_eq!(mine, 4, "registration, bank details, and a balance that changed twice");
}

/// The commands say what there is, and refuse what has no meaning.
#[tokio::test(flavor = "multi_thread")]
async fn events_can_be_looked_at_and_replayed_from_the_command_line() {
    let house = House::start(&["all"], "").await;
    let says = |arguments: &[&str]| {
        let output = house.malha(&[&["events"], arguments].concat()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };

    assert_eq!(says(&["dead", "list"]), "");
    assert_eq!(says(&["failed"]), "");
    assert_eq!(says(&["redrive"]), "0 events are tried again\n");
    assert_eq!(says(&["dead", "replay", "--all"]), "0 events are tried again\n");
    // A topic that no service of the mesh listens to.
    let replay = ["replay", "--topic", "webhooks.endpoints", "--from", "2026-01-01T00:00:00Z"];
    assert_eq!(says(&replay), "taken up again by: nobody\n");
    assert_eq!(says(&["dead", "discard", "--all"]), "0 events are removed\n");
    let refused = |arguments: &[&str]| {
        let output = house.malha(&[&["events"], arguments].concat()).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    // Which ones?
    refused(&["dead", "replay"]);
    refused(&["dead", "discard"]);
    let unknown = "019a0000-0000-7000-8000-000000000000";
    for (arguments, reason) in [
        (&["dead", "list", "--consumer", "nobody"][..], "no consumer nobody, but balances, "),
        (&["dead", "replay", "--consumer", "nobody"], "no consumer nobody"),
        (&["replay", "--topic", "t", "--from", "2026-01-01T00:00:00Z"], "no topic t"),
        (&["dead", "replay", unknown], "no dead letter"),
        (&["dead", "discard", unknown], "no dead letter"),
        (&["redrive", "--event", unknown], "did not give this event up"),
        (&["forget", "nobody"], "no consumer nobody"),
        (&["forget", "balances"], "balances still runs"),
        (&["skip", unknown], "did not give this event up"),
    ] {
        let said = refused(arguments);
        assert!(said.contains(reason), "{arguments:?}: {said}");
    }
}

/// As the documentation has it; and a database that is not there is named.
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_events_work_beside_a_development_mesh() {
    let dev = Dev::start().await;
    let status = std::fs::read_to_string(dev.site.path("postgres/data/postmaster.pid")).unwrap();
    let host = status.lines().nth(4).unwrap();

    let list = |host: &str| {
        let mut command = dev.site.malha(&["events", "dead", "list"]);
        command.env("MALHA_STORAGE__HOST", host).output().unwrap()
    };

    let found = list(host);
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let missed = list("/nowhere");
    let said = String::from_utf8(missed.stderr).unwrap();
    assert!(
        !missed.status.success() && said.contains("/nowhere, port 5432 (storage.host"),
        "{said}"
    );
}
