//! JSON → wire: each token becomes wire bytes as it is read.

mod dynamic;
mod guard;
mod scalar;
mod special;

use crate::error::{FieldError, InputError};
use crate::json::{Fault, Read, Reader, Text, Token, line_and_column, path_to};
use crate::schema::{Field, Kind, Label, Plan, Plans, Shape};
use crate::wire;

pub(crate) use guard::{Guard, SET_BY_PATH, TWICE};
pub(crate) use scalar::{DECIMAL, Scalar, decode_base64, is_decimal, scalar_of_text};
pub(crate) use special::{write_mask, write_spelled};

use guard::{Given, Way};

/// Deepest nesting that is read. Readers of protobuf go 100 messages deep, and an object inside a
/// `google.protobuf.Struct` is three of them.
const DEPTH_MAX: usize = 30;

/// Why a name is refused that no field has.
const UNKNOWN: &str = "is not a field that is known here";

/// Turns one document into wire bytes.
pub(crate) struct Encoder<'a> {
    plans: &'a Plans,
    json: &'a [u8],
    reader: Reader<'a>,
    out: &'a mut Vec<u8>,
    /// Arrays and objects that are open.
    depth: usize,
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(plans: &'a Plans, json: &'a [u8], out: &'a mut Vec<u8>) -> Self {
        // A message is seldom longer on the wire than in JSON.
        out.reserve(json.len());
        Self { plans, json, reader: Reader::new(json), out, depth: 0 }
    }

    /// Reads the whole document as one message, whose fields must not be those of `guard`.
    pub(crate) fn document(mut self, place: u32, guard: Option<&Guard>) -> Result<(), InputError> {
        let read = self
            .reader
            .token()
            .and_then(|token| self.message(self.plans.message(place), token, guard))
            .and_then(|()| self.reader.end());
        read.map_err(|fault| told(self.json, fault))
    }

    /// Reads the whole document as the value of one field of `plan`, whose fields must not be
    /// those of `guard`; false for a null that means absence.
    pub(crate) fn field_document(
        mut self,
        plan: &Plan,
        place: usize,
        guard: &Guard,
    ) -> Result<bool, InputError> {
        let field = &plan.fields[place];
        let read = self.reader.token().and_then(|token| {
            if token == Token::Null && !field.admits_null {
                return self.reader.null().map(|()| false);
            }
            let below = guarded(plan, place, guard, self.reader.at())?;
            self.field(field, token, below).map(|()| true)
        });
        read.and_then(|given| self.reader.end().map(|()| given))
            .map_err(|fault| told(self.json, fault))
    }

    /// Appends the fields of a message.
    fn message(&mut self, plan: &Plan, token: Token, guard: Option<&Guard>) -> Read<()> {
        match plan.shape {
            Shape::Ordinary => self.members(plan, token, guard, &[]),
            Shape::Wrapper => self.one(&plan.fields[0], token, None),
            Shape::Any => self.any(token),
            Shape::Empty => self.empty(token),
            Shape::Struct => self.dynamic_struct(token),
            Shape::List => self.dynamic_list(token),
            Shape::Value => self.dynamic_value(token),
            Shape::Timestamp | Shape::Duration | Shape::FieldMask => {
                self.spelled(plan.shape, token)
            }
        }
    }

    /// An object whose members are fields, but for the one that is called `other`.
    fn members(
        &mut self,
        plan: &Plan,
        token: Token,
        guard: Option<&Guard>,
        other: &[u8],
    ) -> Read<()> {
        self.enter(token, Token::Object, Shape::Ordinary.expected())?;
        let mut given = Given::new(plan);
        let (mut first, mut guess) = (true, 0);
        while let Some(name) = self.reader.name(&mut first)? {
            let place = match plan.fields.get(guess) {
                Some(next) if next.json_name.as_bytes() == self.reader.raw(name) => Some(guess),
                _ => plan.place(&self.reader.resolved(name)?, guess),
            };
            let Some(place) = place else {
                self.unknown(name, other)?;
                continue;
            };
            guess = place + 1;
            let field = &plan.fields[place];
            if !given.field(place) && !self.plans.settings.merge_duplicates {
                return Err(Fault::at(name.at(), TWICE));
            }
            let token = self.reader.token()?;
            if token == Token::Null && !field.admits_null {
                self.reader.null()?;
                continue;
            }
            if let Some(oneof) = field.oneof
                && !given.oneof(plan, oneof)
            {
                return Err(excluded(plan, oneof, name.at()));
            }
            let below = match guard {
                None => None,
                Some(guard) => guarded(plan, place, guard, name.at())?,
            };
            self.field(field, token, below)?;
        }
        self.depth -= 1;
        Ok(())
    }

    #[cold]
    fn unknown(&mut self, name: Text, other: &[u8]) -> Read<()> {
        let is_other = !other.is_empty() && *self.reader.resolved(name)? == *other;
        if is_other || self.plans.settings.ignore_unknown {
            return self.reader.skip();
        }
        Err(Fault::at(name.at(), UNKNOWN))
    }

    /// Appends a field, with its tag.
    #[inline]
    fn field(&mut self, field: &Field, token: Token, guard: Option<&Guard>) -> Read<()> {
        match &field.label {
            Label::One => self.one(field, token, guard),
            Label::List { packed } => self.list(field, token, *packed),
            Label::Map(entry) => self.map(field, &entry.0, &entry.1, token),
        }
    }

    /// Appends a field of one value; none for a default that is the same as absence.
    #[inline]
    fn one(&mut self, field: &Field, token: Token, guard: Option<&Guard>) -> Read<()> {
        match field.kind {
            Kind::Message(_) | Kind::Group(_) => self.embedded(field, token, guard),
            Kind::String | Kind::Bytes => self.text(field, token, field.presence),
            kind => {
                let Some(scalar) = self.scalar(kind, token)? else { return Ok(()) };
                // Merged with a former value, a zero is no absence.
                let merged = self.plans.settings.merge_duplicates;
                if field.presence || merged || !scalar.is_zero() {
                    field.tag.write(self.out);
                    scalar.write(self.out);
                }
                Ok(())
            }
        }
    }

    /// Appends a message in a message.
    fn embedded(&mut self, field: &Field, token: Token, guard: Option<&Guard>) -> Read<()> {
        field.tag.write(self.out);
        match field.kind {
            Kind::Message(place) => {
                let start = wire::begin(self.out);
                self.message(self.plans.message(place), token, guard)?;
                wire::end(self.out, start);
            }
            Kind::Group(place) => {
                self.message(self.plans.message(place), token, guard)?;
                wire::Tag::end_of_group(field.number).write(self.out);
            }
            _ => {}
        }
        Ok(())
    }

    fn list(&mut self, field: &Field, token: Token, packed: bool) -> Read<()> {
        self.enter(token, Token::Array, "must be an array")?;
        let mut first = true;
        if packed {
            let tag_at = self.out.len();
            field.tag.write(self.out);
            let start = wire::begin(self.out);
            while self.reader.element(&mut first)? {
                let token = self.reader.token()?;
                if let Some(scalar) = self.scalar(field.kind, token)? {
                    scalar.write(self.out);
                }
            }
            if self.out.len() == start {
                self.out.truncate(tag_at);
            } else {
                wire::end(self.out, start);
            }
        } else {
            while self.reader.element(&mut first)? {
                let token = self.reader.token()?;
                self.element(field, token)?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Appends a value with its tag, be it the default or not; false if it was skipped.
    fn element(&mut self, field: &Field, token: Token) -> Read<bool> {
        match field.kind {
            Kind::Message(_) | Kind::Group(_) => self.embedded(field, token, None)?,
            Kind::String | Kind::Bytes => self.text(field, token, true)?,
            kind => {
                let Some(scalar) = self.scalar(kind, token)? else { return Ok(false) };
                field.tag.write(self.out);
                scalar.write(self.out);
            }
        }
        Ok(true)
    }

    fn map(&mut self, field: &Field, key: &Field, value: &Field, token: Token) -> Read<()> {
        self.enter(token, Token::Object, "must be an object")?;
        let mut keys = Keys::default();
        let mut first = true;
        while let Some(name) = self.reader.name(&mut first)? {
            let entry_at = self.out.len();
            field.tag.write(self.out);
            let start = wire::begin(self.out);
            self.map_key(key, name)?;
            let key_length = self.out.len() - start;
            let token = self.reader.token()?;
            if self.element(value, token)? {
                wire::end(self.out, start);
                keys.push(name.at(), self.out.len(), key_length, entry_at);
            } else {
                self.out.truncate(entry_at);
            }
        }
        self.check_keys(keys, field)?;
        self.depth -= 1;
        Ok(())
    }

    fn map_key(&mut self, key: &Field, name: Text) -> Read<()> {
        key.tag.write(self.out);
        if key.kind == Kind::String {
            let start = wire::begin(self.out);
            self.reader.append(name, self.out)?;
            wire::end(self.out, start);
            return Ok(());
        }
        let text = self.reader.resolved(name)?;
        let scalar = scalar_of_text(self.plans, key.kind, &text)
            .map_err(|expected| Fault::at(name.at(), format!("its key {expected}")))?;
        scalar.write(self.out);
        Ok(())
    }

    /// Refuses keys that were given twice.
    fn check_keys(&self, keys: Keys, field: &Field) -> Read<()> {
        if self.plans.settings.merge_duplicates {
            return Ok(());
        }
        match keys.twice(self.out, field.tag) {
            Some(at) => Err(Fault::at(at, TWICE)),
            None => Ok(()),
        }
    }

    /// Steps into an array or object.
    #[inline]
    fn enter(&mut self, token: Token, wanted: Token, expected: &'static str) -> Read<()> {
        if token != wanted {
            return Err(Fault::at(self.reader.at(), expected));
        }
        if self.depth > DEPTH_MAX {
            return Err(Fault::at(self.reader.at(), "nests too deep"));
        }
        self.depth += 1;
        self.reader.open();
        Ok(())
    }
}

/// What the path sets below a field, which it must not set itself.
fn guarded<'g>(plan: &Plan, place: usize, guard: &'g Guard, at: usize) -> Read<Option<&'g Guard>> {
    if let Some(oneof) = plan.fields[place].oneof
        && guard.excludes(oneof, place)
    {
        return Err(excluded(plan, oneof, at));
    }
    match guard.way(place) {
        Way::Free => Ok(None),
        Way::Through(below) => Ok(Some(below)),
        Way::Taken => Err(Fault::at(at, SET_BY_PATH)),
    }
}

