//! How commands call the running mesh: as the member `engineer`.

use anyhow::{Context, Result, anyhow};
use mesh::Mesh;
use tonic::{Code, Status};

use crate::settings::Settings;

/// Joins the mesh.
pub(crate) fn join(settings: &Settings) -> Result<Mesh> {
    Mesh::join("engineer", &settings.mesh).context(
        "cannot join the mesh as `engineer`; `malha certs issue engineer` makes its certificate",
    )
}

/// What to say when `service` refused, or does not answer.
pub(crate) fn refusal(settings: &Settings, service: &str, status: &Status) -> anyhow::Error {
    let reason = mesh::error::reason(status).unwrap_or_default();
    if status.code() == Code::Unavailable {
        let endpoints = settings.mesh.endpoints.get(service).cloned().unwrap_or_default();
        return anyhow!(
            "{service} does not answer at {}: start it with `malha dev`, or set mesh.endpoints.{service} ({reason})",
            endpoints.join(", ")
        );
    }
    anyhow!("{service} refused: {} ({reason})", status.message())
}
