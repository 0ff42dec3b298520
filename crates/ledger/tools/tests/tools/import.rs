//! Filling a ledger with the past.

use std::fmt::Write;

use engine::AsOf;
use tools::Counts;

use crate::support::{Ledger, tenant};

const ACCOUNTS: &str = "\
id,ledger,code,limit,metadata
00000000-0000-0000-0000-000000000001,986,10,,
00000000-0000-0000-0000-000000000002,986,10,debits_within_credits,\"{\"\"owner\"\": \"\"Ada\"\"}\"
";

const TRANSFERS_HEADER: &str = "id,debit_account_id,credit_account_id,amount,ledger,effective_at\n";

fn id(number: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(number)
}

async fn import(ledger: &Ledger, accounts: &str, transfers: &str) -> anyhow::Result<Imported> {
    let accounts = ledger.write("accounts.csv", accounts);
    let transfers = ledger.write("transfers.csv", transfers);
    let mut refusals = Vec::new();
    let imported =
        tools::import(&ledger.options, tenant(), &accounts, &transfers, &mut refusals).await?;
    let refusals = String::from_utf8(refusals)?;
    let lines = refusals.lines().map(|line| line.rsplit('/').next().unwrap_or(line).to_owned());
    Ok(Imported {
        accounts: imported.accounts,
        transfers: imported.transfers,
        refusals: lines.collect(),
    })
}

#[derive(Debug, PartialEq)]
struct Imported {
    accounts: Counts,
    transfers: Counts,
    refusals: Vec<String>,
}

fn counts(created: u64, existed: u64, refused: u64) -> Counts {
    Counts { created, existed, refused }
}

