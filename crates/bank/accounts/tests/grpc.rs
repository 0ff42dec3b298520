//! Accounts over real mTLS and a real database, beside a ledger made of plain memory.
#![allow(clippy::unwrap_used, missing_docs)]

mod ledger;

use std::collections::HashSet;
use std::sync::Arc;

use auth::{Role, TenantId, UserId};
use contracts::accounts::v1::accounts_service_client::AccountsServiceClient;
use contracts::accounts::v1::{
    Account, GetBalanceRequest, GetStatementRequest, GetStatementResponse, ListAccountsRequest,
    OpenAccountRequest, ResolveAccountsRequest,
};
use contracts::ledger::v1::{BalanceLimit, TransferCreated, TransferKind};
use events::{Event, Operator, Outbox, PostgresBus, Relay, RelayConfig};
use mesh::{Channel, Context};
use storage::Database;
use testkit::{Testkit, assert_refused};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::ledger::FakeLedger;

struct Bank {
    kit: Testkit,
    ledger: FakeLedger,
    storage: storage::Config,
}

impl Bank {
    async fn start() -> Self {
        let kit = Testkit::start().await;
        let ledger = FakeLedger::default();
        let ledger_mesh = kit.mesh("ledger");
        kit.serve(&ledger_mesh, ledger.service()).await;
        let mesh = kit.mesh("accounts");
        let storage = kit.storage(&["accounts", "payments"]).await;
        let database = Database::open("accounts", &storage);
        let config = accounts::Config::default();
        let bus = Arc::new(PostgresBus::new(database.clone()));
        let service = accounts::start(config, &mesh, database, bus, kit.clock()).await.unwrap();
        kit.serve(&mesh, service).await;
        Self { kit, ledger, storage }
    }

    fn client(&self, caller: &str) -> AccountsServiceClient<Channel> {
        AccountsServiceClient::new(self.kit.channel(caller, "accounts"))
    }

    async fn open_in(
        &self,
        tenant: TenantId,
        user: UserId,
        currency: &str,
    ) -> Result<Account, Status> {
        let request =
            OpenAccountRequest { user_id: user.to_string(), currency: currency.to_owned() };
        let mut client = self.client("identity");
        let response = Context::system(tenant).scope(client.open_account(request)).await?;
        Ok(response.into_inner().account.unwrap())
    }

    async fn open(&self, user: UserId) -> Account {
        self.open_in(TenantId::DEFAULT, user, "BRL").await.unwrap()
    }

    async fn resolve_in(&self, tenant: TenantId, users: &[UserId]) -> Vec<Account> {
        let request = ResolveAccountsRequest {
            user_ids: users.iter().map(UserId::to_string).collect(),
            currency: "BRL".to_owned(),
        };
        let mut client = self.client("payments");
        let response = Context::system(tenant).scope(client.resolve_accounts(request)).await;
        response.unwrap().into_inner().accounts
    }

    async fn list(&self, context: Context, user: &str) -> Result<Vec<Account>, Status> {
        let request = ListAccountsRequest { user_id: user.to_owned() };
        let mut client = self.client("gateway");
        Ok(context.scope(client.list_accounts(request)).await?.into_inner().accounts)
    }

    async fn balance(&self, context: Context, user: &str) -> Result<String, Status> {
        let request = GetBalanceRequest { user_id: user.to_owned(), currency: String::new() };
        let mut client = self.client("gateway");
        Ok(context.scope(client.get_balance(request)).await?.into_inner().balance)
    }

    async fn statement(
        &self,
        context: Context,
        page_size: i32,
        page_token: &str,
    ) -> Result<GetStatementResponse, Status> {
        let request = GetStatementRequest {
            user_id: "me".to_owned(),
            currency: String::new(),
            page_size,
            page_token: page_token.to_owned(),
        };
        let mut client = self.client("gateway");
        Ok(context.scope(client.get_statement(request)).await?.into_inner())
    }

    fn customer(&self, user: UserId) -> Context {
        self.kit.user_context(user, &[Role::Customer])
    }

    fn staff(&self) -> Context {
        self.kit.user_context(UserId::random(), &[Role::Viewer])
    }
}

