//! What an answer says of the limits: numbers, and headers for who asks.

use std::time::Duration;

use bytes::{BufMut, Bytes};

use super::rule::{Outcome, Rule, Span};

/// Whether a request is admitted, and what is left of every window. No text is made unless asked.
#[derive(Clone, Copy)]
pub struct Decision<'a> {
    rule: &'a Rule,
    outcome: Outcome,
}

/// What a caller has left of one window.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Left {
    /// Requests that the window admits.
    pub limit: u32,
    /// Time in which it admits them.
    pub per: Duration,
    /// Requests left.
    pub remaining: u64,
    /// Whole seconds until all are back.
    pub reset_seconds: u64,
}

impl<'a> Decision<'a> {
    pub(super) fn new(rule: &'a Rule, outcome: Outcome) -> Self {
        Self { rule, outcome }
    }

    /// Whether the request may go on.
    pub fn is_admitted(&self) -> bool {
        self.outcome.wait == 0
    }

    /// How long to wait (`Retry-After`); `None` when the request is admitted.
    pub fn wait(&self) -> Option<Duration> {
        (self.outcome.wait > 0).then(|| Duration::from_micros(self.outcome.wait))
    }

    /// What is left of each window; nothing when there is no limit.
    pub fn windows(&self) -> impl Iterator<Item = Left> + use<'a> {
        self.rule.spans().iter().zip(self.outcome.owed).map(|(span, owed)| left(span, owed))
    }

    /// The window with the fewest requests left (`RateLimit-Limit` and its like).
    pub fn tightest(&self) -> Option<Left> {
        self.windows().min_by_key(|left| left.remaining)
    }

    /// The `RateLimit-Policy` header, made once; empty when there is no limit.
    pub fn policy(&self) -> &'a Bytes {
        self.rule.policy()
    }

    /// Writes the `RateLimit` header, such as `"default-60s";r=99;t=1, "default-900s";r=999;t=1`.
    pub fn write_limit(&self, out: &mut impl BufMut) {
        let mut number = itoa::Buffer::new();
        for (index, (span, owed)) in self.rule.spans().iter().zip(self.outcome.owed).enumerate() {
            if index > 0 {
                out.put_slice(b", ");
            }
            let left = left(span, owed);
            out.put_slice(span.label.as_bytes());
            out.put_slice(number.format(left.remaining).as_bytes());
            out.put_slice(b";t=");
            out.put_slice(number.format(left.reset_seconds).as_bytes());
        }
    }
}

fn left(span: &Span, owed: u64) -> Left {
    Left {
        limit: span.window.requests.get(),
        per: span.window.per,
        remaining: span.whole.saturating_sub(owed) / span.interval,
        reset_seconds: owed.div_ceil(1_000_000),
    }
}
