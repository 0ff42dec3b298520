//! Where a mesh lives.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use mesh::Mesh;
use reqwest::Certificate;
use tempfile::TempDir;

use super::{Edge, SERVICES, free_ports, malha};

/// What a mesh keeps, below its folder: the default of `malha dev`.
const HOME: &str = ".malha";

/// The folder of one mesh, with its settings, certificates and data, and ports of its own.
pub(crate) struct Site {
    folder: TempDir,
    services: BTreeMap<&'static str, String>,
    https: String,
    http: String,
    admin: String,
}

impl Site {
    /// Finds ports, and writes them with these `settings` (TOML) into `malha.toml`.
    pub(crate) fn new(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The user that runs PostgreSQL has to get in, else its data go elsewhere and stay there.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let address = |port: u16| format!("127.0.0.1:{port}");
        let services = SERVICES.into_iter().zip(free_ports::<{ SERVICES.len() }>().map(address));
        let [https, http, admin] = free_ports().map(address);
        let site = Self { folder, services: services.collect(), https, http, admin };
        fs::write(site.folder.path().join("malha.toml"), site.addresses() + settings).unwrap();
        site
    }

    fn addresses(&self) -> String {
        let Self { services, https, http, admin, .. } = self;
        let list = services.iter().map(|(name, address)| {
            format!("mesh.listen.{name} = '{address}'\nmesh.endpoints.{name} = ['{address}']\n")
        });
        let list: String = list.collect();
        format!(
            "{list}
            gateway.https = '{https}'
            gateway.http = '{http}'
            telemetry.listen = '{admin}'
            "
        )
    }

    /// A file that the mesh keeps.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(HOME).join(name)
    }

    /// Where a service listens.
    pub(crate) fn address(&self, service: &str) -> &str {
        &self.services[service]
    }

    /// The program with the settings of this site.
    pub(crate) fn malha(&self, arguments: &[&str]) -> Command {
        let mut command = malha(self.folder.path());
        command.args(["--config", "malha.toml"]).args(arguments);
        command
    }

    /// What a command prints, which must succeed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.malha(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8(output.stderr).unwrap());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The edge without TLS.
    pub(crate) fn edge(&self) -> Edge {
        Edge::http(&self.http)
    }

    /// The edge over TLS, for a client that trusts these authorities alone.
    pub(crate) fn secure_edge(&self, authorities: &[Certificate]) -> Edge {
        Edge::https(&self.https, authorities)
    }

    /// What the platform asks.
    pub(crate) fn admin(&self) -> Edge {
        Edge::http(&self.admin)
    }

    /// The authority of all its certificates.
    pub(crate) fn authority(&self) -> Certificate {
        Certificate::from_pem(&fs::read(self.path("certs/ca.pem")).unwrap()).unwrap()
    }

    /// The mesh, as a member sees it.
    pub(crate) fn join(&self, member: &str) -> Mesh {
        let owned = |(name, address): (&&str, &String)| ((*name).to_owned(), vec![address.clone()]);
        let endpoints = self.services.iter().map(owned).collect();
        let certs = self.path("certs");
        Mesh::join(member, &mesh::Config { certs, endpoints, ..Default::default() }).unwrap()
    }
}
