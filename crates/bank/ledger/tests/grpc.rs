//! The ledger as its callers see it: over mTLS, with the generated client.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::future::Future;
use std::path::Path;

use auth::TenantId;
use contracts::ledger::v1 as pb;
use contracts::ledger::v1::ledger_service_client::LedgerServiceClient;
use contracts::ledger::v1::{CreateAccountStatus, CreateTransferStatus, TransferKind};
use ledger::{Config, JournalError, StartError};
use mesh::{Channel, Context};
use testkit::Testkit;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

type Client = LedgerServiceClient<Channel>;

/// A served ledger and a folder that outlives it.
struct Served {
    kit: Testkit,
    folder: tempfile::TempDir,
}

async fn served() -> Served {
    let served = Served { kit: Testkit::start().await, folder: tempfile::tempdir().unwrap() };
    served.start().await.unwrap();
    served
}

impl Served {
    async fn start(&self) -> Result<(), StartError> {
        let mesh = self.kit.mesh("ledger");
        let config = Config { journal: self.folder.path().join("journal"), create: true };
        let service = ledger::start(config, &mesh, self.kit.clock()).await?;
        self.kit.serve(&mesh, service).await;
        Ok(())
    }

    fn client(&self, caller: &str) -> Client {
        LedgerServiceClient::new(self.kit.channel(caller, "ledger"))
    }

    fn journal(&self) -> std::path::PathBuf {
        self.folder.path().join("journal").join("ledger.journal")
    }
}

/// Calls as the default tenant.
async fn call<T>(future: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    Context::system(TenantId::DEFAULT).scope(future).await
}

fn uuid(number: u128) -> String {
    Uuid::from_u128(number).to_string()
}

fn account(number: u128) -> pb::NewAccount {
    pb::NewAccount { id: uuid(number), ledger: 986, code: 1, ..pb::NewAccount::default() }
}

fn transfer(number: u128, amount: u64) -> pb::NewTransfer {
    pb::NewTransfer {
        id: uuid(number),
        debit_account_id: uuid(1),
        credit_account_id: uuid(2),
        amount,
        ledger: 986,
        code: 7,
        ..pb::NewTransfer::default()
    }
}

async fn open(client: &mut Client) {
    let accounts = vec![account(1), account(2)];
    let answer = call(client.create_accounts(pb::CreateAccountsRequest { accounts })).await;
    let results = answer.unwrap().into_inner().results;
    assert!(results.iter().all(|result| result.status() == CreateAccountStatus::Created));
}

async fn create(client: &mut Client, transfers: Vec<pb::NewTransfer>) -> Vec<CreateTransferStatus> {
    let answer = call(client.create_transfers(pb::CreateTransfersRequest { transfers })).await;
    let results = answer.unwrap().into_inner().results;
    for result in &results {
        let is_there =
            matches!(result.status(), CreateTransferStatus::Created | CreateTransferStatus::Exists);
        assert_eq!(result.created_at.is_some(), is_there);
    }
    results.iter().map(pb::CreateTransferResult::status).collect()
}

async fn find(client: &mut Client, number: u128) -> pb::Account {
    let ids = vec![uuid(number)];
    let answer = call(client.lookup_accounts(pb::LookupAccountsRequest { ids })).await.unwrap();
    answer.into_inner().accounts.remove(0)
}

