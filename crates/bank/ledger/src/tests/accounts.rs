//! Every refusal of an account, in order of precedence.

use contracts::ledger::v1::CreateAccountStatus;

use super::*;
use crate::domain::AccountRefusal::{self, *};
use crate::domain::ExternalId;

fn create(new: &[NewAccount]) -> Vec<Outcome<AccountRefusal>> {
    let mut bench = Bench::new();
    bench.state.create_accounts(tenant(0), new, &mut bench.block)
}

/// Each row breaks its own rule and all that can be broken of those below it.
#[test]
fn an_account_gets_the_first_refusal_that_applies() {
    let nothing = NewAccount::default();
    let max = NewAccount { id: Uuid::max().into(), ..nothing.clone() };
    let another = NewAccount { id: id(9), ..nothing.clone() };
    let external_id: ExternalId = id(77);
    let all_other = NewAccount { id: id(CUSTOMER), external_id, ..nothing.clone() };
    let limit = BalanceLimit::DebitsWithinCredits;
    let other_external = NewAccount { limit, ..all_other.clone() };
    let other_ledger = NewAccount { external_id: ExternalId::default(), ..other_external.clone() };
    let other_code = NewAccount { ledger: 986, ..other_ledger.clone() };
    let linked = |new: &NewAccount| NewAccount { linked: true, ..new.clone() };
    let table = [
        (LinkedEventFailed, vec![linked(&nothing), linked(&nothing)], 1),
        (LinkedEventChainOpen, vec![linked(&nothing)], 0),
        (IdMustNotBeZero, vec![nothing.clone()], 0),
        (IdMustNotBeMax, vec![max], 0),
        (ExistsWithDifferentLimit, vec![all_other], 0),
        (ExistsWithDifferentExternalId, vec![other_external], 0),
        (ExistsWithDifferentLedger, vec![other_ledger], 0),
        (ExistsWithDifferentCode, vec![other_code], 0),
        (LedgerMustNotBeZero, vec![another.clone()], 0),
        (CodeMustNotBeZero, vec![NewAccount { ledger: 986, ..another }], 0),
    ];
    let mut numbers = Vec::new();
    for (refusal, batch, index) in table {
        assert_eq!(create(&batch)[index], Outcome::Refused(refusal), "{batch:?}");
        let contract = CreateAccountStatus::try_from(refusal as i32).unwrap();
        let name = format!("CREATE_ACCOUNT_STATUS_{}", screaming(&format!("{refusal:?}")));
        assert_eq!(name, contract.as_str_name());
        numbers.push(refusal as i32);
    }
    assert!(numbers.is_sorted());
    let exists = CreateAccountStatus::Exists as i32;
    let all = (2..).take_while(|number| CreateAccountStatus::try_from(*number).is_ok());
    assert_eq!(numbers, all.filter(|number| *number != exists).collect::<Vec<_>>());
}

#[test]
fn the_same_account_again_exists_since_the_first_time() {
    let mut bench = Bench::default();
    bench.at(SECOND);
    let first = bench.state.create_accounts(tenant(0), &[account(1)], &mut bench.block);
    let again = bench.state.create_accounts(tenant(0), &[account(1)], &mut bench.block);

    let Outcome::Created(created_at) = first[0] else { panic!("{first:?}") };
    assert_eq!(again, [Outcome::Exists(created_at)]);
    assert_eq!(bench.block.records.len(), 1);
}

#[test]
fn linked_accounts_are_created_together_or_not_at_all() {
    let linked = NewAccount { linked: true, ..account(10) };
    let bad = NewAccount { code: 0, ..account(11) };
    let mut bench = Bench::new();
    let mut create =
        |batch: &[NewAccount]| bench.state.create_accounts(tenant(0), batch, &mut bench.block);

    let outcomes = create(&[linked.clone(), bad, account(12)]);
    assert_eq!(
        outcomes[..2],
        [Outcome::Refused(LinkedEventFailed), Outcome::Refused(CodeMustNotBeZero)]
    );
    assert!(matches!(outcomes[2], Outcome::Created(_)));
    let outcomes = create(&[linked, account(11)]);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Created(_))));
    let records = bench.block.records.len();
    assert_eq!(records, 5 + 3, "what was taken back is not recorded");
}
