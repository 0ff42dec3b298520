//! Bounds on what callers may ask of the edge: rate limits and idempotency.
