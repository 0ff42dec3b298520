//! The way of a request through the edge.
//!
//! [`Worker::answer`] gives every answer what all of them have; [`Worker::carry_out`] is the
//! pipeline. Calls of one message each way run inside the future of their connection; whatever is
//! rarer or longer has a future of its own, so that an idle connection stays small.

mod admission;
mod exchange;
mod idempotency;
mod metadata;
mod origin;
mod rest;
mod trace;

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::Cache;
use auth::Verifier;
use futures::FutureExt;
use http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use limits::{Idempotency, Limiter};
use metrics::{Gauge, gauge};
use tracing::Instrument;
use upstream::Upstreams;

use crate::answer::{Answer, AnswerBody, empty};
use crate::coding::Coding;
use crate::config::Config;
use crate::etag;
use crate::grpc::Dialect;
use crate::headers::{self, Cors};
use crate::log::{AccessLog, FLUSH_EVERY, Lines};
use crate::names::{CORRELATION_ID, Namer};
use crate::pages::Pages;
use crate::policy::Policy;
use crate::problem::Problem;
use crate::serve::Peer;
use crate::site::{Endpoint, Rpc, Site, Sites, Streaming};

pub(crate) use admission::User;
pub(crate) use exchange::{Exchange, Record};
pub(crate) use idempotency::key as idempotency_key;
use metadata::is_let_through;
pub(crate) use metadata::{IDEMPOTENCY_KEY, is_kept_back};
pub(crate) use rest::{
    Asked, OwnAsked, content_type, failed, failed_call, message, noted, refused, transcoded,
};

/// Everything that answers requests, shared by all workers.
pub(crate) struct Edge {
    pub(crate) settings: Config,
    pub(crate) sites: Sites,
    pub(crate) verifier: Verifier,
    pub(crate) limiter: Limiter,
    pub(crate) idempotency: Idempotency,
    pub(crate) upstreams: Upstreams,
    pub(crate) pages: Pages,
    pub(crate) log: AccessLog,
    /// Requests being answered.
    pub(crate) in_flight: Gauge,
}

impl Edge {
    /// The gauge of requests being answered.
    pub(crate) fn in_flight() -> Gauge {
        gauge!("malha_edge_in_flight")
    }
}

/// What one worker has for itself: nothing here is shared with another core.
pub(crate) struct Worker {
    pub(crate) edge: Arc<Edge>,
    pub(crate) calls: upstream::Worker,
    namer: Namer,
    lines: Lines,
    /// The site of the moment, looked at without touching its count.
    site: RefCell<Cache<Sites, Arc<Site>>>,
}

impl Worker {
    /// A worker of `edge`, to be called on its own thread.
    pub(crate) fn new(edge: Arc<Edge>) -> Rc<Self> {
        let worker = Rc::new(Self {
            calls: edge.upstreams.worker(),
            namer: Namer::new(),
            lines: Lines::new(),
            site: RefCell::new(Cache::new(Arc::clone(&edge.sites))),
            edge,
        });
        let writer = Rc::downgrade(&worker);
        tokio::task::spawn_local(async move {
            while let Some(worker) = writer.upgrade() {
                worker.flush();
                drop(worker);
                tokio::time::sleep(FLUSH_EVERY).await;
            }
        });
        worker
    }

    /// Hands over what was logged.
    pub(crate) fn flush(&self) {
        self.lines.flush(&self.edge.log);
    }

    /// Answers one request, whatever it is.
    pub(crate) async fn answer(
        self: Rc<Self>,
        peer: Rc<Peer>,
        request: Request<Incoming>,
    ) -> Answer {
        let origin = origin::Origin::of(&self.edge.settings, &peer, request.headers());
        let mut names = self.namer.name(request.headers(), origin.may_name);
        let span = self.span(request.headers(), &mut names);
        let (head, body) = request.into_parts();
        let unread = !body.is_end_stream();
        let mut exchange =
            Exchange::begin(&self, peer, &origin, names, &head, unread, span.clone());
        let carried_out = self.carry_out(&mut exchange, &head, body).instrument(span);
        let carried_out = AssertUnwindSafe(carried_out);
        let answered = match carried_out.catch_unwind().await {
            Ok(answered) => answered,
            Err(_panic) => Err(Problem::internal()),
        };
        let mut answer = match answered {
            Ok(answer) => answer,
            Err(problem) => {
                exchange.record.refused(&problem);
                let form = self.edge.settings.errors;
                problem.into_answer(form, head.uri.path(), exchange.record.names.correlation_id())
            }
        };
        self.complete(&mut exchange, &head, &mut answer).await;
        exchange.end(answer)
    }

    /// The pipeline. Each step may end it with a problem; the order matters.
    async fn carry_out(
        &self,
        exchange: &mut Exchange,
        head: &Parts,
        body: Incoming,
    ) -> Result<Answer, Problem> {
        headers::check_host(head)?;
        let site = self.site.borrow_mut().load().clone();
        if head.method == Method::OPTIONS {
            let allowed = self.options(&site, exchange, head);
            if allowed.is_err() {
                Box::pin(self.stray(exchange)).await?;
            }
            return allowed;
        }
        if let Some(dialect) = Dialect::of(head) {
            return Ok(Box::pin(self.grpc(dialect, &site, exchange, head, body)).await);
        }
        let found = site.find(&head.method, head.uri.path());
        if found.is_err() {
            Cors(&self.edge.settings.cors_origins).answer(&head.headers, &mut exchange.headers);
            Box::pin(self.stray(exchange)).await?;
        }
        let found = found?;
        match found.value {
            Endpoint::Page(page) => {
                exchange.page(*page);
                Cors(&self.edge.settings.cors_origins).answer(&head.headers, &mut exchange.headers);
                Box::pin(self.page(exchange, *page, &site, head)).await
            }
            Endpoint::Route(route) => {
                exchange.route(route);
                self.cors(&route.rpc.policy).answer(&head.headers, &mut exchange.headers);
                let user = self.admit(exchange, &route.rpc, &head.headers).await?;
                let (path, user) = (&*found.captures, user.as_ref());
                let asked = Asked { route, path, user, head, key: None };
                match route.rpc.streaming {
                    Streaming::None => self.unary(exchange, asked, body).await,
                    _ => Box::pin(self.stream(exchange, asked, body)).await,
                }
            }
        }
    }

