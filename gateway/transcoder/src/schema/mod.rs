//! The plans of a descriptor pool.

mod build;
mod names;
mod plan;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use prost_protovalidate::Validator;
use prost_reflect::{DescriptorPool, EnumDescriptor};

use crate::decode::Decoder;
use crate::encode::Encoder;
use crate::rules::{Rules, check, check_all};
use crate::{Forms, InputError, OutputError};

use plan::Enum;
pub(crate) use plan::{Field, Kind, Label, Plan, Shape};

/// How strictly requests are read. The default refuses whatever the contract does not name.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// Body fields, query parameters and enum names that the contract does not know are skipped.
    pub ignore_unknown: bool,
    /// A field may be given twice; both are merged as protobuf does: of scalars the last one stays.
    pub merge_duplicates: bool,
}

/// The plans of all messages of a pool. A clone is the same schema.
#[derive(Clone, Debug)]
pub struct Schema(pub(crate) Arc<Plans>);

impl Schema {
    /// Plans every message of `pool`.
    pub fn new(pool: &DescriptorPool, forms: &dyn Forms, settings: Settings) -> Self {
        Self(Arc::new(build::plans(pool, forms, settings)))
    }

    /// Whether the rules of all messages can be applied; else the name of a message and what is wrong
    /// with its rules, such as an expression that does not compile.
    pub fn check_rules(&self) -> Result<(), (String, String)> {
        check_all(&self.0)
    }

    /// The plan of one message, by its full name.
    pub fn message(&self, full_name: &str) -> Option<MessagePlan> {
        let place = *self.0.by_name.get(full_name)?;
        Some(MessagePlan { plans: Arc::clone(&self.0), place })
    }

    /// The name of an enum's value in JSON; `None` for a number without a name.
    pub fn enum_name(&self, enumeration: &EnumDescriptor, number: i32) -> Option<&str> {
        let place = *self.0.enums_by_name.get(enumeration.full_name())?;
        let quoted = std::str::from_utf8(self.0.enums[place as usize].shown(number)?).ok()?;
        Some(quoted.trim_matches('"'))
    }
}

/// All plans; they name each other by their places.
pub(crate) struct Plans {
    pub(crate) messages: Vec<Plan>,
    pub(crate) enums: Vec<Enum>,
    /// The rules of each message, at the same place.
    pub(crate) rules: Vec<Rules>,
    pub(crate) settings: Settings,
    pub(crate) validator: Validator,
    by_name: HashMap<String, u32>,
    enums_by_name: HashMap<String, u32>,
}

impl Plans {
    #[inline]
    pub(crate) fn message(&self, place: u32) -> &Plan {
        &self.messages[place as usize]
    }

    pub(crate) fn place_of(&self, full_name: &str) -> Option<u32> {
        self.by_name.get(full_name).copied()
    }
}

impl fmt::Debug for Plans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plans").field("messages", &self.messages.len()).finish_non_exhaustive()
    }
}

/// JSON ⇄ wire for one message, without a rule of HTTP: lines of NDJSON, frames of a `WebSocket`.
#[derive(Clone, Debug)]
pub struct MessagePlan {
    plans: Arc<Plans>,
    place: u32,
}

impl MessagePlan {
    /// Appends the wire bytes of a whole JSON document to `wire`. Rules are not checked.
    pub fn encode(&self, json: &[u8], wire: &mut Vec<u8>) -> Result<(), InputError> {
        Encoder::new(&self.plans, json, wire).document(self.place, None)
    }

    /// Appends the JSON of a message to `json`.
    pub fn decode(&self, wire: &[u8], json: &mut Vec<u8>) -> Result<(), OutputError> {
        Decoder::new(&self.plans, json).document(self.place, wire)
    }

    /// Checks the rules (`buf.validate`) of a message. Fields are named as the contract does.
    pub fn check(&self, wire: &[u8]) -> Result<(), InputError> {
        check(&self.plans, self.place, wire)
    }
}
