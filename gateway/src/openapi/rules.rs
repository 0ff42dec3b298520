//! `buf.validate` rules, as far as JSON Schema has words for them.

use prost_reflect::{DynamicMessage, FieldDescriptor, Value as Dynamic};
use serde_json::{Value, json};

/// Rules of a field, or a part of them.
pub(super) struct Rules(Option<DynamicMessage>);

impl Rules {
    /// The rules that are written on `field`.
    pub(super) fn of(field: &FieldDescriptor) -> Self {
        let extension = field.parent_pool().get_extension_by_name("buf.validate.field");
        let options = field.options();
        let extension = extension.filter(|extension| options.has_extension(extension));
        Self(extension.and_then(|e| options.get_extension(&e).as_message().cloned()))
    }

    /// The rules under `name`.
    pub(super) fn inner(&self, name: &str) -> Self {
        let rules = self.0.as_ref().filter(|rules| rules.has_field_by_name(name));
        let inner = rules.and_then(|rules| rules.get_field_by_name(name));
        Self(inner.and_then(|inner| inner.as_message().cloned()))
    }

    /// The value of one rule, when it is given.
    pub(super) fn get(&self, name: &str) -> Option<Value> {
        let rules = self.0.as_ref().filter(|rules| rules.has_field_by_name(name))?;
        let value = rules.get_field_by_name(name)?;
        json_of(&value)
    }

    /// Whether a rule that is a switch is on.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some(json!(true))
    }

    /// A rule that is a whole number.
    pub(super) fn count(&self, name: &str) -> Option<usize> {
        usize::try_from(self.get(name)?.as_u64()?).ok()
    }

    /// The values that a rule lists; none when it is not given.
    pub(super) fn list(&self, name: &str) -> Vec<Value> {
        match self.get(name) {
            Some(Value::Array(values)) => values,
            _ => Vec::new(),
        }
    }

    /// Adds the rules that are given to `schema`, under the names that it has for them.
    pub(super) fn copy(&self, schema: &mut Value, names: &[(&str, &str)]) {
        for (rule, keyword) in names {
            if let Some(value) = self.get(rule) {
                schema[*keyword] = value;
            }
        }
    }
}

/// Whether a request without `field` is refused.
pub(super) fn is_required(field: &FieldDescriptor) -> bool {
    Rules::of(field).is_on("required")
}

fn json_of(value: &Dynamic) -> Option<Value> {
    Some(match value {
        Dynamic::Bool(value) => json!(value),
        Dynamic::I32(value) => json!(value),
        Dynamic::I64(value) => json!(value),
        Dynamic::U32(value) => json!(value),
        Dynamic::U64(value) => json!(value),
        Dynamic::F32(value) => json!(value),
        Dynamic::F64(value) => json!(value),
        Dynamic::String(value) => json!(value),
        Dynamic::List(values) => values.iter().map(json_of).collect::<Option<Vec<_>>>()?.into(),
        _ => return None,
    })
}
