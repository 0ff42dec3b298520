//! `malha keys`, and the way to identity that commands take.

use anyhow::Result;
use auth::TenantId;
use clap::Subcommand;
use contracts::identity::v1::RotateSigningKeyRequest;
use contracts::identity::v1::identity_service_client::IdentityServiceClient;
use mesh::{Channel, Context};
use tonic::{Response, Status};

use crate::commands::engineer;
use crate::settings::Settings;

/// Manage the keys that sign access tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Sign with a new key from now on. Tokens signed with the old one stay valid until they expire.
    Rotate,
}

impl Keys {
    pub(crate) async fn run(self, settings: &Settings) -> Result<()> {
        let Self::Rotate = self;
        let response = ask_identity(settings, async |mut identity| {
            identity.rotate_signing_key(RotateSigningKeyRequest {}).await
        })
        .await?;
        println!("{}", response.kid);
        Ok(())
    }
}

/// Calls the running identity as an engineer.
pub(crate) async fn ask_identity<T>(
    settings: &Settings,
    call: impl AsyncFnOnce(IdentityServiceClient<Channel>) -> Result<Response<T>, Status>,
) -> Result<T> {
    let mesh = engineer::join(settings)?;
    let identity = IdentityServiceClient::new(mesh.channel("identity"));
    let answer = Context::system(TenantId::DEFAULT).scope(call(identity)).await;
    Ok(answer.map_err(|status| engineer::refusal(settings, "identity", &status))?.into_inner())
}