/// K-08: money moves, is held and posted, and everything can be read back.
#[tokio::test(flavor = "multi_thread")]
async fn transfers_move_money_and_are_read_back() {
    let served = served().await;
    let mut client = served.client("payments");
    open(&mut client).await;
    let hold = pb::NewTransfer {
        kind: TransferKind::Pending.into(),
        timeout_seconds: 60,
        external_id: uuid(77),
        ..transfer(11, 50)
    };
    let post = pb::NewTransfer {
        id: uuid(12),
        kind: TransferKind::PostPending.into(),
        pending_id: uuid(11),
        amount: 20,
        ..pb::NewTransfer::default()
    };
    let statuses = create(&mut client, vec![transfer(10, 100), hold, post, transfer(13, 0)]).await;
    let (created, exists) = (CreateTransferStatus::Created, CreateTransferStatus::Exists);
    let zero = CreateTransferStatus::AmountMustNotBeZero;
    assert_eq!(statuses, [created, created, created, zero]);
    assert_eq!(create(&mut client, vec![transfer(10, 100)]).await, [exists]);

    let found = find(&mut client, 2).await;
    assert_eq!((found.credits_pending, found.credits_posted), (0, 120));
    assert_eq!((found.debits_pending, found.debits_posted), (0, 0));
    assert_eq!((found.id, found.external_id), (uuid(2), String::new()));

    let ids = vec![uuid(12), uuid(404), uuid(11)];
    let answer = call(client.lookup_transfers(pb::LookupTransfersRequest { ids })).await.unwrap();
    let [post, hold] = answer.into_inner().transfers.try_into().unwrap();
    assert_eq!((post.pending_id, post.debit_account_id), (uuid(11), uuid(1)), "inherited");
    assert_eq!((post.amount, post.code, post.ledger), (20, 7, 986));
    assert_eq!(post.kind, i32::from(TransferKind::PostPending));
    assert_eq!((hold.timeout_seconds, hold.external_id), (60, uuid(77)));

    let mut page = pb::ListAccountHistoryRequest {
        account_id: uuid(2),
        page_size: 2,
        page_token: String::new(),
    };
    let answer = call(client.list_account_history(page.clone())).await.unwrap().into_inner();
    let balances = |entry: &pb::HistoryEntry| (entry.credits_pending, entry.credits_posted);
    assert_eq!(answer.entries.iter().map(balances).collect::<Vec<_>>(), [(0, 120), (50, 100)]);
    page.page_token = answer.next_page_token;
    let answer = call(client.list_account_history(page)).await.unwrap().into_inner();
    assert_eq!(answer.entries.iter().map(balances).collect::<Vec<_>>(), [(0, 100)]);
    assert_eq!(answer.next_page_token, "");
    let at = answer.entries[0].at.unwrap();
    assert_eq!(Some(at), answer.entries[0].transfer.as_ref().unwrap().created_at);
}

/// A malformed request is an error of the call that names the field; nothing of it is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_field_is_named_with_its_place() {
    let served = served().await;
    let mut client = served.client("payments");
    open(&mut client).await;
    let bad_id = pb::NewTransfer { id: "11".to_owned(), ..transfer(11, 1) };
    let bad_hold =
        pb::NewTransfer { pending_id: Uuid::nil().simple().to_string(), ..transfer(12, 1) };
    let bad_code = pb::NewTransfer { code: 65_536, ..transfer(13, 1) };
    let bad_kind = pb::NewTransfer { kind: 9, ..transfer(14, 1) };
    let many = vec![transfer(15, 1); 8_190];
    for (transfers, field) in [
        (vec![transfer(10, 1), bad_id], "transfers[1].id"),
        (vec![bad_hold], "transfers[0].pending_id"),
        (vec![bad_code], "transfers[0].code"),
        (vec![bad_kind], "transfers[0].kind"),
        (vec![], "transfers"),
        (many, "transfers"),
    ] {
        let request = pb::CreateTransfersRequest { transfers };
        assert_invalid(&call(client.create_transfers(request)).await.unwrap_err(), field);
    }
    let accounts = vec![pb::NewAccount { limit: 3, ..account(3) }];
    let answer = call(client.create_accounts(pb::CreateAccountsRequest { accounts })).await;
    assert_invalid(&answer.unwrap_err(), "accounts[0].limit");
    let ids = vec![uuid(1), String::new()];
    let answer = call(client.lookup_accounts(pb::LookupAccountsRequest { ids })).await;
    assert_invalid(&answer.unwrap_err(), "ids[1]");
    let list = |account_id, page_size, page_token: &str| pb::ListAccountHistoryRequest {
        account_id,
        page_size,
        page_token: page_token.to_owned(),
    };
    let answer = call(client.list_account_history(list(uuid(1), 1_001, ""))).await;
    assert_invalid(&answer.unwrap_err(), "page_size");
    let answer = call(client.list_account_history(list(uuid(1), 0, "x"))).await;
    assert_invalid(&answer.unwrap_err(), "page_token");
    let status = call(client.list_account_history(list(uuid(404), 0, ""))).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(mesh::error::reason(&status).as_deref(), Some("ACCOUNT_NOT_FOUND"));

    assert_eq!(find(&mut client, 2).await.credits_posted, 0);
}

