//! What is known of a request while it is answered, and what is counted and logged of it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Instant;

use auth::Verified;
use bytes::Bytes;
use futures::Stream;
use http::request::Parts;
use http::{HeaderMap, Method, Uri};
use http_body::{Body as _, Frame};
use tracing::Span;

use super::Worker;
use super::origin::Origin;
use crate::answer::{Answer, AnswerBody, Cut, Frames};
use crate::headers;
use crate::log::Line;
use crate::meter::Meter;
use crate::names::Names;
use crate::pages::Page;
use crate::problem::Problem;
use crate::serve::{Peer, is_answered};
use crate::site::{Route, Rpc};

/// What is logged of a client that does not wait for its answer.
const LEFT: u16 = 499;

/// Counts what no route answers.
static UNMATCHED: LazyLock<Meter> = LazyLock::new(|| Meter::new("unmatched"));

/// A request while it is answered.
pub(crate) struct Exchange {
    pub(crate) peer: Rc<Peer>,
    /// The client's address.
    pub(crate) address: IpAddr,
    pub(crate) over_tls: bool,
    /// Headers of the answer, whatever it will be.
    pub(crate) headers: HeaderMap,
    /// Whether there is a body that nobody has read to its end yet.
    pub(crate) unread: bool,
    pub(crate) record: Record,
    /// Absent for all but the few that are recorded.
    span: Span,
}

impl Exchange {
    /// Begins to answer.
    pub(crate) fn begin(
        worker: &Rc<Worker>,
        peer: Rc<Peer>,
        origin: &Origin,
        names: Names,
        head: &Parts,
        unread: bool,
        span: Span,
    ) -> Self {
        worker.edge.in_flight.increment(1);
        let record = Record {
            worker: Rc::clone(worker),
            names,
            method: head.method.clone(),
            uri: head.uri.clone(),
            target: Target::Unmatched,
            user: None,
            status: LEFT,
            reason: None,
            bytes: 0,
            address: origin.address,
            started: Instant::now(),
            handed_over: false,
        };
        let Origin { address, over_tls, .. } = *origin;
        Self { peer, address, over_tls, headers: headers::secure(), unread, record, span }
    }

    /// The record of what goes on beside the connection when the request is answered.
    pub(crate) fn beside(&mut self) -> Record {
        let record = &mut self.record;
        record.handed_over = true;
        Record {
            worker: Rc::clone(&record.worker),
            names: record.names.clone(),
            method: record.method.clone(),
            uri: record.uri.clone(),
            target: record.target.clone(),
            user: record.user.clone(),
            status: record.status,
            reason: None,
            bytes: 0,
            address: record.address,
            started: record.started,
            handed_over: false,
        }
    }

    /// A route answers.
    pub(crate) fn route(&mut self, route: &Arc<Route>) {
        telemetry::rename(&self.span, route.rpc.descriptor.full_name());
        self.record.target = Target::Route(Arc::clone(route));
    }

    /// A method answers, over gRPC.
    pub(crate) fn rpc(&mut self, rpc: &Arc<Rpc>) {
        telemetry::rename(&self.span, rpc.descriptor.full_name());
        self.record.target = Target::Rpc(Arc::clone(rpc));
    }

    /// A page of the edge answers.
    pub(crate) fn page(&mut self, page: Page) {
        self.record.target = Target::Page(page);
    }

    /// The token was good.
    pub(crate) fn user(&mut self, user: &Arc<Verified>) {
        self.span.record("userId", user.subject.as_str());
        self.record.user = Some(Arc::clone(user));
    }

    /// The request is answered, or will be when its stream has ended.
    pub(crate) fn end(self, answer: Answer) -> Answer {
        let Self { peer, mut record, .. } = self;
        record.status = answer.status().as_u16();
        answer.map(|body| match body {
            AnswerBody::Flow(frames) => {
                AnswerBody::Flow(Box::pin(Recorded { frames, record, _peer: peer }))
            }
            body => {
                is_answered();
                record.sent(usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX));
                body
            }
        })
    }
}

/// What is counted and logged of a request when it ends, also when its client leaves.
pub(crate) struct Record {
    worker: Rc<Worker>,
    pub(crate) names: Names,
    method: Method,
    uri: Uri,
    target: Target,
    /// The user, when the token was good.
    pub(crate) user: Option<Arc<Verified>>,
    pub(crate) status: u16,
    reason: Option<Cow<'static, str>>,
    bytes: u64,
    address: IpAddr,
    started: Instant,
    /// Another record tells the end.
    handed_over: bool,
}

/// What answers a request.
#[derive(Clone)]
enum Target {
    Unmatched,
    Page(Page),
    Route(Arc<Route>),
    Rpc(Arc<Rpc>),
}

impl Record {
    /// The request is refused.
    pub(crate) fn refused(&mut self, problem: &Problem) {
        self.reason = Some(problem.reason.clone());
    }

    /// So many bytes were sent.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    fn log(&self, meter: &Meter, duration: std::time::Duration) {
        let Self { worker, names, .. } = self;
        let (path, upstream) = match &self.target {
            Target::Unmatched => (None, None),
            Target::Page(_) => (Some(Cow::Borrowed(self.uri.path())), None),
            Target::Route(route) => (route.shown(&self.uri), Some(&*route.rpc.upstream)),
            Target::Rpc(rpc) => (None, Some(&*rpc.upstream)),
        };
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let line = Line {
            correlation_id: names.correlation_id(),
            trace_id: names.trace_id(),
            user_id: self.user.as_ref().map(|user| user.subject.as_str()),
            method: self.method.as_str(),
            route: meter.route(),
            path: path.as_deref(),
            status: self.status,
            reason: self.reason.as_deref(),
            duration: format!("{}.{:03}ms", micros / 1000, micros % 1000),
            bytes: self.bytes,
            upstream,
            peer: self.address,
        };
        worker.lines.write(&worker.edge.log, &line);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.handed_over {
            return;
        }
        let duration = self.started.elapsed();
        let meter = match &self.target {
            Target::Unmatched => &*UNMATCHED,
            Target::Page(page) => page.meter(),
            Target::Route(route) => &route.meter,
            Target::Rpc(rpc) => &rpc.meter,
        };
        meter.count(&self.method, self.status, duration);
        let edge = &self.worker.edge;
        edge.in_flight.decrement(1);
        let share = edge.log.share(self.status);
        if share > 0.0 && self.worker.namer.chosen(share) {
            self.log(meter, duration);
        }
    }
}

/// The frames of an answer whose record ends with them.
struct Recorded {
    frames: Frames,
    record: Record,
    /// While it is held, the connection is in use.
    _peer: Rc<Peer>,
}

impl Stream for Recorded {
    type Item = Result<Frame<Bytes>, Cut>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let frame = self.frames.as_mut().poll_next(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            self.record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        frame
    }
}
