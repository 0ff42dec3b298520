//! A mesh with payments in it, and the people who use it.

use std::num::NonZeroU32;
use std::time::Duration;

use auth::{Role, TenantId, UserId};
use chrono::Utc;
use clock::Clock;
use contracts::accounts::v1::accounts_service_server::AccountsServiceServer;
use contracts::ledger::v1::LookupAccountsRequest;
use contracts::ledger::v1::ledger_service_client::LedgerServiceClient;
use contracts::ledger::v1::ledger_service_server::LedgerServiceServer;
use contracts::payments::v1::payments_service_client::PaymentsServiceClient;
use contracts::payments::v1::{
    CreateTransactionRequest, CreateTransactionResponse, GetTransactionRequest,
    ListTransactionsRequest, ListTransactionsResponse, ReverseTransactionRequest, Transaction,
    TransactionType,
};
use mesh::{Channel, Context, Mesh};
use payments::Config;
use storage::Database;
use testkit::Testkit;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::metadata::MetadataMap;
use tonic::{Response, Status};

use crate::fakes::{FakeAccounts, FakeLedger};

/// Age at which payments of the bank are taken up, by its own clock.
pub(crate) const RECOVERY_AFTER: Duration = Duration::from_secs(10);

/// Payments under test, on a clock that stands still until it is advanced.
pub(crate) struct Bank {
    kit: Testkit,
    mesh: Mesh,
    gateway: Mesh,
    pub(crate) database: Database,
    config: Config,
    pub(crate) ledger: FakeLedger,
    accounts: FakeAccounts,
    pub(crate) clock: Clock,
    replicas: Vec<DropGuard>,
}

/// Somebody who calls payments through the gateway.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) user: UserId,
    role: Role,
    context: Context,
    client: PaymentsServiceClient<Channel>,
}

/// Settings of a bank whose customers handle cash themselves.
pub(crate) fn config() -> Config {
    Config {
        customer_cash: true,
        recovery_interval: Duration::from_millis(20),
        recovery_after: RECOVERY_AFTER,
        recovery_batch: 7,
        ..Config::default()
    }
}

impl Bank {
    pub(crate) async fn start() -> Self {
        Self::start_with(config()).await
    }

    pub(crate) async fn start_with(config: Config) -> Self {
        let kit = Testkit::start().await;
        let (ledger, accounts) = (FakeLedger::default(), FakeAccounts::default());
        let service =
            mesh::Service::new("accounts").mount(AccountsServiceServer::new(accounts.clone()));
        kit.serve(&kit.mesh("accounts"), service).await;
        let database = kit.database("payments").await;
        let join = |name| Mesh::join(name, &impatient(kit.mesh_config(name))).unwrap();
        let (mesh, gateway) = (join("payments").with_verifier(kit.verifier()), join("gateway"));
        let clock = Clock::manual(Utc::now());
        let replicas = Vec::new();
        let bank = Self { kit, mesh, gateway, database, config, ledger, accounts, clock, replicas };
        bank.serve_ledger().await;
        bank.serve_payments().await;
        bank
    }

    pub(crate) async fn serve_ledger(&self) {
        let ledger = LedgerServiceServer::new(self.ledger.clone());
        let service = mesh::Service::new("ledger").mount(ledger);
        self.kit.serve(&self.kit.mesh("ledger"), service).await;
    }