/// B-11, L-26: the ledger account is made for the user, and a repeat changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_opening_returns_the_first_account() {
    let bank = Bank::start().await;
    let user = UserId::random();

    let first = bank.open(user).await;
    let again = bank.open(user).await;

    assert_eq!(first, again);
    assert_eq!(first.user_id, user.to_string());
    assert_eq!((first.currency.as_str(), first.agency.as_str()), ("BRL", "0001"));
    assert_eq!(first.account_number, "00000001-9");
    assert!(first.created_at.is_some());
    let made = bank.ledger.account(first.id.parse().unwrap()).unwrap();
    assert_eq!((made.ledger, made.code), (986, 1));
    assert_eq!(made.limit(), BalanceLimit::DebitsWithinCredits);
    assert_eq!(made.external_id, user.to_string());
}

/// B-11: a user has one account per currency.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_an_account_in_each_currency() {
    let bank = Bank::start().await;
    let user = UserId::random();

    let real = bank.open(user).await;
    let dollar = bank.open_in(TenantId::DEFAULT, user, "USD").await.unwrap();

    assert_ne!((&real.id, &real.account_number), (&dollar.id, &dollar.account_number));
    assert_eq!(bank.ledger.account(dollar.id.parse().unwrap()).unwrap().ledger, 840);
    assert_eq!(bank.list(bank.customer(user), "me").await.unwrap(), [real, dollar]);
    let unknown = bank.open_in(TenantId::DEFAULT, user, "ZZZ").await;
    assert_refused(unknown, Code::InvalidArgument, "INVALID_FIELD");
}

/// B-11: however many open at once, there is one account and no number is skipped.
#[tokio::test(flavor = "multi_thread")]
async fn openings_at_the_same_time_make_one_account() {
    let bank = Bank::start().await;
    let user = UserId::random();

    let opened: Vec<_> = (0..8).map(|_| bank.open(user)).collect();
    let accounts = futures::future::join_all(opened).await;

    let ids: HashSet<_> = accounts.iter().map(|account| &account.id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(bank.resolve_in(TenantId::DEFAULT, &[user]).await.len(), 1);
}

/// B-11: without the ledger nothing is open; a repeat completes what was begun.
#[tokio::test(flavor = "multi_thread")]
async fn an_opening_that_the_ledger_missed_is_completed_by_a_repeat() {
    let bank = Bank::start().await;
    let user = UserId::random();

    bank.ledger.fail_with(Some(Code::Unavailable));
    let refused = bank.open_in(TenantId::DEFAULT, user, "BRL").await;

    assert_refused(refused, Code::Unavailable, "LEDGER_UNAVAILABLE");
    assert_eq!(bank.resolve_in(TenantId::DEFAULT, &[user]).await, []);
    assert_eq!(bank.list(bank.customer(user), "me").await.unwrap(), []);
    let balance = bank.balance(bank.customer(user), "me").await;
    assert_refused(balance, Code::NotFound, "ACCOUNT_NOT_FOUND");

    bank.ledger.fail_with(None);
    let account = bank.open(user).await;

    assert_eq!(bank.resolve_in(TenantId::DEFAULT, &[user]).await, [account]);
}

/// B-11: a ledger account that is somebody else's is never taken over.
#[tokio::test(flavor = "multi_thread")]
async fn an_opening_that_the_ledger_refuses_stays_closed() {
    let bank = Bank::start().await;
    let user = UserId::random();

    bank.ledger.refuse_accounts();
    let refused = bank.open_in(TenantId::DEFAULT, user, "BRL").await;

    assert_refused(refused, Code::Internal, "LEDGER_INCONSISTENT");
    assert_eq!(bank.resolve_in(TenantId::DEFAULT, &[user]).await, []);
}

/// B-11: payments finds the accounts of many users at once; those without one are left out.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_of_many_users_are_resolved_in_one_call() {
    let bank = Bank::start().await;
    let (ana, bia, nobody) = (UserId::random(), UserId::random(), UserId::random());
    let opened = [bank.open(ana).await, bank.open(bia).await];

    let mut resolved = bank.resolve_in(TenantId::DEFAULT, &[bia, nobody, ana]).await;

    resolved.sort_by(|a, b| a.account_number.cmp(&b.account_number));
    assert_eq!(resolved, opened);
}

