//! The way of a request through the edge.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use auth::{TenantId, TokenVerifier};
use bytes::Bytes;
use futures::FutureExt;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use mesh::Mesh;
use prost::Message;
use tokio::time::{Instant, timeout};
use tonic::Status;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span, info_span};

use crate::access::{self, Identity};
use crate::config::Limits;
use crate::headers::{self, CORRELATION_ID, Cors, IDEMPOTENT_REPLAY};
use crate::pages::Pages;
use crate::problem::Problem;
use crate::rate::{Caller, Limiter};
use crate::routes::{Endpoint, Found, Route, Routes};
use crate::transcode::{self, Transcoder};
use crate::watch::Watch;
use crate::{body, idempotency, upstream};

/// Everything that answers requests, shared by all connections.
pub(crate) struct Edge {
    pub(crate) mesh: Mesh,
    pub(crate) limits: Limits,
    pub(crate) routes: Routes,
    pub(crate) transcoder: Transcoder,
    pub(crate) verifier: TokenVerifier,
    pub(crate) limiter: Limiter,
    pub(crate) cors: Cors,
    pub(crate) pages: Pages,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    pub(crate) over_tls: bool,
}

/// What is known of a request while it is answered.
struct Exchange {
    peer: Peer,
    correlation_id: Arc<str>,
    watch: Watch,
    /// Headers of the answer, whatever it will be.
    headers: HeaderMap,
}

impl Edge {
    /// Answers one request, whatever it is.
    pub(crate) async fn answer<B>(&self, peer: Peer, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let correlation_id = headers::correlation_id(request.headers());
        let span = info_span!(
            "request",
            service = "gateway",
            correlationId = correlation_id,
            userId = Empty,
            otel.kind = "server",
            otel.name = Empty,
        );
        telemetry::extract(request.headers(), &span);
        self.answer_in_span(peer, correlation_id.into(), request).instrument(span).await
    }

    /// What every answer has, around the one that the request gets.
    async fn answer_in_span<B>(
        &self,
        peer: Peer,
        correlation_id: Arc<str>,
        request: Request<B>,
    ) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let path = request.uri().path().to_owned();
        let is_head = request.method() == Method::HEAD;
        let hsts = peer.over_tls && !headers::is_for_this_machine(&request);
        let watch = Watch::start(request.method());
        let mut exchange = Exchange { peer, correlation_id, watch, headers: HeaderMap::new() };
        self.cors.answer(request.headers(), &mut exchange.headers);

