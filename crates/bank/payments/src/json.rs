//! `google.protobuf.Struct` as JSON, and back.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as Wire};
use serde_json::{Map, Number, Value};

/// The rule for text that the table can keep.
pub(crate) const NO_NUL: &str = "must not hold the character U+0000";

/// Reads a `Struct`; the error is the rule that it breaks.
pub(crate) fn from_struct(wire: Struct) -> Result<Value, &'static str> {
    let mut fields = Map::new();
    for (name, value) in wire.fields {
        fields.insert(text(name)?, from_value(value)?);
    }
    Ok(Value::Object(fields))
}

/// Shows a JSON object as a `Struct`; anything else as an empty one.
pub(crate) fn to_struct(json: &Value) -> Struct {
    let fields = json.as_object().into_iter().flatten();
    Struct { fields: fields.map(|(name, value)| (name.clone(), to_value(value))).collect() }
}

fn from_value(wire: Wire) -> Result<Value, &'static str> {
    Ok(match wire.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(truth)) => Value::Bool(truth),
        Some(Kind::NumberValue(number)) => {
            Value::Number(Number::from_f64(number).ok_or("must hold finite numbers only")?)
        }
        Some(Kind::StringValue(string)) => Value::String(text(string)?),
        Some(Kind::ListValue(list)) => {
            Value::Array(list.values.into_iter().map(from_value).collect::<Result<_, _>>()?)
        }
        Some(Kind::StructValue(fields)) => from_struct(fields)?,
    })
}

fn to_value(json: &Value) -> Wire {
    Wire {
        kind: Some(match json {
            Value::Null => Kind::NullValue(0),
            Value::Bool(truth) => Kind::BoolValue(*truth),
            Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
            Value::String(string) => Kind::StringValue(string.clone()),
            Value::Array(values) => {
                Kind::ListValue(ListValue { values: values.iter().map(to_value).collect() })
            }
            Value::Object(_) => Kind::StructValue(to_struct(json)),
        }),
    }
}

fn text(text: String) -> Result<String, &'static str> {
    if text.contains('\0') { Err(NO_NUL) } else { Ok(text) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_comes_back_as_it_was_given() {
        let given = json!({
            "order": 7.0, "tags": ["a", null, true], "nested": {"empty": {}, "none": []}, "": -0.5
        });
        assert_eq!(from_struct(to_struct(&given)), Ok(given));
    }

    #[test]
    fn what_the_table_cannot_keep_is_refused() {
        let holding = |kind| Struct {
            fields: [("a".to_owned(), Wire { kind: Some(kind) })].into_iter().collect(),
        };
        for kind in [
            Kind::NumberValue(f64::NAN),
            Kind::NumberValue(f64::INFINITY),
            Kind::StringValue("\0".into()),
            Kind::StructValue(holding(Kind::StringValue("x\0".into()))),
        ] {
            assert!(from_struct(holding(kind.clone())).is_err(), "{kind:?}");
        }
    }
}
