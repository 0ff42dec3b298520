//! `google.api.http`, to the letter: its rules, path templates, queries, and what of a request
//! and of an answer is the body.

mod parameter;
mod percent;
mod request;
mod response;
mod router;
mod rule;
mod template;

pub use request::{Input, Request};
pub use response::{Output, Response};
pub use router::{Captures, Found, Miss, Router};
pub use rule::{HttpRule, RuleError};
pub use template::Template;

/// The message that stands for a body as it is.
const HTTP_BODY: &str = "google.api.HttpBody";