        let carried_out = AssertUnwindSafe(self.carry_out(&mut exchange, request)).catch_unwind();
        let result = match timeout(self.limits.request_timeout, carried_out).await {
            Ok(Ok(result)) => result,
            Ok(Err(_panic)) => Err(Problem::internal()),
            Err(_elapsed) => {
                let detail = "the request took too long";
                Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "REQUEST_TIMEOUT", detail))
            }
        };

        let id = &exchange.correlation_id;
        let mut response = result.unwrap_or_else(|problem| problem.into_response(&path, id));
        let headers = response.headers_mut();
        headers.extend(exchange.headers);
        if let Ok(id) = HeaderValue::from_str(id) {
            headers.insert(CORRELATION_ID, id);
        }
        headers::secure(headers, hsts);
        if is_head {
            response = without_body(response);
        }
        exchange.watch.answered(response.status());
        response
    }

    /// The pipeline. Each step may end it with a problem; the order matters.
    async fn carry_out<B>(
        &self,
        exchange: &mut Exchange,
        request: Request<B>,
    ) -> Result<Response<Full<Bytes>>, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        headers::check_host(&request)?;
        let (head, body) = request.into_parts();
        if head.method == Method::OPTIONS {
            return self.options(exchange, head.uri.path(), &head.headers);
        }
        let Found { endpoint, values } = self.routes.find(&head.method, head.uri.path())?;
        exchange.watch.routed(endpoint.template());
        let route = match &endpoint {
            Endpoint::Page(page) => return Ok(self.pages.answer(*page).await),
            Endpoint::Route(route) => route,
        };
        Span::current().record("otel.name", route.method.full_name());

        // A refused token costs its sender's address a request: guessing has its bound too.
        let identity = access::identify(&self.verifier, &route.policy, &head.headers).await;
        let caller = caller(identity.as_ref().ok().and_then(Option::as_ref), exchange.peer);
        self.limiter.admit(&route.policy.rate_limit, caller, &mut exchange.headers)?;
        let identity = identity?;
        access::admit(&route.policy, identity.as_ref())?;

        let idempotency_key = idempotency::key(&route.policy, &head.headers)?;
        let bytes_max = self.limits.body_bytes_max as usize;
        let body = body::read(&head.headers, body, bytes_max, self.limits.body_timeout).await?;
        let query = head.uri.query().unwrap_or_default();
        let message = self.transcoder.request(route, &values, query, &body)?;

        let context = mesh::Context {
            idempotency_key,
            ..context(route, identity, Arc::clone(&exchange.correlation_id))
        };
        // A repeat changes nothing: the contract says so, or the client's key does.
        let repeatable = route.policy.retry_safe || context.idempotency_key.is_some();
        let answer = upstream::call(&self.mesh, route, context, message.encode_to_vec()).await;
        let metadata = answer.as_ref().map_or_else(Status::metadata, tonic::Response::metadata);
        if let Some(replay) = metadata.as_ref().get(IDEMPOTENT_REPLAY) {
            exchange.headers.insert(IDEMPOTENT_REPLAY, replay.clone());
        }
        let answer = answer.map_err(|status| refusal(route, &status, repeatable))?;
        self.transcode_back(route, answer.into_inner())
    }

    fn transcode_back(
        &self,
        route: &Route,
        message: Bytes,
    ) -> Result<Response<Full<Bytes>>, Problem> {
        let status = StatusCode::from_u16(route.policy.success_status).unwrap_or(StatusCode::OK);
        let mut response = Response::new(Full::default());
        *response.status_mut() = status;
        if status != StatusCode::NO_CONTENT {
            *response.body_mut() = Full::from(self.transcoder.response(route, message)?);
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
        }
        Ok(response)
    }

    /// What may be done at a path, for clients that ask and for browsers before they call.
    fn options(
        &self,
        exchange: &mut Exchange,
        path: &str,
        request: &HeaderMap,
    ) -> Result<Response<Full<Bytes>>, Problem> {
        let allow = self.routes.allow(path)?;
        let allow = HeaderValue::try_from(allow).map_err(|_| Problem::internal())?;
        if Cors::is_preflight(request) {
            self.cors.answer_preflight(request, allow.clone(), &mut exchange.headers);
        }
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(ALLOW, allow);
        Ok(response)
    }
}

/// Whose requests are counted together: a user's, or those of an address.
fn caller(identity: Option<&Identity>, peer: Peer) -> Caller {
    match identity {
        Some(Identity { principal, .. }) => {
            Span::current().record("userId", display(principal.user));
            Caller::User(principal.tenant, principal.user)
        }
        None => Caller::at(peer.address),
    }
}

/// What travels with the call: nothing that the client says of itself but its verified token.
fn context(route: &Route, identity: Option<Identity>, correlation_id: Arc<str>) -> mesh::Context {
    let (principal, token) = identity.map(|i| (i.principal, i.token)).unzip();
    mesh::Context {
        tenant: principal.as_ref().map_or(TenantId::DEFAULT, |principal| principal.tenant),
        principal,
        token,
        correlation_id,
        deadline: Some(Instant::now() + route.policy.deadline),
        idempotency_key: None,
    }
}

/// An upstream's refusal, in the client's words for the fields.
fn refusal(route: &Route, status: &Status, repeatable: bool) -> Problem {
    let mut problem = Problem::from(status);
    problem.rename_fields(|path| transcode::shown_path(route, path));
    if repeatable || mesh::error::surely_not_sent(status) {
        problem = problem.repeatable();
    }
    if problem.status.is_server_error() {
        let (upstream, reason) = (&route.upstream, mesh::error::reason(status));
        tracing::warn!(upstream, code = ?status.code(), reason, "an upstream failed a request");
    }
    problem
}

/// The answer to HEAD: the headers that GET would have.
fn without_body(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let length = response.body().size_hint().lower();
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response.map(|_| Full::default())
}