/// B-13, L-22, L-28: the balance is what can be spent, with all places, asked anew each time.
#[tokio::test(flavor = "multi_thread")]
async fn the_balance_is_what_the_ledger_says_now() {
    let bank = Bank::start().await;
    let user = UserId::random();
    let account: Uuid = bank.open(user).await.id.parse().unwrap();
    let read = || bank.balance(bank.customer(user), "me");

    assert_eq!(read().await.unwrap(), "0.00");
    bank.ledger.credit(account, 100_000);
    assert_eq!(read().await.unwrap(), "1000.00");
    bank.ledger.debit(account, 10_050);
    assert_eq!(read().await.unwrap(), "899.50");
    bank.ledger.hold(account, 89_949);
    assert_eq!(read().await.unwrap(), "0.01");
}

/// B-13: a balance is never made up while the ledger is away.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_ledger_there_is_no_balance() {
    let bank = Bank::start().await;
    let user = UserId::random();
    bank.open(user).await;

    bank.ledger.fail_with(Some(Code::Unavailable));
    let status = bank.balance(bank.customer(user), "me").await.unwrap_err();

    assert_eq!(mesh::error::reason(&status).as_deref(), Some("LEDGER_UNAVAILABLE"));
    assert!(mesh::error::retry_after(&status).is_some());
}

/// L-28, L-64: the answer about somebody else does not tell whether that user exists.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_owner_and_staff_reach_an_account() {
    let bank = Bank::start().await;
    let (owner, other, nobody) = (UserId::random(), UserId::random(), UserId::random());
    let account = bank.open(owner).await;

    for target in [owner, nobody].map(|user| user.to_string()) {
        let stranger = || bank.customer(other);
        let balance = bank.balance(stranger(), &target).await.unwrap_err();
        assert_eq!(balance.message(), "this belongs to somebody else");
        assert_refused::<()>(Err(balance), Code::PermissionDenied, "NOT_OWNER");
        let list = bank.list(stranger(), &target).await;
        assert_refused(list, Code::PermissionDenied, "NOT_OWNER");
    }
    assert_eq!(bank.balance(bank.staff(), &owner.to_string()).await.unwrap(), "0.00");
    assert_eq!(bank.list(bank.staff(), &owner.to_string()).await.unwrap(), [account]);
    let absent = bank.balance(bank.staff(), &nobody.to_string()).await;
    assert_refused(absent, Code::NotFound, "ACCOUNT_NOT_FOUND");
}

/// B-11: no tenant sees the accounts of another, and both may know the same user.
#[tokio::test(flavor = "multi_thread")]
async fn tenants_do_not_see_each_other() {
    let bank = Bank::start().await;
    let user = UserId::random();
    let other = TenantId::from(Uuid::new_v4());
    let account = bank.open(user).await;

    assert_eq!(bank.resolve_in(other, &[user]).await, []);
    let elsewhere = bank.open_in(other, user, "BRL").await.unwrap();

    assert_ne!(account.id, elsewhere.id);
    assert_eq!(bank.resolve_in(TenantId::DEFAULT, &[user]).await, [account]);
}

/// B-13: a statement shows what moved, signed, newest first, and pages over holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_pages_over_what_moved() {
    let bank = Bank::start().await;
    let user = UserId::random();
    let account: Uuid = bank.open(user).await.id.parse().unwrap();
    bank.ledger.credit(account, 100_000);
    for _ in 0..6 {
        bank.ledger.hold(account, 1);
        bank.ledger.record(account, TransferKind::VoidPending, 1);
        bank.ledger.debit(account, 10_050);
    }
    let settled = bank.ledger.settle(account, 50);

    let mut entries = Vec::new();
    let mut token = String::new();
    loop {
        let page = bank.statement(bank.customer(user), 3, &token).await.unwrap();
        assert!(page.entries.len() <= 3);
        entries.extend(page.entries);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }

    let moved: Vec<_> =
        entries.iter().map(|entry| (entry.amount.as_str(), entry.balance.as_str())).collect();
    assert_eq!(moved[0], ("-0.50", "396.50"));
    assert_eq!(entries[0].transaction_id, settled.to_string());
    assert_eq!(moved[1], ("-100.50", "397.00"));
    assert_eq!(moved[6], ("-100.50", "899.50"));
    assert_eq!(moved[7], ("1000.00", "1000.00"));
    assert_eq!(moved.len(), 8);
    assert!(entries.iter().all(|entry| entry.created_at.is_some()));
}

