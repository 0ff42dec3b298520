//! How a member is reached by a caller that makes its own connections.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::{InvalidDnsNameError, ServerName};

use crate::tls::Identity;

/// How a member is reached by a caller that makes its own connections.
#[derive(Clone)]
pub struct Dial {
    member: ServerName<'static>,
    names: Vec<String>,
    identity: Arc<Identity>,
}

impl Dial {
    pub(crate) fn new(
        member: &str,
        names: Vec<String>,
        identity: Arc<Identity>,
    ) -> Result<Self, InvalidDnsNameError> {
        Ok(Self { member: ServerName::try_from(member.to_owned())?, names, identity })
    }

    /// Where it is: `host:port` each, as configured.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// TLS of the next connection: the certificates of today. Ask again for each connection.
    pub fn tls(&self) -> Arc<ClientConfig> {
        self.identity.client()
    }

    /// The server name to give to TLS, which takes it for the member expected.
    pub fn server_name(&self) -> ServerName<'static> {
        self.member.clone()
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Dial").field("member", &self.member).finish_non_exhaustive()
    }
}
