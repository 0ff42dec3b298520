//! The routes of the edge, compiled once from the descriptors of the contracts.

mod shape;

use std::borrow::Cow;
use std::sync::Arc;

use http::{Method, StatusCode, Uri};
use prost_reflect::FieldDescriptor;
use transcoder::{HttpRule, Miss, Request, Response, Router, Schema, Template};

use super::{Rpc, Streaming};
use crate::meter::Meter;
use crate::pages::Page;
use crate::problem::Problem;

pub(crate) use shape::Body;

/// Shown in a log in place of what a contract calls sensitive.
const MASK: &str = "***";

/// One way to call a method over HTTP.
pub(crate) struct Route {
    /// The method that answers.
    pub(crate) rpc: Arc<Rpc>,
    /// HTTP method; `None` admits any.
    pub(crate) verb: Option<Method>,
    /// Path template, as written in the contract.
    pub(crate) template: String,
    /// Fields that the path sets, each a way down from the request message.
    pub(crate) variables: Vec<Vec<FieldDescriptor>>,
    /// What the HTTP body sets.
    pub(crate) body: Body,
    /// Field of the response that is the HTTP body; `None` means the whole response.
    pub(crate) response_body: Option<FieldDescriptor>,
    /// Makes the request message.
    pub(crate) request: Request,
    /// Makes the body of the answer.
    pub(crate) response: Response,
    pub(crate) meter: Meter,
}

/// What answers a request.
#[derive(Clone)]
pub(crate) enum Endpoint {
    /// A page of the edge itself.
    Page(Page),
    /// A method of an upstream.
    Route(Arc<Route>),
}

/// A request's endpoint, and the values of its path variables in the order of the template.
pub(crate) type Found<'r, 'p> = transcoder::Found<'r, 'p, Endpoint>;

/// Why the routes of a contract cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("the route of {method}: {fault}")]
pub struct RouteError {
    method: String,
    fault: String,
}

/// All routes, found by path.
pub(crate) struct Routes {
    router: Router<Endpoint>,
    all: Vec<Arc<Route>>,
}

impl Routes {
    /// Compiles the routes of `rpcs`, and `pages` of the edge itself.
    pub(crate) fn compile(
        schema: &Schema,
        rpcs: &[Arc<Rpc>],
        pages: &[Page],
    ) -> Result<Self, RouteError> {
        let mut routes = Self { router: Router::default(), all: Vec::new() };
        for &page in pages {
            let fault = |fault: &str| RouteError {
                method: page.path().to_owned(),
                fault: fault.to_owned(),
            };
            let template = Template::parse(page.path()).map_err(fault)?;
            routes.insert(&template, Some(Method::GET), Endpoint::Page(page)).map_err(fault)?;
        }
        for rpc in rpcs {
            let method = || rpc.descriptor.full_name().to_owned();
            routes.add(schema, rpc).map_err(|fault| RouteError { method: method(), fault })?;
        }
        Ok(routes)
    }

