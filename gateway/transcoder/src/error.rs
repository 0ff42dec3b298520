//! Why a request or an answer is refused. No error shows a value.

use std::fmt;

/// What is wrong with one field of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldError {
    /// Where, as the client wrote it: `bankingDetails.agency`, `items[2].name`; empty is the whole.
    pub field: String,
    /// The rule of the contract that it broke, such as `string.min_len`; empty if it is none.
    pub rule: String,
    /// What the field must be.
    pub description: String,
}

impl FieldError {
    /// What is wrong with `field`.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), rule: String::new(), description: description.into() }
    }
}

/// Why a request becomes no message. All but [`InputError::Rules`] are the client's fault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum InputError {
    /// These fields are not what the contract says.
    Fields(Vec<FieldError>),
    /// The body is no JSON from this place on, both counted from 1.
    Syntax {
        /// The line.
        line: usize,
        /// The byte in it; at the end of the body, the last one.
        column: usize,
    },
    /// The query is not percent-encoded UTF-8.
    MalformedQuery,
    /// There is a body where none is taken.
    UnexpectedBody,
    /// A PATCH that names no field to change.
    EmptyUpdate,
    /// The rules of the contract cannot be applied: the contract is broken, not the request.
    Rules(String),
}

impl InputError {
    /// The stable name that programs act on.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Fields(_) => "INVALID_FIELD",
            Self::Syntax { .. } => "MALFORMED_JSON",
            Self::MalformedQuery => "MALFORMED_QUERY",
            Self::UnexpectedBody => "UNEXPECTED_BODY",
            Self::EmptyUpdate => "EMPTY_UPDATE",
            Self::Rules(_) => "INTERNAL",
        }
    }
}

impl From<FieldError> for InputError {
    fn from(error: FieldError) -> Self {
        Self::Fields(vec![error])
    }
}

/// A sentence for people; a list of fields is told by its first.
impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fields(errors) => match errors.as_slice() {
                [one] if one.field.is_empty() => f.write_str(&one.description),
                [one] => write!(f, "{}: {}", one.field, one.description),
                _ => f.write_str("several fields are not valid"),
            },
            Self::Syntax { line, column } => {
                write!(f, "the body is not JSON: line {line}, column {column}")
            }
            Self::MalformedQuery => f.write_str("the query is not percent-encoded UTF-8"),
            Self::UnexpectedBody => f.write_str("this method takes no body"),
            Self::EmptyUpdate => f.write_str("the body names no field to change"),
            Self::Rules(_) => f.write_str("the request failed inside"),
        }
    }
}

impl std::error::Error for InputError {}

/// Why an answer becomes no JSON: the upstream broke its contract.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OutputError {
    /// It is no protobuf message.
    #[error("the answer is no protobuf message")]
    Malformed,
    /// It nests deeper than is read.
    #[error("the answer nests too deep")]
    TooDeep,
    /// It holds what JSON cannot show, such as a time beyond the year 9999.
    #[error("the answer holds what JSON cannot show: {0}")]
    Unshowable(&'static str),
}
