//! A served ledger, and short words for what tests ask of it.

use std::future::Future;
use std::path::PathBuf;

use auth::TenantId;
use contracts::ledger::v1 as pb;
use contracts::ledger::v1::ledger_service_client::LedgerServiceClient;
use contracts::ledger::v1::{CreateAccountStatus, CreateTransferStatus, TransferKind};
use ledger::{Config, StartError};
use mesh::{Channel, Context};
use testkit::Testkit;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

pub(crate) type Client = LedgerServiceClient<Channel>;

/// Ledger of all accounts and transfers here.
pub(crate) const LEDGER: u32 = 986;

/// A served ledger and a folder that outlives it.
pub(crate) struct Served {
    pub(crate) kit: Testkit,
    folder: tempfile::TempDir,
}

pub(crate) async fn served() -> Served {
    let served = Served { kit: Testkit::start().await, folder: tempfile::tempdir().unwrap() };
    served.start().await.unwrap();
    served
}

impl Served {
    pub(crate) async fn start(&self) -> Result<(), StartError> {
        let mesh = self.kit.mesh("ledger");
        let config = Config { journal: self.journal(), create: true, ..Config::default() };
        let service = ledger::start(config, &mesh, self.kit.clock()).await?;
        self.kit.serve(&mesh, service).await;
        Ok(())
    }

    pub(crate) fn client(&self, caller: &str) -> Client {
        LedgerServiceClient::new(self.kit.channel(caller, "ledger"))
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }
}

/// A served ledger with the accounts 1 and 2, and a client that may create transfers.
pub(crate) async fn opened() -> (Served, Client) {
    let served = served().await;
    let mut client = served.client("payments");
    open(&mut client, vec![account(1), account(2)]).await;
    (served, client)
}

/// Calls as the default tenant.
pub(crate) async fn call<T>(
    future: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    Context::system(TenantId::DEFAULT).scope(future).await.map(Response::into_inner)
}

/// Calls as another tenant.
pub(crate) async fn call_as_stranger<T>(
    future: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    let stranger = Context::system(Uuid::from_u128(0xdead).into());
    stranger.scope(future).await.map(Response::into_inner)
}

pub(crate) fn uuid(number: u128) -> String {
    Uuid::from_u128(number).to_string()
}

pub(crate) fn account(number: u128) -> pb::NewAccount {
    pb::NewAccount { id: uuid(number), ledger: LEDGER, code: 1, ..pb::NewAccount::default() }
}

/// From account 1 to account 2.
pub(crate) fn transfer(number: u128, amount: u64) -> pb::NewTransfer {
    pb::NewTransfer {
        id: uuid(number),
        debit_account_id: uuid(1),
        credit_account_id: uuid(2),
        amount,
        ledger: LEDGER,
        code: 7,
        ..pb::NewTransfer::default()
    }
}

pub(crate) fn hold(number: u128, amount: u64) -> pb::NewTransfer {
    pb::NewTransfer { kind: TransferKind::Pending.into(), ..transfer(number, amount) }
}

pub(crate) fn with_metadata(pairs: &[(&str, &str)], transfer: pb::NewTransfer) -> pb::NewTransfer {
    let metadata = pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    pb::NewTransfer { metadata, ..transfer }
}

pub(crate) async fn open(client: &mut Client, accounts: Vec<pb::NewAccount>) {
    let request = pb::CreateAccountsRequest { accounts };
    let results = call(client.create_accounts(request)).await.unwrap().results;
    for result in &results {
        assert_eq!(result.status(), CreateAccountStatus::Created);
    }
}

pub(crate) async fn create(
    client: &mut Client,
    transfers: Vec<pb::NewTransfer>,
) -> Vec<pb::CreateTransferResult> {
    let request = pb::CreateTransfersRequest { transfers, ..Default::default() };
    let results = call(client.create_transfers(request)).await.unwrap().results;
    for result in &results {
        let is_there =
            matches!(result.status(), CreateTransferStatus::Created | CreateTransferStatus::Exists);
        assert_eq!(result.created_at.is_some(), is_there);
    }
    results
}

pub(crate) fn statuses(results: &[pb::CreateTransferResult]) -> Vec<CreateTransferStatus> {
    results.iter().map(pb::CreateTransferResult::status).collect()
}

/// Creates transfers that are all accepted.
pub(crate) async fn accept(
    client: &mut Client,
    transfers: Vec<pb::NewTransfer>,
) -> Vec<pb::CreateTransferResult> {
    let results = create(client, transfers).await;
    let all_created = vec![CreateTransferStatus::Created; results.len()];
    assert_eq!(statuses(&results), all_created);
    results
}

pub(crate) async fn find(client: &mut Client, number: u128) -> pb::Account {
    let request = pb::GetAccountRequest { id: uuid(number) };
    call(client.get_account(request)).await.unwrap().account.unwrap()
}

pub(crate) async fn find_transfer(client: &mut Client, number: u128) -> pb::Transfer {
    let request = pb::GetTransferRequest { id: uuid(number) };
    call(client.get_transfer(request)).await.unwrap().transfer.unwrap()
}

#[track_caller]
pub(crate) fn assert_invalid(status: &Status, field: &str) {
    assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status:?}");
    assert_eq!(mesh::error::reason(status).as_deref(), Some("INVALID_FIELD"));
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, field);
}
