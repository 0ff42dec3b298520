//! The mesh under measure: `malha dev` in a folder of its own, as a user would start it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Certificate, Client, StatusCode};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::measure;

/// Where the edge of the mesh under measure listens.
pub(crate) const EDGE: &str = "https://localhost:18443";

/// Settings that differ from `malha dev`: ports of its own, no rate limits, fewer log lines.
const SETTINGS: &str = r#"
[gateway]
https = "127.0.0.1:18443"
http = "127.0.0.1:18080"
rate_limits.classes = { default = [{ requests = 60000000, per = "1m" }], auth = [{ requests = 60000000, per = "1m" }] }

[telemetry]
log = "warn"
listen = "127.0.0.1:18081"

[mesh.listen]
identity = "127.0.0.1:17101"
customers = "127.0.0.1:17102"
accounts = "127.0.0.1:17103"
ledger = "127.0.0.1:17104"
payments = "127.0.0.1:17105"
events = "127.0.0.1:17106"
notifications = "127.0.0.1:17107"
workflows = "127.0.0.1:17108"
webhooks = "127.0.0.1:17109"
"#;

/// A running mesh; ends with this value.
pub(crate) struct Mesh {
    process: Child,
    client: Client,
    /// From start to the first good answer.
    pub(crate) started_in: Duration,
}

/// A person with an account.
pub(crate) struct Person {
    /// Its user id.
    pub(crate) id: String,
    /// Its access token.
    pub(crate) token: String,
}

impl Mesh {
    /// Starts the mesh, and waits until its edge answers.
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        let settings = folder.join("malha.toml");
        std::fs::write(&settings, SETTINGS)?;
        let home = folder.join("home");
        let started = Instant::now();
        let process = Command::new(binary()?)
            .args([
                "--config".as_ref(),
                settings.as_os_str(),
                "dev".as_ref(),
                "--home".as_ref(),
                home.as_os_str(),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start `malha`; `cargo xtask bench` builds it first")?;
        let client = client(&home.join("certs/ca.pem")).await?;
        let mut mesh = Self { process, client, started_in: Duration::ZERO };
        mesh.wait_until_ready().await?;
        mesh.started_in = started.elapsed();
        Ok(mesh)
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        for _ in 0..600 {
            if let Some(status) = self.process.try_wait()? {
                bail!("malha ended: {status}");
            }
            let answer = self.client.get(format!("{EDGE}/health")).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("malha was not ready within 30 s");
    }

    /// Registers a person with 1,000,000.00.
    pub(crate) async fn person(&self, number: usize) -> Result<Person> {
        let email = format!("person{number}@example.com");
        let password = "correct horse battery";
        let registered = self
            .post(
                "/auth/register",
                None,
                &json!({"name": "Person", "email": email, "password": password}),
            )
            .await?;
        let tokens =
            self.post("/auth/login", None, &json!({"email": email, "password": password})).await?;
        let (id, token) = (text(&registered, "id")?, text(&tokens, "accessToken")?);
        let deposit = json!({"type": "DEPOSIT", "amount": "1000000.00"});
        self.post("/transactions", Some(&token), &deposit).await?;
        Ok(Person { id, token })
    }

    async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Result<Value> {
        let mut request = self.client.post(format!("{EDGE}{path}")).json(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        ensure!(matches!(status, StatusCode::OK | StatusCode::CREATED), "{path}: {status}: {body}");
        Ok(serde_json::from_str(&body)?)
    }

    /// Memory that the process holds, in MB.
    pub(crate) fn resident_mb(&self) -> Result<f64> {
        let process = self.process.id().context("malha has ended")?;
        measure::resident_mb(process)
    }
}

fn text(value: &Value, field: &str) -> Result<String> {
    let text = value[field].as_str().with_context(|| format!("no `{field}` in {value}"))?;
    Ok(text.to_owned())
}

/// `malha`, built beside this program.
pub(crate) fn binary() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("malha"))
}

/// Trusts the mesh's own authority, once it exists.
async fn client(authority: &Path) -> Result<Client> {
    for _ in 0..600 {
        if let Ok(pem) = std::fs::read(authority)
            && let Ok(certificate) = Certificate::from_pem(&pem)
        {
            let builder = Client::builder().tls_certs_only([certificate]);
            return Ok(builder.timeout(Duration::from_secs(10)).build()?);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("malha made no {}", authority.display());
}
