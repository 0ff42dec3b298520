//! What options of a contract change about its JSON.

use prost_reflect::{EnumDescriptor, FieldDescriptor};

/// How a field differs from proto3 JSON; nothing by default.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FieldForm {
    /// A string or 64-bit integer that JSON shows as a number, digit for digit.
    pub number: bool,
    /// Printed even when it holds its default value.
    pub always_print: bool,
    /// Never to be shown in logs.
    pub sensitive: bool,
}

/// Reads the options of a contract. `()` knows none: plain proto3 JSON.
pub trait Forms {
    /// The form of a field.
    fn field(&self, field: &FieldDescriptor) -> FieldForm;

    /// The prefix of an enum's values that JSON leaves out, such as `STATUS_`. Both forms are read.
    fn enum_prefix(&self, enumeration: &EnumDescriptor) -> Option<String>;
}

impl Forms for () {
    fn field(&self, _: &FieldDescriptor) -> FieldForm {
        FieldForm::default()
    }

    fn enum_prefix(&self, _: &EnumDescriptor) -> Option<String> {
        None
    }
}
