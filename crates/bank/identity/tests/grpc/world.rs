//! One identity with its neighbours, and what a client does with it.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use clock::Clock;
use contracts::identity::v1::identity_service_client::IdentityServiceClient;
use contracts::identity::v1::{
    GetJwksRequest, IssueDevelopmentTokenRequest, JsonWebKey, LoginRequest, LoginResponse,
    LogoutRequest, RefreshRequest, RefreshResponse, RegisterRequest, RegisterResponse,
    RotateSigningKeyRequest,
};
use identity::{Config, PasswordConfig};
use mesh::{Channel, Context};
use storage::Database;
use tempfile::TempDir;
use testkit::{Role, TenantId, Testkit, UserId};
use tonic::{Code, Status};

use crate::fakes::Neighbours;

pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) struct World {
    pub(crate) kit: Testkit,
    pub(crate) clock: Clock,
    pub(crate) database: Database,
    pub(crate) neighbours: Arc<Neighbours>,
    pub(crate) config: Config,
    pub(crate) tenant: TenantId,
    _secrets: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    pub(crate) async fn start_with(alter: impl FnOnce(&mut Config)) -> Self {
        let mut world = Self::new().await;
        alter(&mut world.config);
        let service = world.replica().await.unwrap();
        world.kit.serve(&world.kit.mesh("identity"), service).await;
        for service in world.neighbours.services() {
            let mesh = world.kit.mesh(service.name());
            world.kit.serve(&mesh, service).await;
        }
        world
    }

    /// A world in which identity was not started yet.
    pub(crate) async fn new() -> Self {
        let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let kit = Testkit::start_at(clock.clone()).await;
        let secrets = tempfile::tempdir().unwrap();
        let config = Config {
            key_encryption_key: secrets.path().join("identity.key"),
            development_tokens: true,
            registration_time_min: Duration::ZERO,
            housekeeping_interval: Duration::from_millis(50),
            passwords: PasswordConfig { memory_kib: 64, passes: 1, ..PasswordConfig::default() },
            ..Config::default()
        };
        sealing::create_master_key(&config.key_encryption_key).unwrap();
        let database = kit.database("identity").await;
        let neighbours = Arc::default();
        let tenant = TenantId::DEFAULT;
        Self { kit, clock, database, neighbours, config, tenant, _secrets: secrets }
    }

    /// One more identity on the same database.
    pub(crate) async fn replica(&self) -> Result<mesh::Service, identity::StartError> {
        let mesh = self.kit.mesh("identity");
        identity::start(self.config.clone(), &mesh, self.database.clone(), self.clock.clone()).await
    }

    pub(crate) fn client(&self, caller: &str) -> IdentityServiceClient<Channel> {
        IdentityServiceClient::new(self.kit.channel(caller, "identity"))
    }

    /// Runs a call as one that no user makes, in the tenant of this world.
    pub(crate) async fn call<T>(
        &self,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Status> {
        Ok(Context::system(self.tenant).scope(call).await?.into_inner())
    }

    pub(crate) async fn register(
        &self,
        email: &str,
        password: &str,
    ) -> Result<RegisterResponse, Status> {
        let request = RegisterRequest {
            name: "Ana Souza".to_owned(),
            email: email.to_owned(),
            password: password.to_owned(),
            address: "Rua das Flores, 1".to_owned(),
        };
        self.call(self.client("gateway").register(request)).await
    }

    pub(crate) async fn login(&self, email: &str, password: &str) -> Result<LoginResponse, Status> {
        let request = LoginRequest { email: email.to_owned(), password: password.to_owned() };
        self.call(self.client("gateway").login(request)).await
    }

    pub(crate) async fn refresh(&self, token: &str) -> Result<RefreshResponse, Status> {
        let request = RefreshRequest { refresh_token: token.to_owned() };
        self.call(self.client("gateway").refresh(request)).await
    }

    pub(crate) async fn logout(&self, token: &str) -> Result<(), Status> {
        let request = LogoutRequest { refresh_token: token.to_owned() };
        self.call(self.client("gateway").logout(request)).await.map(|_| ())
    }

    pub(crate) async fn jwks(&self) -> Vec<JsonWebKey> {
        self.call(self.client("gateway").get_jwks(GetJwksRequest {})).await.unwrap().keys
    }

    pub(crate) async fn rotate(&self) -> String {
        let request = RotateSigningKeyRequest {};
        self.call(self.client("engineer").rotate_signing_key(request)).await.unwrap().kid
    }

    pub(crate) async fn development_token(
        &self,
        user: UserId,
        role: Role,
    ) -> Result<String, Status> {
        let request = IssueDevelopmentTokenRequest {
            subject: user.to_string(),
            roles: vec![role.into()],
            time_to_live: None,
        };
        let issued = self.call(self.client("engineer").issue_development_token(request)).await?;
        Ok(issued.access_token)
    }

    /// One value from identity's own database.
    pub(crate) async fn query<T>(&self, sql: &'static str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        let mut tx = self.database.begin(self.tenant).await.unwrap();
        sqlx::query_scalar(sql).fetch_one(&mut *tx).await.unwrap()
    }

    pub(crate) async fn execute(&self, sql: &'static str, text: &str) {
        let mut tx = self.database.begin(self.tenant).await.unwrap();
        let done = sqlx::query(sql).bind(text).execute(&mut *tx).await.unwrap();
        assert_eq!(done.rows_affected(), 1);
        tx.commit().await.unwrap();
    }
}

/// The header or the payload of a token, unverified.
pub(crate) fn part(token: &str, index: usize) -> serde_json::Value {
    let part = token.split('.').nth(index).unwrap();
    let json = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, part);
    serde_json::from_slice(&json.unwrap()).unwrap()
}

#[track_caller]
pub(crate) fn assert_refused<T: std::fmt::Debug>(
    answer: Result<T, Status>,
    code: Code,
    reason: &str,
) {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), mesh::error::reason(&status).as_deref()), (code, Some(reason)));
}