#[cold]
fn excluded(plan: &Plan, oneof: u32, at: usize) -> Fault {
    let oneof = &plan.oneofs[oneof as usize];
    Fault::at(at, format!("only one field of `{oneof}` may be given"))
}

/// The places of the fields that a document gives, nulls included, in its order. The document has
/// been read before.
pub(crate) fn names_given(plan: &Plan, json: &[u8]) -> Result<Vec<usize>, InputError> {
    let mut reader = Reader::new(json);
    let mut places = Vec::new();
    let mut read = || {
        if reader.token()? != Token::Object {
            return Err(Fault::at(reader.at(), Shape::Ordinary.expected()));
        }
        reader.open();
        let mut first = true;
        while let Some(name) = reader.name(&mut first)? {
            let place = plan.place(&reader.resolved(name)?, 0);
            places.extend(place.filter(|place| !places.contains(place)));
            reader.skip()?;
        }
        Ok(())
    };
    read().map_err(|fault| told(json, fault))?;
    Ok(places)
}

/// What a client is told of a fault. That a document is no JSON goes before what it says wrong.
#[cold]
fn told(json: &[u8], fault: Fault) -> InputError {
    let mut reader = Reader::new(json);
    let broken = reader.skip().and_then(|()| reader.end()).err().map(|fault| fault.place());
    let at = fault.place();
    match (broken, fault.description()) {
        (None, Some(description)) => FieldError::new(path_to(json, at), description).into(),
        (broken, _) => {
            let (line, column) = line_and_column(json, broken.unwrap_or(at));
            InputError::Syntax { line, column }
        }
    }
}

/// The keys of a map that was written, to find those that were given twice.
#[derive(Default)]
struct Keys(Vec<Key>);

struct Key {
    /// Where its name is in the document.
    at: usize,
    entry: std::ops::Range<usize>,
    length: usize,
}

impl Keys {
    fn push(&mut self, at: usize, end: usize, length: usize, entry_at: usize) {
        self.0.push(Key { at, entry: entry_at..end, length });
    }

    /// The later one of two equal keys. `tag` is that of the map.
    fn twice(mut self, out: &[u8], tag: wire::Tag) -> Option<usize> {
        if self.0.len() < 2 {
            return None;
        }
        // An entry is its tag, its length, its key, its value.
        let bytes = |key: &Key| {
            let mut rest = wire::Wire(&out[key.entry.start + tag.length()..key.entry.end]);
            rest.bytes().map(|entry| &entry[..key.length]).unwrap_or_default()
        };
        self.0.sort_by(|a, b| bytes(a).cmp(bytes(b)));
        let twice = self.0.windows(2).filter(|pair| bytes(&pair[0]) == bytes(&pair[1]));
        twice.map(|pair| pair[1].at).min()
    }
}
