//! What the edge offers at one moment, compiled from contracts and policies.
//!
//! A [`Site`] never changes. When contracts do, a new one takes its place in [`Sites`]; requests
//! that began with the old one end with it.

mod forms;
mod routes;
mod rpc;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::Method;
use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};
use transcoder::Schema;

use crate::config::ErrorForm;
use crate::openapi;
use crate::pages::{Kept, Page};
use crate::policy::{self, Access, Rule};
use crate::problem::Problem;

pub(crate) use forms::OfOptions;
pub use routes::RouteError;
pub(crate) use routes::{Body, Endpoint, Found, Route, Routes};
pub(crate) use rpc::{Rpc, Streaming};

#[cfg(test)]
mod tests;

/// The site of the moment, shared by all who answer requests.
pub(crate) type Sites = Arc<ArcSwap<Site>>;

/// Packages of gRPC itself: its reflection and health are for the mesh, not for the world.
const GRPC_PACKAGE: &str = "grpc.";

/// Contracts, and who offers the services in them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contract {
    pub(crate) pool: DescriptorPool,
    /// Upstream of each service, where that is known from the upstreams themselves.
    pub(crate) offers: BTreeMap<String, String>,
}

/// How contracts become a site.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Policies by pattern, over those of the contracts.
    pub(crate) rules: Vec<Rule>,
    /// Names of the upstreams; none means the mesh, where a package names its service.
    pub(crate) upstreams: Vec<String>,
    /// Pages of the edge itself.
    pub(crate) pages: Vec<Page>,
    /// How strictly JSON is read.
    pub(crate) json: transcoder::Settings,
    /// What errors look like.
    pub(crate) errors: ErrorForm,
    /// Names of the rate-limit classes.
    pub(crate) classes: BTreeSet<String>,
}

#[cfg(test)]
impl Default for Settings {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            upstreams: Vec::new(),
            pages: Vec::new(),
            json: transcoder::Settings::default(),
            errors: ErrorForm::default(),
            classes: limits::RateConfig::default().classes.into_keys().collect(),
        }
    }
}

/// Routes, methods, policies and documents of one set of contracts.
pub(crate) struct Site {
    pub(crate) routes: Routes,
    /// By gRPC path.
    rpcs: HashMap<Box<str>, Arc<Rpc>>,
    /// The contracts as a document.
    pub(crate) openapi: Kept,
    /// Policies that fit no method, by their place.
    pub(crate) idle: Vec<usize>,
}

/// Why contracts cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// A method's policy contradicts itself, or its upstream is not known.
    #[error("{method}: {fault}")]
    Method {
        /// Full name of the method.
        method: String,
        /// What is wrong with it.
        fault: String,
    },
    /// A route cannot be served.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The rules of a message cannot be applied.
    #[error("the rules of {message}: {fault}")]
    Rules {
        /// Full name of the message.
        message: String,
        /// What is wrong with them.
        fault: String,
    },
}

impl Site {
    /// Compiles every method of `contract` that is not gRPC's own or internal.
    pub(crate) fn build(contract: &Contract, settings: &Settings) -> Result<Self, SiteError> {
        let pool = &contract.pool;
        let mut rpcs = Vec::new();
        for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let offered = offer(contract, settings, &method).map_err(|fault| {
                SiteError::Method { method: method.full_name().to_owned(), fault }
            })?;
            rpcs.extend(offered.map(Arc::new));
        }
        let schema = Schema::new(pool, &OfOptions, settings.json);
        schema.check_rules().map_err(|(message, fault)| SiteError::Rules { message, fault })?;
        let routes = Routes::compile(&schema, &rpcs, &settings.pages)?;
        let openapi = openapi::document(pool, &routes, &schema, settings.errors).to_string();
        let openapi = Kept::new("application/json", openapi);
        let by_path = |rpc: Arc<Rpc>| (rpc.grpc_path.as_str().into(), rpc);
        let rpcs = rpcs.into_iter().map(by_path).collect();
        Ok(Self { routes, rpcs, openapi, idle: policy::idle(pool, &settings.rules) })
    }

    /// The site of `pool` under these rules, with all pages.
    #[cfg(test)]
    pub(crate) fn of(pool: &DescriptorPool, rules: &[Rule]) -> Result<Self, SiteError> {
        let contract = Contract { pool: pool.clone(), offers: BTreeMap::new() };
        let (rules, pages) = (rules.to_vec(), crate::pages::PAGES.to_vec());
        Self::build(&contract, &Settings { rules, pages, ..Settings::default() })
    }

    /// What answers a request over REST: 404 when no template fits the path, 405 when none of
    /// those that fit admits the HTTP method, 400 when the path is not UTF-8.
    pub(crate) fn find<'s, 'p>(
        &'s self,
        verb: &Method,
        path: &'p str,
    ) -> Result<Found<'s, 'p>, Problem> {
        self.routes.find(verb, path)
    }

    /// The HTTP methods that a path admits, as `Allow` lists them; 404 when there are none.
    pub(crate) fn allow(&self, path: &str) -> Result<String, Problem> {
        self.routes.allow(path)
    }

    /// The method at a gRPC path, for native gRPC and gRPC-Web.
    pub(crate) fn rpc(&self, grpc_path: &str) -> Option<&Arc<Rpc>> {
        self.rpcs.get(grpc_path)
    }

    /// Whether no method is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.rpcs.is_empty()
    }

    /// Names of the upstreams that have a method here.
    pub(crate) fn upstreams(&self) -> BTreeSet<&str> {
        self.rpcs.values().map(|rpc| &*rpc.upstream).collect()
    }
}

/// Whether a service is gRPC's own.
pub(crate) fn is_of_grpc(service: &ServiceDescriptor) -> bool {
    service.package_name().starts_with(GRPC_PACKAGE)
}

/// The method as the edge offers it; `None` when it does not.
fn offer(
    contract: &Contract,
    settings: &Settings,
    method: &MethodDescriptor,
) -> Result<Option<Rpc>, String> {
    if is_of_grpc(method.parent_service()) {
        return Ok(None);
    }
    let decision = policy::decide(method, &settings.rules)?;
    if decision.policy.access == Access::Internal {
        return Ok(None);
    }
    if !settings.classes.contains(&*decision.policy.rate_limit) {
        return Err(format!(
            "there is no class `{}` in gateway.rate_limits.classes",
            decision.policy.rate_limit
        ));
    }
    let upstream = match decision.upstream {
        Some(named) if settings.upstreams.contains(&named) => named,
        Some(named) => return Err(format!("there is no upstream `{named}`")),
        None => upstream(contract, settings, method)?,
    };
    Rpc::new(method.clone(), decision.policy, &upstream).map(Some)
}

/// Who offers the service of `method` when no rule says so.
fn upstream(
    contract: &Contract,
    settings: &Settings,
    method: &MethodDescriptor,
) -> Result<String, String> {
    let service = method.parent_service();
    if let Some(offered) = contract.offers.get(service.full_name()) {
        return Ok(offered.clone());
    }
    match settings.upstreams.as_slice() {
        [] => {
            mesh_name(service.package_name()).ok_or_else(|| "its package names no service".into())
        }
        [only] => Ok(only.clone()),
        _ => Err("no policy names its upstream, and there are several".to_owned()),
    }
}

/// `malha.payments.v1` → `payments`.
fn mesh_name(package: &str) -> Option<String> {
    package.split('.').nth(1).map(ToOwned::to_owned)
}
