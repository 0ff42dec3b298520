//! Examples: what a message may look like, from types, names and rules.

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};
use transcoder::{Forms, Schema};

use super::pattern;
use super::rules::{Rules, is_required};
use super::schema::well_known_example;
use crate::site::OfOptions;

/// Messages inside messages that are shown.
const DEPTH_MAX: usize = 6;

/// Texts by the end of a field's name, the first that fits counts.
const TEXTS: [(&str, &str); 22] = [
    ("email", "ana@example.com"),
    ("password", "correct horse battery"),
    ("phone", "+55 11 99999-0000"),
    ("currency", "BRL"),
    ("country", "BR"),
    ("city", "Recife"),
    ("address", "Rua da Aurora 100"),
    ("description", "Rent of May"),
    ("title", "A title"),
    ("url", "https://example.com/"),
    ("uri", "https://example.com/"),
    ("host", "example.com"),
    ("token", "b3BhcXVl"),
    ("user_name", "ana"),
    ("name", "Ana"),
    ("amount", "100.50"),
    ("balance", "100.50"),
    ("message", "Hello"),
    ("text", "Hello"),
    ("agency", "0001"),
    ("account_number", "12345-6"),
    ("id", UUID),
];

const UUID: &str = "0199c0de-0000-7000-8000-000000000001";

/// Texts by the rule that asks for them.
const FORMATS: [(&str, &str); 10] = [
    ("uuid", UUID),
    ("tuuid", "0199c0de000070008000000000000001"),
    ("email", "ana@example.com"),
    ("hostname", "example.com"),
    ("ip", "192.0.2.1"),
    ("ipv4", "192.0.2.1"),
    ("ipv6", "2001:db8::1"),
    ("uri", "https://example.com/"),
    ("uri_ref", "/things/1"),
    ("host_and_port", "example.com:443"),
];

/// Makes examples of the messages of one contract.
pub(super) struct Examples<'a>(pub(super) &'a Schema);

impl Examples<'_> {
    /// An example of `message` without the fields `left_out`; `None` when a field that is needed
    /// has none.
    pub(super) fn message(
        &self,
        message: &MessageDescriptor,
        left_out: &[FieldDescriptor],
    ) -> Option<Value> {
        self.inside(message, left_out, &mut Vec::new())
    }

    /// An example of a field's value.
    pub(super) fn field(&self, field: &FieldDescriptor) -> Option<Value> {
        self.value(field, &mut Vec::new())
    }

    fn inside(
        &self,
        message: &MessageDescriptor,
        left_out: &[FieldDescriptor],
        way: &mut Vec<String>,
    ) -> Option<Value> {
        if let Some(example) = well_known_example(message) {
            return Some(example);
        }
        if way.len() >= DEPTH_MAX || way.iter().any(|above| above == message.full_name()) {
            return None;
        }
        way.push(message.full_name().to_owned());
        let mut members = Map::new();
        let mut whole = true;
        for field in message.fields().filter(|field| !left_out.contains(field)) {
            match self.value(&field, way) {
                _ if is_second_choice(&field) => {}
                Some(value) => {
                    members.insert(field.json_name().to_owned(), value);
                }
                None => whole &= !is_required(&field),
            }
        }
        way.pop();
        whole.then_some(Value::Object(members))
    }

    fn value(&self, field: &FieldDescriptor, way: &mut Vec<String>) -> Option<Value> {
        let rules = Rules::of(field);
        let kind = field.kind();
        if field.is_list() {
            let repeated = rules.inner("repeated");
            if repeated.count("max_items") == Some(0) {
                return Some(json!([]));
            }
            let count = repeated.count("min_items").unwrap_or(1).max(1);
            let item = self.one(field, &kind, &repeated.inner("items"), way)?;
            let unlike = count > 1 && repeated.is_on("unique");
            return (!unlike).then(|| vec![item; count].into());
        }
        if let (true, Some(entry)) = (field.is_map(), kind.as_message()) {
            let of_map = rules.inner("map");
            let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            let key = self.one(&key, &key.kind(), &of_map.inner("keys"), way)?;
            let key = key.as_str().map_or_else(|| key.to_string(), ToOwned::to_owned);
            let value = self.one(&value, &value.kind(), &of_map.inner("values"), way)?;
            return Some(json!({key: value}));
        }
        self.one(field, &kind, &rules, way)
    }

    fn one(
        &self,
        field: &FieldDescriptor,
        kind: &Kind,
        rules: &Rules,
        way: &mut Vec<String>,
    ) -> Option<Value> {
        let shown_as_number = OfOptions.field(field).number;
        match kind {
            Kind::Message(message) => self.inside(message, &[], way),
            Kind::Enum(enumeration) => self.chosen(enumeration, &rules.inner("enum")),
            Kind::Bool => Some(rules.inner("bool").get("const").unwrap_or(json!(true))),
            Kind::Bytes => Some(json!("bWFsaGE=")),
            Kind::String if shown_as_number => Some(json!(100.5)),
            Kind::String => text(field.name(), &rules.inner("string")).map(Value::String),
            Kind::Double | Kind::Float => number(field.name(), &rules.inner(&format!("{kind:?}"))),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 | Kind::Uint32 | Kind::Fixed32 => {
                number(field.name(), &rules.inner(&format!("{kind:?}")))
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => {
                let number = number(field.name(), &rules.inner(&format!("{kind:?}")))?;
                Some(if shown_as_number { number } else { json!(number.to_string()) })
            }
        }
    }

    fn chosen(&self, enumeration: &EnumDescriptor, rules: &Rules) -> Option<Value> {
        let only: Vec<_> = rules.get("const").into_iter().chain(rules.list("in")).collect();
        let excluded = rules.list("not_in");
        let mut values: Vec<_> = enumeration.values().collect();
        // Zero says least.
        values.sort_by_key(|value| value.number() == 0);
        let value = values.into_iter().find(|value| {
            let number = json!(value.number());
            (only.is_empty() || only.contains(&number)) && !excluded.contains(&number)
        })?;
        self.0.enum_name(enumeration, value.number()).map(|name| json!(name))
    }
}

