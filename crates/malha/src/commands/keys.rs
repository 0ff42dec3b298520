//! `malha keys`, and the way to identity that commands take.

use anyhow::{Context as _, Result, anyhow};
use auth::TenantId;
use clap::Subcommand;
use contracts::identity::v1::RotateSigningKeyRequest;
use contracts::identity::v1::identity_service_client::IdentityServiceClient;
use mesh::{Channel, Context, Mesh};
use tonic::{Code, Response, Status};

use crate::settings::Settings;

/// Member of the mesh as which commands call.
const ENGINEER: &str = "engineer";

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
    let mesh = Mesh::join(ENGINEER, &settings.mesh).context(
        "cannot join the mesh as `engineer`; `malha certs issue engineer` makes its certificate",
    )?;
    let identity = IdentityServiceClient::new(mesh.channel("identity"));
    let answer = Context::system(TenantId::DEFAULT).scope(call(identity)).await;
    Ok(answer.map_err(|status| refusal(settings, &status))?.into_inner())
}

fn refusal(settings: &Settings, status: &Status) -> anyhow::Error {
    let reason = mesh::error::reason(status).unwrap_or_default();
    if status.code() == Code::Unavailable {
        let endpoints = settings.mesh.endpoints.get("identity").cloned().unwrap_or_default();
        return anyhow!(
            "identity does not answer at {}: start it with `malha dev`, or set mesh.endpoints.identity ({reason})",
            endpoints.join(", ")
        );
    }
    anyhow!("identity refused: {} ({reason})", status.message())
}
