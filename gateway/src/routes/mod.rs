//! The routes of the edge, compiled once from the descriptors of the contracts.

mod rule;
mod template;

use std::sync::Arc;

use contracts::policy::{self, MethodPolicy};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use prost_reflect::{DescriptorPool, FieldDescriptor, MethodDescriptor, ServiceDescriptor};

use crate::pages::Page;
use crate::problem::Problem;
use rule::Rule;
use template::{Capture, Path, Template, Tree};

pub(crate) use rule::Body;

/// One way to call a method over HTTP.
#[derive(Debug)]
pub(crate) struct Route {
    /// The method that answers.
    pub(crate) method: MethodDescriptor,
    /// What its contract asks of callers.
    pub(crate) policy: MethodPolicy,
    /// Mesh name of the service that has the method.
    pub(crate) upstream: String,
    /// gRPC path of the method.
    pub(crate) grpc_path: PathAndQuery,
    /// HTTP method; `None` admits any.
    pub(crate) verb: Option<Method>,
    /// Path template, as written in the contract.
    pub(crate) template: String,
    /// Fields that the path sets, each a way down from the request message.
    pub(crate) variables: Vec<Vec<FieldDescriptor>>,
    captures: Vec<Capture>,
    /// What the HTTP body sets.
    pub(crate) body: Body,
    /// Field of the response that is the HTTP body; `None` means the whole response.
    pub(crate) response_body: Option<FieldDescriptor>,
}

/// What answers a request.
#[derive(Clone, Debug)]
pub(crate) enum Endpoint {
    /// A page of the edge itself.
    Page(Page),
    /// A method of the mesh.
    Route(Arc<Route>),
}

impl Endpoint {
    /// The path as it is named in metrics and logs: never with a client's values.
    pub(crate) fn template(&self) -> &str {
        match self {
            Self::Page(page) => page.path(),
            Self::Route(route) => &route.template,
        }
    }
}

/// A request's endpoint, and the values of its path variables in the order of the template.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) endpoint: Endpoint,
    pub(crate) values: Vec<String>,
}

/// Why the routes of a contract cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("the route of {method}: {fault}")]
pub struct RouteError {
    method: String,
    fault: String,
}

/// What stands at one template: an endpoint for each HTTP method; `None` is any method.
type Methods = Vec<(Option<Method>, Endpoint)>;

/// All routes, found by path.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    tree: Tree<Methods>,
    all: Vec<Arc<Route>>,
}

impl Routes {
    /// Compiles every annotated method of `pool`, and `pages` of the edge itself.
    pub(crate) fn compile(pool: &DescriptorPool, pages: &[Page]) -> Result<Self, RouteError> {
        let mut routes = Self::default();
        for &page in pages {
            let fault = |fault: &str| RouteError {
                method: page.path().to_owned(),
                fault: fault.to_owned(),
            };
            let template = Template::parse(page.path()).map_err(fault)?;
            routes.insert(&template, Some(Method::GET), Endpoint::Page(page)).map_err(fault)?;
        }
        for service in pool.services() {
            for method in service.methods() {
                routes
                    .add_method(&method)
                    .map_err(|fault| RouteError { method: method.full_name().to_owned(), fault })?;
            }
        }
        Ok(routes)
    }

    fn add_method(&mut self, method: &MethodDescriptor) -> Result<(), String> {
        for rule in Rule::of(method)? {
            let template = Template::parse(&rule.path)?;
            let route = Arc::new(Route::new(method, rule, &template)?);
            let endpoint = Endpoint::Route(Arc::clone(&route));
            self.insert(&template, route.verb.clone(), endpoint)?;
            self.all.push(route);
        }
        Ok(())
    }

    fn insert(
        &mut self,
        template: &Template,
        verb: Option<Method>,
        endpoint: Endpoint,
    ) -> Result<(), &'static str> {
        let methods = self.tree.place(template);
        if methods.iter().any(|(other, _)| *other == verb) {
            return Err("another method has the same path");
        }
        methods.push((verb, endpoint));
        Ok(())
    }

    /// All routes of methods, in the order of the contracts.
    pub(crate) fn all(&self) -> &[Arc<Route>] {
        &self.all
    }

    /// The endpoint of a request: 404 when no template fits the path, 405 when none of those
    /// that fit admits the HTTP method, 400 when the path is not UTF-8.
    pub(crate) fn find(&self, verb: &Method, path: &str) -> Result<Found, Problem> {
        let wanted = if verb == Method::HEAD { &Method::GET } else { verb };
        let readings = readings(path)?;
        for path in &readings {
            for methods in self.tree.find(path) {
                let fits = |(verb, _): &&(Option<Method>, _)| match verb {
                    Some(verb) => verb == wanted,
                    None => true,
                };
                if let Some((_, endpoint)) = methods.iter().find(fits) {
                    return Ok(Found {
                        endpoint: endpoint.clone(),
                        values: values(endpoint, path),
                    });
                }
            }
        }
        let allow = self.allowed(&readings)?;
        let detail = "the path does not admit this method";
        Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", detail)
            .allow(&allow))
    }

    /// The methods that a path admits, as `Allow` lists them; 404 when there are none.
    pub(crate) fn allow(&self, path: &str) -> Result<String, Problem> {
        self.allowed(&readings(path)?)
    }

    fn allowed(&self, readings: &[Path<'_>]) -> Result<String, Problem> {
        let mut allowed: Vec<&str> = Vec::new();
        for (verb, _) in readings.iter().flat_map(|path| self.tree.find(path)).flatten() {
            match verb {
                Some(Method::GET) => allowed.extend(["GET", "HEAD"]),
                Some(verb) => allowed.push(verb.as_str()),
                None => allowed.extend(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]),
            }
        }
        if allowed.is_empty() {
            return Err(Problem::new(
                StatusCode::NOT_FOUND,
                "ROUTE_NOT_FOUND",
                "nothing is at this path",
            ));
        }
        allowed.push("OPTIONS");
        allowed.sort_unstable();
        allowed.dedup();
        Ok(allowed.join(", "))
    }
}