/// B-13: behind many holds a page is short rather than slow, and its token leads on.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_behind_many_holds_is_short_but_leads_on() {
    let bank = Bank::start().await;
    let user = UserId::random();
    let account: Uuid = bank.open(user).await.id.parse().unwrap();
    bank.ledger.credit(account, 100);
    for _ in 0..10 {
        bank.ledger.hold(account, 1);
    }

    let first = bank.statement(bank.customer(user), 1, "").await.unwrap();
    assert_eq!(first.entries, []);
    let second = bank.statement(bank.customer(user), 1, &first.next_page_token).await.unwrap();

    assert_eq!(second.entries[0].amount, "1.00");
}

/// B-13: a page token is of one account.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_of_another_account_is_refused() {
    let bank = Bank::start().await;
    let (ana, bia) = (UserId::random(), UserId::random());
    for user in [ana, bia] {
        let account = bank.open(user).await.id.parse().unwrap();
        bank.ledger.credit(account, 1);
        bank.ledger.credit(account, 1);
    }
    let token = bank.statement(bank.customer(ana), 1, "").await.unwrap().next_page_token;
    let (account, _) = token.split_once('.').unwrap();

    let of_no_page = format!("{account}.x");
    for (user, token) in [(bia, token.as_str()), (ana, "x"), (ana, "1"), (ana, &of_no_page)] {
        let refused = bank.statement(bank.customer(user), 1, token).await;
        assert_refused(refused, Code::InvalidArgument, "INVALID_PAGE_TOKEN");
    }
}

/// B-11: the edge opens no accounts; only registration does.
#[tokio::test(flavor = "multi_thread")]
async fn the_edge_cannot_open_accounts() {
    let bank = Bank::start().await;
    let request =
        OpenAccountRequest { user_id: UserId::random().to_string(), currency: "BRL".to_owned() };

    let mut client = bank.client("gateway");
    let context = Context::system(TenantId::DEFAULT);
    let refused = context.scope(client.open_account(request)).await;

    assert_refused(refused, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
}

/// L-33: a change of a balance is told once, also when what is known of the transfer is replayed.
#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_transfer_tells_no_second_change_of_a_balance() {
    const TAKEN_UP: &str = "SELECT count(*) FROM inbox_events WHERE consumer = 'balances'";
    const TOLD: &str =
        "SELECT count(*) FROM outbox_events WHERE event_type = 'user.balance.updated'";
    let bank = Bank::start().await;
    let account = bank.open(UserId::random()).await;
    let events = Database::open("events", &bank.storage);
    let bus = Arc::new(PostgresBus::new(events.clone()));
    let relay = Relay::new(events.clone(), bus.clone(), RelayConfig::default());
    let relaying = tokio::spawn(async move { relay.run().await });
    publish_transfer(&bank, &account).await;
    await_count(&events, TAKEN_UP, 1).await;
    await_count(&events, TOLD, 1).await;

    let operator = Operator::new(events.clone(), bus);
    let since = chrono::DateTime::UNIX_EPOCH;
    let by = operator.replay("transactions.created", since, Some("balances")).await.unwrap();
    assert_eq!(by, ["accounts/balances"]);

    // Forgotten by the replay, and then taken up once more.
    await_count(&events, TAKEN_UP, 1).await;
    assert_eq!(count(&events, TOLD).await, 1);
    relaying.abort();
}

/// As payments tells what the ledger did.
async fn publish_transfer(bank: &Bank, account: &Account) {
    let payments = Database::open("payments", &bank.storage);
    let transfer = TransferCreated {
        account_id: account.id.clone(),
        transfer_id: Uuid::now_v7().to_string(),
        debit_account_id: Uuid::now_v7().to_string(),
        credit_account_id: account.id.clone(),
        amount: 100,
        ..TransferCreated::default()
    };
    let event = Event::new(TenantId::DEFAULT, bank.kit.clock().now(), &transfer).unwrap();
    let mut transaction = payments.begin(TenantId::DEFAULT).await.unwrap();
    Outbox::new(&payments).publish(&mut transaction, &[event]).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn count(events: &Database, question: &'static str) -> i64 {
    let mut transaction = events.begin_worker().await.unwrap();
    sqlx::query_scalar(question).fetch_one(&mut *transaction).await.unwrap()
}

async fn await_count(events: &Database, question: &'static str, wanted: i64) {
    let started = std::time::Instant::now();
    while count(events, question).await != wanted {
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "{question}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