    fn add(&mut self, schema: &Schema, rpc: &Arc<Rpc>) -> Result<(), String> {
        let mut rules = HttpRule::of(&rpc.descriptor).map_err(|error| error.to_string())?;
        if rules.is_empty() {
            rules.push(by_name(rpc));
        }
        for rule in rules {
            let template = Template::parse(&rule.template)?;
            let route = Arc::new(Route::new(schema, Arc::clone(rpc), rule, &template)?);
            let endpoint = Endpoint::Route(Arc::clone(&route));
            self.insert(&template, route.verb.clone(), endpoint.clone())?;
            // A WebSocket begins as a GET, whatever the route says; what has that GET keeps it.
            if rpc.streaming == Streaming::Both && route.verb != Some(Method::GET) {
                let _ = self.insert(&template, Some(Method::GET), endpoint);
            }
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
        self.router.insert(template, verb, endpoint).map_err(|_| "another method has the same path")
    }

    /// All routes of methods, in the order of the contracts.
    pub(crate) fn all(&self) -> &[Arc<Route>] {
        &self.all
    }

    /// The endpoint of a request: 404 when no template fits the path, 405 when none of those
    /// that fit admits the HTTP method, 400 when the path is not UTF-8.
    pub(crate) fn find<'r, 'p>(
        &'r self,
        verb: &Method,
        path: &'p str,
    ) -> Result<Found<'r, 'p>, Problem> {
        self.router.find(verb, path).map_err(missed)
    }

    /// The methods that a path admits, as `Allow` lists them; 404 when there are none.
    pub(crate) fn allow(&self, path: &str) -> Result<String, Problem> {
        Ok(list(&self.router.allowed(path).map_err(missed)?))
    }
}

/// How a method without an annotation is called: by POST at its gRPC path.
fn by_name(rpc: &Rpc) -> HttpRule {
    HttpRule {
        verb: Some(Method::POST),
        template: rpc.grpc_path.as_str().to_owned(),
        body: "*".to_owned(),
        response_body: String::new(),
    }
}

fn missed(miss: Miss) -> Problem {
    match miss {
        Miss::Malformed => {
            let detail = "the path is not percent-encoded UTF-8";
            Problem::new(StatusCode::BAD_REQUEST, "MALFORMED_PATH", detail)
        }
        Miss::NotFound => {
            Problem::new(StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND", "nothing is at this path")
        }
        Miss::MethodNotAllowed(allowed) => {
            let detail = "the path does not admit this method";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", detail)
                .allow(&list(&allowed))
        }
    }
}

fn list(methods: &[Method]) -> String {
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}

impl Route {
    fn new(
        schema: &Schema,
        rpc: Arc<Rpc>,
        rule: HttpRule,
        template: &Template,
    ) -> Result<Self, String> {
        let method = &rpc.descriptor;
        let variables = template.variables().map(|path| shape::resolve(&method.input(), path));
        let planned = |error: transcoder::RuleError| error.to_string();
        Ok(Self {
            variables: variables.collect::<Result<_, _>>()?,
            body: Body::of(method, &rule.body)?,
            response_body: shape::named_field(&method.output(), &rule.response_body)?,
            request: Request::new(schema, method, &rule).map_err(planned)?,
            response: Response::new(schema, method, &rule.response_body).map_err(planned)?,
            meter: Meter::new(&rule.template),
            verb: rule.verb,
            template: rule.template,
            rpc,
        })
    }

    /// Path and query as a log may show them: nothing that the contract calls sensitive.
    pub(crate) fn shown<'u>(&self, uri: &'u Uri) -> Option<Cow<'u, str>> {
        let variables = 0..self.variables.len();
        if variables.into_iter().any(|index| self.request.is_sensitive_variable(index)) {
            return None;
        }
        let Some(query) = uri.query() else { return Some(Cow::Borrowed(uri.path())) };
        let pairs = query.split('&').map(|pair| {
            let (name, _) = pair.split_once('=').unwrap_or((pair, ""));
            // What is encoded cannot be told, so it is not shown.
            let hidden = name.contains('%') || self.request.is_sensitive_parameter(name);
            if hidden { format!("{name}={MASK}") } else { pair.to_owned() }
        });
        let query = pairs.collect::<Vec<_>>().join("&");
        Some(Cow::Owned(format!("{}?{query}", uri.path())))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::ErrorForm;
    use crate::site::{Contract, Settings, Site};

    fn routes() -> Routes {
        Site::of(contracts::pool(), &[]).unwrap().routes
    }

    fn grpc_name(found: Found<'_, '_>) -> String {
        match found.value {
            Endpoint::Route(route) => route.rpc.descriptor.name().to_owned(),
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
            let route = routes.all().iter().find(|route| route.rpc.descriptor == method);
            assert_eq!(
                route.is_some(),
                method.options().has_extension(&http),
                "{}",
                method.full_name()
            );
            if let Some(route) = route {
                let package = format!("malha.{}.v1", route.rpc.upstream);
                assert_eq!(method.parent_service().package_name(), package);
            }
        }
    }

    #[test]
    fn a_wrong_method_is_405_with_those_allowed_and_a_wrong_path_404() {
        let routes = routes();

        let problem = routes.find(&Method::DELETE, "/users/7").err().unwrap();
        assert_eq!(problem.status, StatusCode::METHOD_NOT_ALLOWED);
        let response = problem.into_answer(ErrorForm::Problem, "/users/7", "c");
        assert_eq!(response.headers()["allow"], "GET, HEAD, OPTIONS, PATCH");

        let problem = routes.find(&Method::GET, "/user/7").err().unwrap();
        assert_eq!((problem.status, &*problem.reason), (StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND"));

        let problem = routes.find(&Method::GET, "/users/%ff").err().unwrap();
        assert_eq!((problem.status, &*problem.reason), (StatusCode::BAD_REQUEST, "MALFORMED_PATH"));
    }

    #[test]
    fn a_log_shows_nothing_that_the_contract_calls_sensitive() {
        const PROTO: &str = r#"
            syntax = "proto3";
            package vault.v1;
            import "google/api/annotations.proto";
            import "malha/options/v1/options.proto";
            service VaultService {
              rpc Open(OpenRequest) returns (OpenResponse) {
                option (google.api.http) = {get: "/boxes/{number}"};
              }
              rpc Try(OpenRequest) returns (OpenResponse) {
                option (google.api.http) = {get: "/codes/{code}"};
              }
            }
            message OpenRequest {
              string number = 1;
              string code = 2 [(malha.options.v1.field).sensitive = true];
            }
            message OpenResponse {}
        "#;
        let set = testkit::greeter::compile("vault.proto", PROTO);
        let pool = prost_reflect::DescriptorPool::decode(set.as_slice()).unwrap();
        let contract = Contract { pool, offers: BTreeMap::new() };
        let settings = Settings { upstreams: vec!["vault".to_owned()], ..Settings::default() };
        let site = Site::build(&contract, &settings).unwrap();
        let shown = |uri: &'static str| {
            let uri = Uri::from_static(uri);
            let Some(Endpoint::Route(route)) =
                site.find(&Method::GET, uri.path()).ok().map(|it| it.value.clone())
            else {
                panic!("{uri} is a page")
            };
            route.shown(&uri).map(Cow::into_owned)
        };
        assert_eq!(shown("/boxes/7").as_deref(), Some("/boxes/7"));
        let query = shown("/boxes/7?code=1234&c%6Fde=1234&page=2");
        assert_eq!(query.as_deref(), Some("/boxes/7?code=***&c%6Fde=***&page=2"));
        assert_eq!(shown("/codes/1234"), None);
    }
}