fn assert_invalid(status: &Status, field: &str) {
    assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status:?}");
    assert_eq!(mesh::error::reason(status).as_deref(), Some("INVALID_FIELD"));
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, field);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_greatest_batch_fits_in_a_call() {
    let served = served().await;
    let mut client = served.client("payments");
    open(&mut client).await;
    let transfers = (0..8_189).map(|number| pb::NewTransfer {
        pending_id: uuid(0),
        external_id: uuid(77),
        ..transfer(100 + number, 1)
    });
    let statuses = create(&mut client, transfers.collect()).await;
    assert!(statuses.iter().all(|status| *status == CreateTransferStatus::Created));
    let ids = (0..8_189).map(|number| uuid(100 + number)).collect();
    let answer = call(client.lookup_transfers(pb::LookupTransfersRequest { ids })).await.unwrap();
    assert_eq!(answer.into_inner().transfers.len(), 8_189);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_sees_nothing() {
    let served = served().await;
    let mut client = served.client("payments");
    open(&mut client).await;
    create(&mut client, vec![transfer(10, 100)]).await;

    let stranger = || Context::system(Uuid::from_u128(0xdead).into());
    let ids = vec![uuid(1), uuid(2)];
    let accounts = client.lookup_accounts(pb::LookupAccountsRequest { ids });
    let accounts = stranger().scope(accounts).await.unwrap().into_inner().accounts;
    assert!(accounts.is_empty());
    let transfers = vec![transfer(10, 100)];
    let moved = client.create_transfers(pb::CreateTransfersRequest { transfers });
    let moved = stranger().scope(moved).await.unwrap().into_inner().results[0].status();
    assert_eq!(moved, CreateTransferStatus::DebitAccountNotFound);
    let ids = vec![uuid(10)];
    let transfers = client.lookup_transfers(pb::LookupTransfersRequest { ids });
    let transfers = stranger().scope(transfers).await.unwrap().into_inner().transfers;
    assert!(transfers.is_empty());
}

/// Only payments moves money, and only who owns accounts opens them.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_callers_of_the_contract_are_served() {
    let served = served().await;
    for caller in ["gateway", "identity", "accounts"] {
        let transfers = vec![transfer(10, 100)];
        let request = pb::CreateTransfersRequest { transfers };
        let answer = call(served.client(caller).create_transfers(request)).await;
        assert_eq!(answer.unwrap_err().code(), Code::PermissionDenied, "{caller}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_everything_and_a_changed_journal_is_refused() {
    let served = served().await;
    let mut client = served.client("payments");
    open(&mut client).await;
    create(&mut client, vec![transfer(10, 100)]).await;
    create(&mut client, vec![transfer(11, 30)]).await;
    assert!(matches!(served.start().await, Err(StartError::Journal(JournalError::Locked(_)))));

    served.kit.stop("ledger").await;
    served.start().await.unwrap();
    assert_eq!(find(&mut client, 2).await.credits_posted, 130);
    assert_eq!(create(&mut client, vec![transfer(11, 30)]).await, [CreateTransferStatus::Exists]);

    served.kit.stop("ledger").await;
    flip_a_bit(&served.journal(), 200);
    let error = served.start().await.unwrap_err().to_string();
    assert!(error.starts_with("the journal is broken at block 1, byte 0: "), "{error}");
}

fn flip_a_bit(file: &Path, byte: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[byte] ^= 1;
    fs::write(file, bytes).unwrap();
}