/// Mesh name of a gRPC service: the second part of its package.
pub(crate) fn upstream_of(service: &ServiceDescriptor) -> Option<String> {
    service.package_name().split('.').nth(1).map(ToOwned::to_owned)
}

fn readings(path: &str) -> Result<Vec<Path<'_>>, Problem> {
    Path::readings(path).map_err(|_| {
        let detail = "the path is not percent-encoded UTF-8";
        Problem::new(StatusCode::BAD_REQUEST, "MALFORMED_PATH", detail)
    })
}

fn values(endpoint: &Endpoint, path: &Path<'_>) -> Vec<String> {
    match endpoint {
        Endpoint::Page(_) => Vec::new(),
        Endpoint::Route(route) => route.captures.iter().map(|c| c.value(path)).collect(),
    }
}

impl Route {
    fn new(method: &MethodDescriptor, rule: Rule, template: &Template) -> Result<Self, String> {
        if method.is_client_streaming() || method.is_server_streaming() {
            return Err("a streaming method cannot have one yet".to_owned());
        }
        let policy = policy::of_method(method).ok_or("the method states no policy")?;
        if !policy.admits_route() {
            return Err("the method is not for users".to_owned());
        }
        let upstream =
            upstream_of(method.parent_service()).ok_or("its package names no service")?;
        let grpc_path = policy::grpc_path(method).parse::<PathAndQuery>();
        let variables = template
            .captures
            .iter()
            .map(|capture| rule::resolve(&method.input(), &capture.field))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            policy,
            upstream,
            grpc_path: grpc_path.map_err(|error| error.to_string())?,
            verb: rule.verb,
            template: rule.path,
            variables,
            captures: template.captures.clone(),
            body: Body::of(method, &rule.body)?,
            response_body: rule::named_field(&method.output(), &rule.response_body)?,
            method: method.clone(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pages::PAGES;

    fn routes() -> Routes {
        Routes::compile(contracts::pool(), &PAGES).unwrap()
    }

    fn grpc_name(found: Found) -> String {
        match found.endpoint {
            Endpoint::Route(route) => route.method.name().to_owned(),
            Endpoint::Page(page) => page.path().to_owned(),
        }
    }

    /// L-09, L-12 to L-16: the paths promised.
    #[test]
    fn the_paths_of_the_contracts_lead_to_their_methods() {
        let routes = routes();
        let table = [
            (Method::POST, "/auth/register", "Register"),
            (Method::POST, "/auth/login", "Login"),
            (Method::POST, "/auth/refresh", "Refresh"),
            (Method::GET, "/users/7", "GetCustomer"),
            (Method::HEAD, "/users/7", "GetCustomer"),
            (Method::PATCH, "/users/7", "UpdateCustomer"),
            (Method::GET, "/users/me/balance", "GetBalance"),
            (Method::POST, "/transactions", "CreateTransaction"),
            (Method::GET, "/transactions/7", "GetTransaction"),
            (Method::POST, "/v1/ledger/accounts", "CreateAccounts"),
            (Method::POST, "/v1/ledger/accounts:update", "UpdateAccounts"),
            (Method::GET, "/v1/ledger/accounts/7/history", "ListAccountHistory"),
            (Method::POST, "/v1/ledger/transfers/7/void", "VoidHold"),
            (Method::GET, "/v1/ledger/head", "GetHead"),
            (Method::GET, "/.well-known/jwks.json", "GetJwks"),
            (Method::GET, "/health", "/health"),
        ];
        for (verb, path, method) in table {
            assert_eq!(grpc_name(routes.find(&verb, path).unwrap()), method, "{verb} {path}");
        }
    }

    #[test]
    fn every_annotated_method_has_a_route_and_names_its_upstream() {
        let routes = routes();
        let http = contracts::pool().get_extension_by_name("google.api.http").unwrap();
        for method in contracts::pool().services().flat_map(|s| s.methods().collect::<Vec<_>>()) {
            let route = routes.all().iter().find(|route| route.method == method);
            assert_eq!(
                route.is_some(),
                method.options().has_extension(&http),
                "{}",
                method.full_name()
            );
            if let Some(route) = route {
                let package = format!("malha.{}.v1", route.upstream);
                assert_eq!(method.parent_service().package_name(), package);
            }
        }
    }

    #[test]
    fn a_wrong_method_is_405_with_those_allowed_and_a_wrong_path_404() {
        let routes = routes();

        let problem = routes.find(&Method::DELETE, "/users/7").unwrap_err();
        assert_eq!(problem.status, StatusCode::METHOD_NOT_ALLOWED);
        let response = problem.into_response("/users/7", "c");
        assert_eq!(response.headers()["allow"], "GET, HEAD, OPTIONS, PATCH");

        let problem = routes.find(&Method::GET, "/user/7").unwrap_err();
        assert_eq!((problem.status, &*problem.reason), (StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND"));

        let problem = routes.find(&Method::GET, "/users/%ff").unwrap_err();
        assert_eq!((problem.status, &*problem.reason), (StatusCode::BAD_REQUEST, "MALFORMED_PATH"));
    }
}
