//! Values of paths and queries: the way down to a field, and its value as plain text.

use smallvec::SmallVec;

use crate::encode::{
    DECIMAL, Scalar, decode_base64, is_decimal, scalar_of_text, write_mask, write_spelled,
};
use crate::schema::{Field, Kind, Label, Plans, Shape};
use crate::wire;

/// Why a parameter is refused that no field of the request has.
pub(super) const UNKNOWN: &str = "is not a parameter that is known here";
/// Why a field is refused that is no single text.
const NOT_TEXT: &str = "is no value that a path or query can hold";
/// Why a field is refused that is in a oneof with another one.
pub(super) const EXCLUDED: &str = "excludes another parameter that is given";

/// The way from a message down to a field: for each step the plan and the place in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Way(SmallVec<[(u32, u32); 4]>);

/// What two ways have to do with each other.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Relation {
    /// Nothing.
    Apart,
    /// They lead to the same field.
    Same,
    /// One goes through what the other sets.
    Inside,
    /// They part in two fields of one oneof.
    Excluded,
}

impl Way {
    /// The way that the names in `path` describe; they are those of the contract or of JSON.
    pub(super) fn find(plans: &Plans, root: u32, path: &str) -> Result<Self, &'static str> {
        let mut way = SmallVec::new();
        let mut plan = Some(root);
        for name in path.split('.') {
            let at = plan.ok_or(UNKNOWN)?;
            let place = plans.message(at).place(name.as_bytes(), 0).ok_or(UNKNOWN)?;
            way.push((at, u32::try_from(place).map_err(|_| UNKNOWN)?));
            let field = &plans.message(at).fields[place];
            plan = field.kind.message().filter(|_| field.is_one());
        }
        Ok(Self(way))
    }

    /// The field at its end.
    pub(super) fn leaf<'s>(&self, plans: &'s Plans) -> Option<&'s Field> {
        self.fields(plans).last()
    }

    /// All fields on it.
    pub(super) fn fields<'s>(&self, plans: &'s Plans) -> impl Iterator<Item = &'s Field> {
        self.0.iter().map(|(plan, place)| &plans.message(*plan).fields[*place as usize])
    }

    /// The place of its first field.
    pub(super) fn first(&self) -> Option<usize> {
        self.0.first().map(|(_, place)| *place as usize)
    }

    /// For each step the place of the field and that of its oneof.
    pub(super) fn steps(&self, plans: &Plans) -> Vec<(usize, Option<u32>)> {
        let oneofs = self.fields(plans).map(|field| field.oneof);
        self.0.iter().map(|(_, place)| *place as usize).zip(oneofs).collect()
    }

    /// The JSON names on it.
    pub(super) fn shown(&self, plans: &Plans) -> String {
        let names: Vec<_> = self.fields(plans).map(|field| &*field.json_name).collect();
        names.join(".")
    }

    pub(super) fn relation(&self, other: &Self, plans: &Plans) -> Relation {
        let mut steps = self.0.iter().zip(&other.0);
        let Some(((plan, place), (_, other_place))) = steps.find(|(own, other)| own != other)
        else {
            let same = self.0.len() == other.0.len();
            return if same { Relation::Same } else { Relation::Inside };
        };
        let oneof = |place: u32| plans.message(*plan).fields[place as usize].oneof;
        match oneof(*place) {
            Some(own) if oneof(*other_place) == Some(own) => Relation::Excluded,
            _ => Relation::Apart,
        }
    }

    /// Appends the field with a value, inside of an occurrence of every message on the way:
    /// protobuf merges them with what else there is.
    pub(super) fn write(
        &self,
        plans: &Plans,
        key: Option<&str>,
        text: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        let mut open = SmallVec::<[(usize, &Field); 4]>::new();
        for field in self.fields(plans).take(self.0.len() - 1) {
            field.tag.write(out);
            let start = if matches!(field.kind, Kind::Group(_)) { 0 } else { wire::begin(out) };
            open.push((start, field));
        }
        let leaf = self.leaf(plans).ok_or(UNKNOWN)?;
        write_field(plans, leaf, key, text.as_bytes(), out)?;
        for (start, field) in open.into_iter().rev() {
            match field.kind {
                Kind::Group(_) => wire::Tag::end_of_group(field.number).write(out),
                _ => wire::end(out, start),
            }
        }
        Ok(())
    }
}

fn write_field(
    plans: &Plans,
    field: &Field,
    key: Option<&str>,
    text: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    match (&field.label, key) {
        (Label::Map(entry), Some(key)) => {
            field.tag.write(out);
            let start = wire::begin(out);
            write_value(plans, &entry.0, key.as_bytes(), out)?;
            write_value(plans, &entry.1, text, out)?;
            wire::end(out, start);
            Ok(())
        }
        (Label::Map(_), None) => Err(NOT_TEXT),
        (_, Some(_)) => Err(UNKNOWN),
        (Label::List { packed: true }, None) => {
            let scalar = scalar_of_text(plans, field.kind, text)?;
            field.tag.write(out);
            let start = wire::begin(out);
            scalar.write(out);
            wire::end(out, start);
            Ok(())
        }
        (Label::List { packed: false }, None) => write_value(plans, field, text, out),
        (Label::One, None) => {
            let start = out.len();
            write_value(plans, field, text, out)?;
            // A default is the same as absence where that is not known.
            let empty = matches!(field.kind, Kind::String | Kind::Bytes) && text.is_empty();
            let zero = || scalar_of_text(plans, field.kind, text).is_ok_and(Scalar::is_zero);
            if !field.presence && (empty || zero()) {
                out.truncate(start);
            }
            Ok(())
        }
    }
}

/// Appends a value with its tag.
fn write_value(
    plans: &Plans,
    field: &Field,
    text: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    match field.kind {
        Kind::String if field.number_form && !is_decimal(text) => Err(DECIMAL),
        Kind::String => {
            field.tag.write(out);
            wire::write_bytes(out, text);
            Ok(())
        }
        Kind::Bytes => embedded(field, out, |out| decode_base64(text, out).then_some(()))
            .ok_or(field.kind.expected()),
        Kind::Message(place) => {
            let plan = plans.message(place);
            match plan.shape {
                Shape::Timestamp | Shape::Duration => {
                    embedded(field, out, |out| write_spelled(plan.shape, text, out).then_some(()))
                        .ok_or(plan.shape.expected())
                }
                Shape::FieldMask => {
                    embedded(field, out, |out| write_mask(text, true, out).then_some(()))
                        .ok_or(plan.shape.expected())
                }
                Shape::Wrapper => {
                    field.tag.write(out);
                    let start = wire::begin(out);
                    write_field(plans, &plan.fields[0], None, text, out)?;
                    wire::end(out, start);
                    Ok(())
                }
                _ => Err(NOT_TEXT),
            }
        }
        Kind::Group(_) => Err(NOT_TEXT),
        kind => {
            let scalar = scalar_of_text(plans, kind, text)?;
            field.tag.write(out);
            scalar.write(out);
            Ok(())
        }
    }
}

/// Appends a tag, a length and what `write` appends.
fn embedded(
    field: &Field,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Option<()>,
) -> Option<()> {
    field.tag.write(out);
    let start = wire::begin(out);
    write(out)?;
    wire::end(out, start);
    Some(())
}
