//! Finds the gRPC service that a call names.

use std::convert::Infallible;

use futures::future::BoxFuture;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use crate::around::{Next, Request, Response};

/// The gRPC services of a member, by name.
#[derive(Default)]
pub(crate) struct Routes(Vec<(&'static str, Handler)>);

type Handler = Box<dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync>;

impl Routes {
    /// Adds a generated gRPC server.
    pub(crate) fn add<S>(&mut self, server: S)
    where
        S: Service<http::Request<Body>, Response = Response, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        // Generated servers are always ready.
        let handler = move |request| -> BoxFuture<'static, Response> {
            let answer = server.clone().call(request);
            Box::pin(async move { answer.await.unwrap_or_else(|never| match never {}) })
        };
        self.0.push((S::NAME, Box::new(handler)));
    }

    fn find(&self, path: &str) -> Option<&Handler> {
        let (service, _) = path.strip_prefix('/')?.split_once('/')?;
        self.0.iter().find_map(|(name, handler)| (*name == service).then_some(handler))
    }
}

impl Next for Routes {
    async fn call(&self, request: Request) -> Result<Response, Status> {
        match self.find(request.uri().path()) {
            Some(handler) => Ok(handler(request).await),
            None => Err(Status::unimplemented("")),
        }
    }
}
