//! JSON ⇄ protobuf wire bytes, planned once per message from descriptors.
//!
//! A [`Schema`] holds a plan of every message of a descriptor pool. A [`Request`] turns what HTTP
//! brings for one rule of `google.api.http` (path, query, body) into the bytes of the request
//! message; a [`Response`] turns the bytes of the answer into a body. JSON tokens become wire
//! bytes as they are read, and wire bytes JSON: there is no message object between. A [`Router`]
//! finds the rule of a path.
//!
//! Read `encode` for JSON → wire, `decode` for wire → JSON, `http` for `google.api.http`.

mod decode;
mod encode;
mod error;
mod forms;
mod http;
mod json;
mod rules;
mod schema;
mod wire;

pub use error::{FieldError, InputError, OutputError};
pub use forms::{FieldForm, Forms};
pub use http::{
    Captures, Found, HttpRule, Input, Miss, Output, Request, Response, Router, RuleError, Template,
};
pub use schema::{MessagePlan, Schema, Settings};