    /// Stops the ledger and waits until payments have seen that it is away.
    pub(crate) async fn stop_ledger(&self) {
        self.kit.stop("ledger").await;
        let mut client = LedgerServiceClient::new(self.mesh.channel("ledger"));
        let waiting = async {
            loop {
                let request = LookupAccountsRequest::default();
                let call = async { client.lookup_accounts(request).await };
                let refused = Context::system(TenantId::DEFAULT).scope(call).await.unwrap_err();
                if mesh::error::surely_not_sent(&refused) {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("the ledger is away");
    }

    /// Runs a statement as the owner of the tables.
    pub(crate) async fn run(&self, statement: &'static str) {
        let mut txn = self.database.begin(TenantId::DEFAULT).await.unwrap();
        sqlx::query(statement).execute(&mut *txn).await.unwrap();
        txn.commit().await.unwrap();
    }

    /// Serves payments where callers find them.
    pub(crate) async fn serve_payments(&self) {
        self.kit.serve(&self.mesh, self.payments().await).await;
    }

    pub(crate) async fn stop_payments(&self) {
        self.kit.stop("payments").await;
    }

    /// Serves payments once more, where nobody calls them: their recovery shares the work.
    pub(crate) async fn serve_replica(&mut self) {
        let service = self.payments().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (mesh, stop) = (self.mesh.clone(), CancellationToken::new());
        self.replicas.push(stop.clone().drop_guard());
        tokio::spawn(async move { mesh.serve(service, listener, stop).await });
    }

    async fn payments(&self) -> mesh::Service {
        let (config, database) = (self.config.clone(), self.database.clone());
        payments::start(config, &self.mesh, database, self.clock.clone()).await.unwrap()
    }

    /// Waits until nothing is outstanding any more, while the bank's time goes by.
    pub(crate) async fn recovered(&self) {
        self.wait_until_settled(RECOVERY_AFTER).await;
    }

    /// Waits until nothing is outstanding any more, while the bank's time stands still.
    pub(crate) async fn settled(&self) {
        self.wait_until_settled(Duration::ZERO).await;
    }

    async fn wait_until_settled(&self, step: Duration) {
        let waiting = async {
            while self.outstanding().await > 0 {
                self.clock.advance(step);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("all is settled");
    }

    async fn outstanding(&self) -> i64 {
        let mut txn = self.database.begin_worker().await.unwrap();
        sqlx::query_scalar("SELECT count(*) FROM transactions WHERE recover_at IS NOT NULL")
            .fetch_one(&mut *txn)
            .await
            .unwrap()
    }

    /// Minor units that the ledger holds for a customer.
    pub(crate) fn balance(&self, caller: &Caller) -> i128 {
        self.ledger.balance(self.accounts.account(caller.user))
    }

    /// A customer with an account.
    pub(crate) fn customer(&self) -> Caller {
        let customer = self.caller(Role::Customer);
        self.open(&customer);
        customer
    }

    /// A customer who has deposited `amount`.
    pub(crate) async fn customer_with(&self, amount: &str) -> Caller {
        let customer = self.customer();
        self.deposit(&customer, amount).await;
        customer
    }

    pub(crate) async fn deposit(&self, to: &Caller, amount: &str) {
        to.create(order(TransactionType::Deposit, None, amount)).await.unwrap();
    }

    pub(crate) fn open(&self, caller: &Caller) {
        self.accounts.open(caller.user, &self.ledger);
    }

    /// Somebody without an account.
    pub(crate) fn caller(&self, role: Role) -> Caller {
        self.caller_in(TenantId::DEFAULT, UserId::random(), role)
    }

    pub(crate) fn in_another_tenant(&self, caller: &Caller) -> Caller {
        self.caller_in(TenantId::from(uuid::Uuid::from_u128(2)), caller.user, caller.role)
    }

    fn caller_in(&self, tenant: TenantId, user: UserId, role: Role) -> Caller {
        let mut claims = self.kit.claims(user, &[role]);
        claims.tenant = tenant;
        let client = PaymentsServiceClient::new(self.gateway.channel("payments"));
        Caller { user, role, context: self.kit.context(&claims), client }
    }
}

impl Caller {
    pub(crate) async fn create(
        &self,
        order: CreateTransactionRequest,
    ) -> Result<Transaction, Status> {
        let call = async { self.client.clone().create_transaction(order).await };
        let response = self.context.clone().scope(call).await?;
        Ok(response.into_inner().transaction.unwrap())
    }

    /// The same person, in a hurry.
    pub(crate) fn within(&self, time: Duration) -> Self {
        let deadline = Some(Instant::now() + time);
        Self { context: Context { deadline, ..self.context.clone() }, ..self.clone() }
    }

    pub(crate) async fn create_under(
        &self,
        key: &str,
        order: CreateTransactionRequest,
    ) -> Result<Response<CreateTransactionResponse>, Status> {
        let context = Context { idempotency_key: Some(key.into()), ..self.context.clone() };
        context.scope(async { self.client.clone().create_transaction(order).await }).await
    }

    pub(crate) async fn get(&self, id: &str) -> Result<Transaction, Status> {
        let request = GetTransactionRequest { id: id.to_owned() };
        let call = async { self.client.clone().get_transaction(request).await };
        let response = self.context.clone().scope(call).await?;
        Ok(response.into_inner().transaction.unwrap())
    }

    pub(crate) async fn list(
        &self,
        request: ListTransactionsRequest,
    ) -> Result<ListTransactionsResponse, Status> {
        let call = async { self.client.clone().list_transactions(request).await };
        Ok(self.context.clone().scope(call).await?.into_inner())
    }

    /// What one sees, up to 100 rows.
    pub(crate) async fn list_all(&self) -> Vec<Transaction> {
        let request = ListTransactionsRequest { page_size: 100, ..Default::default() };
        let page = self.list(request).await.unwrap();
        assert_eq!(page.next_page_token, "", "the test has more than a page");
        page.transactions
    }

    pub(crate) async fn reverse(&self, id: &str) -> Result<Transaction, Status> {
        let request = ReverseTransactionRequest { id: id.to_owned() };
        let call = async { self.client.clone().reverse_transaction(request).await };
        let response = self.context.clone().scope(call).await?;
        Ok(response.into_inner().transaction.unwrap())
    }
}

pub(crate) fn order(
    kind: TransactionType,
    receiver: Option<&Caller>,
    amount: &str,
) -> CreateTransactionRequest {
    CreateTransactionRequest {
        r#type: kind.into(),
        receiver_user_id: receiver.map(|one| one.user.to_string()).unwrap_or_default(),
        amount: amount.to_owned(),
        ..Default::default()
    }
}

pub(crate) fn reason(status: &Status) -> String {
    mesh::error::reason(status).unwrap_or_default()
}

/// Whether an answer says that it is that of an earlier request.
pub(crate) fn replayed(metadata: &MetadataMap) -> bool {
    metadata.get("x-idempotent-replay").is_some_and(|value| value == "true")
}

/// A member that retries at once and never gives an upstream up: what a test breaks is mended as soon
/// as the test says so.
fn impatient(mut config: mesh::Config) -> mesh::Config {
    config.retry.delay_min = Duration::from_millis(1);
    config.retry.delay_max = Duration::from_millis(2);
    config.breaker.consecutive_failures = NonZeroU32::MAX;
    config.breaker.volume_min = NonZeroU32::MAX;
    config.limits.drain_time = Duration::from_millis(100);
    config
}