    async fn page(
        &self,
        exchange: &mut Exchange,
        page: crate::pages::Page,
        site: &Site,
        head: &Parts,
    ) -> Result<Answer, Problem> {
        if page.is_for_staff() {
            self.admit_staff(exchange, &head.headers).await?;
        }
        self.edge.pages.answer(page, &self.edge.upstreams, site, &head.headers).await
    }

    /// What may be done at a path, for clients that ask and for browsers before they call.
    fn options(
        &self,
        site: &Site,
        exchange: &mut Exchange,
        head: &Parts,
    ) -> Result<Answer, Problem> {
        let path = head.uri.path();
        let asked_for = asked_for(site, head);
        let cors = match asked_for {
            Some((rpc, _)) => self.cors(&rpc.policy),
            None => Cors(&self.edge.settings.cors_origins),
        };
        cors.answer(&head.headers, &mut exchange.headers);
        let allow = match site.rpc(path) {
            // gRPC-Web asks before it posts.
            Some(_) => HeaderValue::from_static("OPTIONS, POST"),
            None => HeaderValue::try_from(site.allow(path)?).map_err(|_| Problem::internal())?,
        };
        if Cors::is_preflight(&head.headers) {
            let claims = self.edge.verifier.metadata_names();
            let passes = |name: &HeaderName| {
                let goes_on = |(rpc, is_grpc): (&Rpc, bool)| {
                    if is_grpc { !is_kept_back(name) } else { is_let_through(&rpc.policy, name) }
                };
                !claims.contains(name) && asked_for.is_some_and(goes_on)
            };
            cors.answer_preflight(&head.headers, allow.clone(), passes, &mut exchange.headers);
        }
        let mut answer = empty(StatusCode::NO_CONTENT);
        answer.headers_mut().insert(ALLOW, allow);
        Ok(answer)
    }

    /// The origins whose pages may call a method.
    pub(crate) fn cors<'a>(&'a self, policy: &'a Policy) -> Cors<'a> {
        Cors(policy.cors_origins.as_ref().unwrap_or(&self.edge.settings.cors_origins))
    }

    /// What every answer has, whatever it is.
    async fn complete(&self, exchange: &mut Exchange, head: &Parts, answer: &mut Answer) {
        self.compress(&head.headers, answer).await;
        let hsts = exchange.over_tls && !headers::is_for_this_machine(head);
        let headers = &mut exchange.headers;
        headers::complete(headers, answer.headers(), hsts);
        headers.insert(CORRELATION_ID, exchange.record.names.correlation_id.clone());
        // Over HTTP/1.1 what is left of a body stands before the next request: hyper closes then, and
        // a client that is not told would send its next request into nothing.
        let is_whole = !matches!(answer.body(), AnswerBody::Flow(_));
        if exchange.unread && is_whole && head.version <= Version::HTTP_11 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        std::mem::swap(answer.headers_mut(), headers);
        if head.method == Method::HEAD {
            let length = answer.body().size_hint().exact();
            if let Some(length) = length.filter(|_| answer.status() != StatusCode::NOT_MODIFIED) {
                answer.headers_mut().insert(CONTENT_LENGTH, length.into());
            }
            *answer.body_mut() = AnswerBody::Done;
        }
    }

    /// How an answer may be compressed for the client that sent these headers.
    pub(crate) fn coding(&self, request: &HeaderMap) -> Option<Coding> {
        Coding::accepted(request).filter(|_| self.edge.settings.compression.enabled)
    }

    /// Compresses an answer that is worth it and that nobody has compressed before.
    async fn compress(&self, request: &HeaderMap, answer: &mut Answer) {
        let settings = &self.edge.settings.compression;
        let AnswerBody::Whole(body) = answer.body() else { return };
        if !settings.enabled
            || body.len() < settings.bytes_min as usize
            || answer.headers().contains_key(CONTENT_ENCODING)
        {
            return;
        }
        answer.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
        let Some(coding) = Coding::accepted(request) else { return };
        let AnswerBody::Whole(body) = std::mem::replace(answer.body_mut(), AnswerBody::Done) else {
            return;
        };
        *answer.body_mut() = AnswerBody::Whole(coding.encode(body).await);
        answer.headers_mut().insert(CONTENT_ENCODING, coding.header());
        etag::compressed(answer.headers_mut(), coding);
    }
}

/// The method that a preflight asks for, and whether it would be called over gRPC-Web.
fn asked_for<'a>(site: &'a Site, head: &Parts) -> Option<(&'a Rpc, bool)> {
    if let Some(rpc) = site.rpc(head.uri.path()) {
        return Some((rpc, true));
    }
    let method = head.headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    match site.find(&method, head.uri.path()).ok()?.value {
        Endpoint::Route(route) => Some((&route.rpc, false)),
        Endpoint::Page(_) => None,
    }
}
