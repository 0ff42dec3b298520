//! Every refusal of an account, in order of precedence.

use super::*;
use crate::AccountStatus::{self, *};

type Item = (Account, Metadata, bool);

fn plain(account: Account) -> Item {
    (account, Metadata::default(), false)
}

/// Each row breaks its own rule and all that can be broken of those below it.
fn table() -> Vec<(AccountStatus, Vec<Item>, usize)> {
    let nothing = Account { ledger: 0, code: 0, overdraft: 5, ..account(0) };
    let linked = |account| (account, Metadata::default(), true);
    let mut table = vec![
        (LinkedEventFailed, vec![linked(nothing), linked(nothing)], 1),
        (LinkedEventChainOpen, vec![linked(nothing)], 0),
        (IdMustNotBeZero, vec![plain(nothing)], 0),
        (IdMustNotBeMax, vec![plain(Account { id: u128::MAX.into(), ..nothing })], 0),
    ];
    let mut it = Account { id: CUSTOMER.into(), external_id: 77.into(), ..nothing };
    let mut row = |status, it: Account| table.push((status, vec![(it, note(), false)], 0));
    row(ExistsWithDifferentLimit, it);
    it.limit = 1;
    row(ExistsWithDifferentOverdraft, it);
    it.overdraft = 0;
    row(ExistsWithDifferentExternalId, it);
    it.external_id = 0.into();
    row(ExistsWithDifferentLedger, it);
    it.ledger = 986;
    row(ExistsWithDifferentCode, it);
    it.code = 1;
    row(ExistsWithDifferentMetadata, it);
    let mut it = Account { id: 9.into(), ..nothing };
    row(LedgerMustNotBeZero, it);
    it.ledger = 986;
    row(CodeMustNotBeZero, it);
    it.code = 1;
    row(OverdraftNeedsLimit, it);
    it.overdraft = 0;
    row(AccountsExhausted, it);
    table
}

#[test]
fn an_account_gets_the_first_refusal_that_applies() {
    let mut bench = Bench::new();
    for (status, batch, index) in table() {
        let mut bench = bench.fork();
        bench.book.accounts.max = bench.book.accounts.rows.len();
        let outcomes = bench.accounts_of(tenant(0), batch.clone());
        assert_eq!(outcomes[index], Outcome::refused(status.number()), "{batch:?}");
    }
}

#[test]
fn the_table_has_every_refusal_in_its_order() {
    let elsewhere = [Created, Exists];
    let refusals = AccountStatus::ALL.iter().filter(|status| !elsewhere.contains(status));
    assert!(table().into_iter().map(|(status, ..)| status).eq(refusals.copied()));
}

#[test]
fn the_same_account_again_exists_since_the_first_time() {
    let mut bench = Bench::empty();
    let new = || [(Account { limit: 1, overdraft: 5, ..account(1) }, note(), false)];
    let first = bench.accounts_of(tenant(0), new());
    assert!(first[0].is_created());
    let recorded = bench.block.len();
    for _ in 0..2 {
        let again = bench.accounts_of(tenant(0), new());
        assert_eq!(again[0], Outcome::exists(Exists.number(), first[0].at, 0));
    }
    assert_eq!(bench.block.len(), recorded);
    // It is compared with what was asked for then, not with what it has become.
    assert!(bench.amend(1, false, 50).is_created());
    bench.at(2 * SECOND);
    assert_eq!(bench.accounts_of(tenant(0), new())[0].status, Exists.number());
}

#[test]
fn linked_accounts_are_created_together_or_not_at_all() {
    let linked = (account(10), note(), true);
    let bad = plain(Account { code: 0, ..account(11) });
    let mut bench = Bench::new();
    let before = bench.block.len();

    let batch = [linked.clone(), bad, plain(account(12))];
    let outcomes = bench.accounts_of(tenant(0), batch);
    let refused = [LinkedEventFailed, CodeMustNotBeZero].map(|no| Outcome::refused(no.number()));
    assert_eq!(outcomes[..2], refused);
    assert!(outcomes[2].is_created());
    let outcomes = bench.accounts_of(tenant(0), [linked, plain(account(11))]);
    assert!(outcomes.iter().all(Outcome::is_created));
    assert_eq!(bench.block.len(), before + 3, "what was taken back is not recorded");
    assert_eq!(bench.block.extended.len(), 1);

    let twice = [(account(50), note(), true), plain(account(50))];
    let outcomes = bench.accounts_of(tenant(0), twice);
    assert_ne!(outcomes[0].status, Created.number());
    assert!(bench.state_of(tenant(0), 50).is_none());
}
