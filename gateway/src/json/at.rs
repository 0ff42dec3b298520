//! Where in a document the reader stands.

use std::fmt;

use crate::problem::FieldError;

/// Deepest nesting that is read. Upstreams read 100 messages deep, and an object inside a
/// `google.protobuf.Struct` is three of them.
const DEPTH_MAX: usize = 30;

/// A place in a document: a chain of steps down from its root.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
    depth: usize,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
}

impl<'a> At<'a> {
    /// The whole document.
    pub(crate) const ROOT: Self = Self { parent: None, step: Step::Root, depth: 0 };

    /// The member `name` of what is here.
    pub(crate) fn field(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Field(name), depth: self.depth + 1 }
    }

    /// The element `index` of what is here.
    pub(super) fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index), depth: self.depth + 1 }
    }

    /// What is wrong here.
    pub(crate) fn error(&self, description: impl Into<String>) -> FieldError {
        FieldError::new(self.to_string(), description)
    }

    /// Refuses documents that nest too deep, before they exhaust the stack.
    pub(super) fn check_depth(&self) -> Result<(), FieldError> {
        if self.depth > DEPTH_MAX {
            return Err(self.error("nests too deep"));
        }
        Ok(())
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parent) = self.parent else { return Ok(()) };
        parent.fmt(f)?;
        match self.step {
            Step::Root => Ok(()),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Field(name) => {
                if parent.parent.is_some() {
                    f.write_str(".")?;
                }
                // A client's own name for a field may be of any length.
                name.chars().take(64).try_for_each(|character| write!(f, "{character}"))
            }
        }
    }
}
