//! What a gateway would offer, without one.

use std::fmt;

use crate::config::Config;
use crate::policy::Access;
use crate::site::{Route, Site, Streaming};
use crate::source::{ContractError, Follower};
use crate::{StartError, check};

/// Routes and documents of settings and contracts, for people to look at.
pub struct Preview {
    site: Site,
    /// Whether any token can be good.
    trusts: bool,
}

impl Preview {
    /// Reads the contracts once, and compiles them with the policies.
    pub async fn of(config: &Config) -> Result<Self, ContractError> {
        let site = Follower::of(config)?.whole().await?;
        Ok(Self { site, trusts: !config.issuers.is_empty() })
    }

    /// The same, after all else was checked that a gateway alone needs to start: files and keys, but
    /// no address is asked.
    pub async fn checked(config: &Config) -> Result<Self, StartError> {
        check::check(config).await?;
        Ok(Self::of(config).await?)
    }

    /// The `OpenAPI` document.
    pub fn openapi(&self) -> String {
        String::from_utf8_lossy(self.site.openapi.body()).into_owned()
    }
}

/// A line for each route: HTTP method, path, gRPC method, upstream, who may call.
impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for route in self.site.routes.all() {
            let rpc = &route.rpc;
            let verb = route.verb.as_ref().map_or("*", http::Method::as_str);
            write!(f, "{verb:6} {} → {} at {}", route.template, rpc.grpc_path, rpc.upstream)?;
            match rpc.streaming {
                Streaming::None => {}
                Streaming::Server => write!(f, ", streams answers")?,
                Streaming::Client => write!(f, ", takes a stream")?,
                Streaming::Both => write!(f, ", streams both ways")?,
            }
            match (rpc.policy.access, rpc.policy.roles.as_slice()) {
                (Access::Public, _) => write!(f, ", public")?,
                (_, []) => write!(f, ", any token")?,
                (_, roles) => write!(f, ", roles {}", roles.join(" or "))?,
            }
            if !rpc.policy.scopes.is_empty() {
                write!(f, ", scopes {}", rpc.policy.scopes.join(" and "))?;
            }
            writeln!(f)?;
        }
        let is_closed = |route: &Route| route.rpc.policy.access != Access::Public;
        if !self.trusts && self.site.routes.all().iter().any(|route| is_closed(route)) {
            writeln!(
                f,
                "gateway.issuers names nobody: no token counts, public methods alone answer"
            )?;
        }
        Ok(())
    }
}
