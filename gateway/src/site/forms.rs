//! How the options of our contracts change the JSON of a field.

use contracts::policy;
use prost_reflect::{EnumDescriptor, FieldDescriptor};
use transcoder::{FieldForm, Forms};

/// Reads the options of `malha.options.v1`, of whatever descriptor pool.
pub(crate) struct OfOptions;

impl Forms for OfOptions {
    fn field(&self, field: &FieldDescriptor) -> FieldForm {
        let policy = policy::of_field(field);
        FieldForm {
            number: policy.json_number,
            always_print: policy.always_print,
            sensitive: policy.sensitive,
        }
    }

    fn enum_prefix(&self, enumeration: &EnumDescriptor) -> Option<String> {
        policy::of_enum(enumeration).json_unprefixed.then(|| prefix(enumeration.name()))
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
