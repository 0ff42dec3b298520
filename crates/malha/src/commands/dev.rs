//! `malha dev`

use std::fmt::Write;
use std::io::{IsTerminal, stdout};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{env, fs};

use anyhow::{Context, Result};
use clap::Args;
use storage::PrivateCluster;

use crate::modules;
use crate::process::Process;
use crate::settings::Settings;

/// Folder of everything that a development mesh keeps.
pub(crate) const HOME: &str = ".malha";

/// Certificates beyond those of the modules: the public edge, and a person with a gRPC client.
const EXTRA_CERTIFICATES: [&str; 2] = ["edge", "engineer"];

/// Certificates are renewed when they end this soon.
const RENEW_BEFORE: Duration = Duration::from_hours(30 * 24);

/// Run everything on this machine, for development: certificates, database, services, gateway.
#[derive(Args, Debug)]
pub(crate) struct Dev {
    /// Folder of certificates, secrets and data.
    #[arg(long, default_value = HOME)]
    home: PathBuf,
}

impl Dev {
    pub(crate) async fn run(self, file: Option<&Path>) -> Result<()> {
        let mut settings = Settings::load(&overrides(&self.home), file)?;
        // The services are in this process, wherever it listens.
        for (name, address) in &settings.mesh.listen {
            settings.mesh.endpoints.insert(name.clone(), vec![address.to_string()]);
        }
        let _telemetry = telemetry::init(&settings.telemetry, "malha")?;
        // Open to others, unlike what is in it: PostgreSQL's user walks through it to its data.
        fs::create_dir_all(&self.home)
            .with_context(|| format!("cannot make {}", self.home.display()))?;
        let mut process = Process::new(settings, modules::MODULES.iter().collect())?;
        make_certificates(&process.settings.mesh.certs)?;
        make_secret(&process.settings.identity.key_encryption_key)?;
        make_secret(&process.settings.webhooks.key_encryption_key)?;

        // Stopped after the services, which are done when `run` returns.
        let cluster = PrivateCluster::start(self.home.join("postgres")).await?;
        let stored = modules::stored(&process.settings);
        cluster.provision(&stored).await.context("cannot prepare the database")?;
        let (private, storage) = (cluster.config(), &mut process.settings.storage);
        storage.host = private.host;
        storage.port = private.port;
        storage.database = private.database;
        process.run(greet).await
    }
}

/// Settings of a development mesh that differ from the defaults, as TOML.
pub(crate) fn overrides(home: &Path) -> String {
    let path = |name: &str| toml::Value::from(home.join(name).display().to_string());
    format!(
        "
        mesh.certs = {certs}
        ledger.journal = {ledger}
        ledger.create = true
        identity.development_tokens = true
        identity.key_encryption_key = {secret}
        payments.customer_cash = true
        webhooks.development_targets = true
        webhooks.key_encryption_key = {webhooks}
        notifications.email = {{ from = 'Malha <no-reply@localhost>', folder = {mail} }}
        gateway.http = '127.0.0.1:8080'
        gateway.tls = {{ certificate = {certificate}, key = {key} }}
        ",
        certs = path("certs"),
        ledger = path("ledger"),
        secret = path("secrets/identity.key"),
        webhooks = path("secrets/webhooks.key"),
        mail = path("mail"),
        certificate = path("certs/edge.pem"),
        key = path("certs/edge.key"),
    )
}

/// Makes the certificates that are missing, and renews those that end soon.
fn make_certificates(folder: &Path) -> Result<()> {
    mesh::certs::init(folder)?;
    let valid = mesh::certs::show(folder)?;
    let lasts = |name: &str| {
        let file = format!("{name}.pem");
        let certificate = valid.iter().find(|certificate| certificate.file == file);
        certificate.is_some_and(|it| it.not_after > SystemTime::now() + RENEW_BEFORE)
    };
    let names = modules::MODULES.iter().map(|module| module.name).chain(EXTRA_CERTIFICATES);
    for name in names.filter(|name| !lasts(name)) {
        mesh::certs::issue(folder, name)?;
    }
    Ok(())
}

/// Makes a key that protects secrets in the database, in a folder for its owner's eyes only.
fn make_secret(key: &Path) -> Result<()> {
    let written = key
        .parent()
        .map_or(Ok(()), |folder| fs::DirBuilder::new().recursive(true).mode(0o700).create(folder));
    written
        .and_then(|()| sealing::create_master_key(key))
        .with_context(|| format!("cannot write {}", key.display()))
}

/// Tells a person at a terminal where to go next.
fn greet(settings: &Settings) {
    if !stdout().is_terminal() {
        return;
    }
    print!("{}", welcome(settings));
}

fn welcome(settings: &Settings) -> String {
    let certs = settings.mesh.certs.display();
    let mut text = "\nMalha is ready.\n\n".to_owned();
    if let Some(http) = settings.gateway.http {
        let _ = writeln!(text, "  REST   http://{http}");
        let _ = writeln!(text, "  Docs   http://{http}/docs");
    }
    if let Some(https) = settings.gateway.https {
        let _ = writeln!(text, "  HTTPS  https://{https}  (authority: {certs}/ca.pem)");
    }
    for (name, address) in &settings.mesh.listen {
        let _ = writeln!(text, "  gRPC   {address}  {name}");
    }
    let _ = writeln!(text, "         with the certificate {certs}/engineer.pem\n");
    if let Some(http) = settings.gateway.http {
        let _ = writeln!(
            text,
            r#"Register the first person:

  curl -s http://{http}/auth/register -H 'content-type: application/json' \
    -d '{{"name":"Ada Lovelace","email":"ada@example.com","password":"correct horse battery"}}'
"#
        );
    }
    if let Some(folder) = settings.notifications.email.as_ref().and_then(|it| it.folder.as_ref()) {
        let _ = writeln!(text, "E-mail is written into {}.\n", folder.display());
    }
    let program = env::args().next().unwrap_or_else(|| "malha".to_owned());
    let _ = writeln!(text, "A token of an administrator:\n");
    let _ = writeln!(text, "  MALHA_MESH__CERTS={certs} {program} token --role admin\n");
    let _ = writeln!(text, "Events that were given up:\n");
    let host = &settings.storage.host;
    let _ = writeln!(text, "  MALHA_STORAGE__HOST={host} {program} events dead list\n");
    text.push_str("Ctrl-C stops it.\n\n");
    text
}