/// Whether another field of the same oneof is shown already.
fn is_second_choice(field: &FieldDescriptor) -> bool {
    let oneof = field.containing_oneof();
    oneof.is_some_and(|oneof| oneof.fields().next().is_some_and(|first| first != *field))
}

fn text(name: &str, rules: &Rules) -> Option<String> {
    if let Some(given) = given(rules) {
        return given.as_str().map(ToOwned::to_owned);
    }
    if let Some((_, text)) = FORMATS.iter().find(|(rule, _)| rules.is_on(rule)) {
        return Some((*text).to_owned());
    }
    let named = TEXTS.iter().filter(|(end, _)| name.ends_with(end)).map(|(_, text)| *text);
    if let Some(Value::String(wanted)) = rules.get("pattern") {
        let named = named.chain([UUID]).find(|text| pattern::fits(&wanted, text));
        return named.map(ToOwned::to_owned).or_else(|| pattern::text(&wanted));
    }
    let affix = |rule| rules.get(rule).and_then(|it| it.as_str().map(ToOwned::to_owned));
    let body = named.into_iter().next().unwrap_or("text");
    let (before, after) = (affix("prefix"), affix("suffix"));
    let inside = affix("contains").unwrap_or_default();
    let text = [before.as_deref().unwrap_or(""), body, &inside, after.as_deref().unwrap_or("")];
    Some(fitted(text.concat(), rules))
}

/// The text in a length that the rules admit.
fn fitted(text: String, rules: &Rules) -> String {
    let exact = rules.count("len");
    let (min, max) = (exact.or(rules.count("min_len")), exact.or(rules.count("max_len")));
    let missing = min.unwrap_or(0).saturating_sub(text.chars().count());
    let whole = text.chars().chain(std::iter::repeat_n('a', missing));
    whole.take(max.unwrap_or(usize::MAX)).collect()
}

fn number(name: &str, rules: &Rules) -> Option<Value> {
    if let Some(given) = given(rules) {
        return Some(given);
    }
    let wanted: i64 = if name.ends_with("size") || name.ends_with("limit") { 20 } else { 1 };
    let bound = |rule| rules.get(rule).and_then(|bound| bound.as_f64());
    let inside = |number: f64| {
        bound("gte").is_none_or(|bound| number >= bound)
            && bound("gt").is_none_or(|bound| number > bound)
            && bound("lte").is_none_or(|bound| number <= bound)
            && bound("lt").is_none_or(|bound| number < bound)
    };
    let beside = |rule: &str, step: i64| Some(json!(rules.get(rule)?.as_i64()?.checked_add(step)?));
    let bounds = [rules.get("gte"), beside("gt", 1), rules.get("lte"), beside("lt", -1)];
    let candidates = [Some(json!(wanted))].into_iter().chain(bounds).flatten();
    candidates.into_iter().find(|number| number.as_f64().is_some_and(inside))
}

/// A value that the rules themselves name.
fn given(rules: &Rules) -> Option<Value> {
    let listed = rules.list("example").into_iter().chain(rules.list("in"));
    rules.get("const").or_else(|| listed.into_iter().next())
}
