//! JSON in which each member has one meaning.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The object that `json` is. One that names a member twice, at any depth, is refused: RFC 7515
/// section 4 leaves open which of the two counts, so that two readers may see two tokens.
pub(super) fn object(json: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(json) {
        Ok(Unambiguous(Value::Object(object))) => Some(object),
        _ => None,
    }
}

struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Unambiguous(item)) = from.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Unambiguous(value))) = from.next_entry::<String, _>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is named twice"));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_has_one_meaning_is_read_as_it_is() {
        let value =
            json!({"a": [null, true, -1, u64::MAX, 1.5, "x\n"], "b": {"a": {}}, "c": {"a": []}});

        assert_eq!(Value::Object(object(value.to_string().as_bytes()).unwrap()), value);
    }

    #[test]
    fn what_has_two_meanings_or_none_is_refused() {
        for json in [
            r#"{"a": 1, "a": 1}"#,
            r#"{"a": 1, "\u0061": 2}"#,
            r#"{"a": {"b": [], "c": 0, "b": []}}"#,
            r#"{"a": [{"b": 1, "b": 2}]}"#,
            r"[1]",
            r#"{"a": 1} {}"#,
            r#"{"a": "#,
            "",
        ] {
            assert_eq!(object(json.as_bytes()), None, "{json}");
        }
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(1_000), "]".repeat(1_000));
        assert_eq!(object(deep.as_bytes()), None, "deeper than any stack is asked to go");
    }
}