/// More than a batch, with old dates; done again, nothing is recorded twice.
#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_recorded_once_however_often_it_is_imported() {
    let ledger = Ledger::new();
    let mut transfers = TRANSFERS_HEADER.to_owned();
    for number in 1..=10_000 {
        let day = number % 28 + 1;
        writeln!(transfers, "{},{},{},3,986,2019-02-{day:02}", id(number), id(1), id(2)).unwrap();
    }
    for (round, expected) in [counts(10_000, 0, 0), counts(0, 10_000, 0)].into_iter().enumerate() {
        let imported = import(&ledger, ACCOUNTS, &transfers).await.unwrap();
        assert_eq!(imported.transfers, expected);
        assert_eq!(imported.accounts, if round == 0 { counts(2, 0, 0) } else { counts(0, 2, 0) });
        assert!(imported.refusals.is_empty());
    }
    assert_eq!(tools::verify(ledger.folder(), None, None).unwrap().transfers, 10_000);
    let reader = ledger.open().reader();
    drop(reader);
    let engine = ledger.open();
    for (day, posted) in [("2019-01-31", 0), ("2019-02-28", 30_000)] {
        let nanos = chrono::DateTime::parse_from_rfc3339(&format!("{day}T00:00:00Z")).unwrap();
        let nanos = u64::try_from(nanos.timestamp_nanos_opt().unwrap()).unwrap();
        let as_of = AsOf::Effective(proof::Timestamp::from_nanos(nanos));
        let balances = engine.reader().balances(tenant(), 2.into(), as_of).await.unwrap().unwrap();
        assert_eq!(balances.credits_posted, posted, "{day}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refused_line_is_told_with_its_status() {
    let ledger = Ledger::new();
    let mut transfers =
        "id,debit_account_id,credit_account_id,amount,ledger,kind,pending_id,linked,\
                         timeout_seconds,code\n"
            .to_owned();
    for row in [
        format!("{},{},{},100,986,,,,,", id(1), id(1), id(2)),
        format!("{},{},{},500,986,,,,,", id(2), id(2), id(1)),
        format!("{},{},{},40,986,pending,,,3600,9", id(3), id(2), id(1)),
        format!("{},,,15,,post_pending,{},,,", id(4), id(3)),
        format!("{},{},{},1,986,,,true,,", id(5), id(1), id(2)),
        format!("{},{},{},1,840,,,,,", id(6), id(1), id(2)),
    ] {
        writeln!(transfers, "{row}").unwrap();
    }

    let imported = import(&ledger, ACCOUNTS, &transfers).await.unwrap();

    assert_eq!(imported.transfers, counts(3, 0, 3));
    let expected = [
        "transfers.csv, line 3: EXCEEDS_CREDITS",
        "transfers.csv, line 6: LINKED_EVENT_FAILED",
        "transfers.csv, line 7: TRANSFER_MUST_HAVE_THE_SAME_LEDGER_AS_ACCOUNTS",
    ];
    assert_eq!(imported.refusals, expected);
}

/// Nothing at all is recorded when a line cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_cannot_be_read_is_told_with_its_column_and_rule() {
    let ledger = Ledger::new();
    let good = format!("{},{},{},1,986,\n", id(1), id(1), id(2));
    let cases = [
        (format!("x,{},{},1,986,\n", id(1), id(2)), "line 3, column id: must be a UUID"),
        (format!("{},,{},1,986,\n", id(2), id(2)), "line 3, column debit_account_id: must be"),
        (
            format!("{},{},{},1.5,986,\n", id(2), id(1), id(2)),
            "line 3, column amount: must be a whole",
        ),
        (
            format!("{},{},{},+1,986,\n", id(2), id(1), id(2)),
            "line 3, column amount: must be a whole",
        ),
        (
            format!("{},{},{},1,-1,\n", id(2), id(1), id(2)),
            "column ledger: must be a whole number from 0 to 4294967295",
        ),
        (
            format!("{},{},{},1,986,soon\n", id(2), id(1), id(2)),
            "line 3, column effective_at: must be a time",
        ),
        (format!("{},{},{},1,986\n", id(2), id(1), id(2)), "line: 3"),
    ];
    for (line, said) in cases {
        let transfers = format!("{TRANSFERS_HEADER}{good}{line}");
        let error = import(&ledger, ACCOUNTS, &transfers).await.unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("transfers.csv") && error.contains(said), "{error}");
    }
    let heads = [
        ("id,ledger", "line 1: the column `code` is missing"),
        ("id,ledger,code,colour", "line 1: the column `colour` is none of"),
        ("id,ledger,code,id", "line 1: the column `id` is there twice"),
    ];
    for (head, said) in heads {
        let error = import(&ledger, &format!("{head}\n"), TRANSFERS_HEADER).await.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    for (metadata, said) in [
        ("{\"\"a\"\": 1}", "column metadata: must be"),
        ("{\"\"\"\": \"\"x\"\"}", "column metadata: a key"),
    ] {
        let accounts = format!("id,ledger,code,metadata\n{},986,1,\"{metadata}\"\n", id(1));
        let error = import(&ledger, &accounts, TRANSFERS_HEADER).await.unwrap_err().to_string();
        assert!(error.contains("accounts.csv, line 2") && error.contains(said), "{error}");
    }
    assert_eq!(tools::verify(ledger.folder(), None, None).unwrap().accounts, 0);
}

/// A group is recorded as a whole wherever it lies in the file, or told to be too large.
#[tokio::test(flavor = "multi_thread")]
async fn a_linked_group_is_not_split() {
    let ledger = Ledger::new();
    let file = |linked: std::ops::Range<u128>| {
        let mut text = "id,debit_account_id,credit_account_id,amount,ledger,linked\n".to_owned();
        for number in 1..=8_200 {
            let linked = linked.contains(&number);
            writeln!(text, "{},{},{},1,986,{linked}", id(number), id(1), id(2)).unwrap();
        }
        text
    };
    let error = import(&ledger, ACCOUNTS, &file(2..8_195)).await.unwrap_err().to_string();
    assert!(error.contains("line 3, column linked: a linked group has at most 8189"), "{error}");
    let imported = import(&ledger, ACCOUNTS, &file(8_180..8_200)).await.unwrap();
    assert_eq!(imported.transfers, counts(8_200, 0, 0));
    assert_eq!(imported.refusals, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_ledger_is_not_filled() {
    let ledger = Ledger::new();
    let engine = ledger.open();
    let error = import(&ledger, ACCOUNTS, TRANSFERS_HEADER).await.unwrap_err();
    assert!(error.to_string().contains("stop that one first"), "{error}");
    drop(engine);
}
