//! What a member serves.

use std::convert::Infallible;
use std::future::pending;

use auth::TokenVerifier;
use futures::future::BoxFuture;
use http::Request;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service as TowerService;

use crate::server::routes::Routes;

/// A service ready to be served: its gRPC services, its dependencies and its background work.
pub struct Service {
    pub(crate) name: String,
    pub(crate) routes: Routes,
    /// gRPC names of what is mounted.
    pub(crate) mounted: Vec<&'static str>,
    pub(crate) checks: Vec<Check>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) verifier: Option<TokenVerifier>,
    pub(crate) is_per_core: bool,
    /// Resolves, to why, when the service cannot go on.
    pub(crate) fatal: BoxFuture<'static, String>,
}

/// A dependency and how to ask for its health.
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
}

/// Work beside the calls.
pub(crate) struct Task {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>,
}

impl Service {
    /// A service that offers nothing but health and reflection yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            routes: Routes::default(),
            mounted: Vec::new(),
            checks: Vec::new(),
            tasks: Vec::new(),
            verifier: None,
            is_per_core: false,
            fatal: Box::pin(pending()),
        }
    }

    /// Adds a generated gRPC server.
    pub fn mount<S>(mut self, server: S) -> Self
    where
        S: TowerService<Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.routes.add(server);
        self.mounted.push(S::NAME);
        self
    }

    /// Names a dependency. `check` is asked at start and every few seconds; while it fails, the
    /// service answers calls but says that it is not serving. Its error text is logged.
    pub fn check<C, F>(mut self, name: &'static str, check: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.checks.push(Check { name, run: Box::new(move || Box::pin(check())) });
        self
    }

    /// Adds work that runs as long as the service does. When it ends or panics, it is started
    /// again after a while; when the service stops, it is dropped at its next `await`.
    pub fn task<T, F>(mut self, name: &'static str, task: T) -> Self
    where
        T: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.push(Task { name, run: Box::new(move || Box::pin(task())) });
        self
    }

    /// Verifies users' tokens with `verifier`, in place of the keys that identity publishes.
    pub fn verifier(mut self, verifier: TokenVerifier) -> Self {
        self.verifier = Some(verifier);
        self
    }

    /// Serves each connection on the runtime of one core, in place of the runtime of the process: no
    /// call is handed from thread to thread. For handlers that neither block nor compute for long,
    /// as those of a core wait for each other, and that need no sockets of their own.
    pub fn per_core(mut self) -> Self {
        self.is_per_core = true;
        self
    }

    /// Ends the service when `failure` resolves, to why it cannot go on: calls in flight finish
    /// within the drain time, then serving it fails with [`MeshError::Fatal`]. For what only a
    /// restart can mend; name a dependency that may come back with [`check`](Self::check). Of
    /// several the first one counts, and none once the service is told to stop.
    ///
    /// [`MeshError::Fatal`]: crate::MeshError::Fatal
    pub fn fatal(mut self, failure: impl Future<Output = String> + Send + 'static) -> Self {
        let others = self.fatal;
        self.fatal = Box::pin(async move {
            tokio::select! {
                reason = others => reason,
                reason = failure => reason,
            }
        });
        self
    }

    /// Name of the service.
    pub fn name(&self) -> &str {
        &self.name
    }
}
