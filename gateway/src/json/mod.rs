//! JSON ⇄ messages, as proto3 JSON says and the field options of the contracts refine.
//!
//! Numbers travel as text from end to end, so `100.50` stays `100.50`. No error shows a value.

mod at;
mod read;
mod scalar;
mod wkt;
mod write;

use std::collections::HashMap;

use contracts::policy::{self, FieldPolicy};
use prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor};

pub(crate) use at::At;
pub(crate) use read::{ReadError, field_named, fields_given};

/// Reads and writes the messages of one descriptor pool.
#[derive(Debug)]
pub(crate) struct Codec {
    /// Options of the fields that have some, by full name.
    fields: HashMap<String, FieldPolicy>,
    /// Prefix of the enums that JSON shows without one, by full name.
    prefixes: HashMap<String, String>,
}

impl Codec {
    /// A codec that knows the options of all fields and enums in `pool`.
    pub(crate) fn new(pool: &DescriptorPool) -> Self {
        let fields = pool.all_messages().flat_map(|message| message.fields().collect::<Vec<_>>());
        let fields = fields
            .map(|field| (field.full_name().to_owned(), policy::of_field(&field)))
            .filter(|(_, policy)| *policy != FieldPolicy::default())
            .collect();
        let prefixes = pool
            .all_enums()
            .filter(|enumeration| policy::of_enum(enumeration).json_unprefixed)
            .map(|enumeration| (enumeration.full_name().to_owned(), prefix(enumeration.name())))
            .collect();
        Self { fields, prefixes }
    }

    /// Options of a field.
    pub(crate) fn policy(&self, field: &FieldDescriptor) -> FieldPolicy {
        self.fields.get(field.full_name()).copied().unwrap_or_default()
    }

    /// The name of an enum value in JSON.
    pub(crate) fn shown_name<'n>(&self, enumeration: &EnumDescriptor, name: &'n str) -> &'n str {
        self.prefixes
            .get(enumeration.full_name())
            .and_then(|prefix| name.strip_prefix(prefix.as_str()))
            .unwrap_or(name)
    }

    /// The number of an enum value, by either of its names.
    fn enum_number(&self, enumeration: &EnumDescriptor, name: &str) -> Option<i32> {
        let full = || {
            let prefix = self.prefixes.get(enumeration.full_name())?;
            enumeration.get_value_by_name(&format!("{prefix}{name}"))
        };
        enumeration.get_value_by_name(name).or_else(full).map(|value| value.number())
    }
}

/// `TransactionStatus` → `TRANSACTION_STATUS_`.
fn prefix(name: &str) -> String {
    let mut prefix = String::new();
    for (at, character) in name.char_indices() {
        if at > 0 && character.is_ascii_uppercase() {
            prefix.push('_');
        }
        prefix.push(character.to_ascii_uppercase());
    }
    prefix + "_"
}

#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;
