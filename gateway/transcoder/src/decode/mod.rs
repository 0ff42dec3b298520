//! Wire → JSON.
//!
//! Messages come with their fields in ascending order from nearly every sender, and are written
//! as they are read. The few that do not are read again in a way that admits any order.

mod dynamic;
mod gather;
mod map;
mod scalar;
mod special;

use crate::error::OutputError;
use crate::json::{write_base64, write_string};
use crate::schema::{Field, Kind, Label, Plan, Plans, Shape};
use crate::wire::{DEPTH_MAX, Wire, WireType};

pub(crate) use gather::message_of;
pub(crate) use special::text_and_bytes;

use gather::records;

/// Why a message is not written.
#[derive(Debug)]
enum Fault {
    Output(OutputError),
    /// It is not in order: it must be read in the other way.
    OutOfOrder,
}

impl From<OutputError> for Fault {
    fn from(error: OutputError) -> Self {
        Self::Output(error)
    }
}

type Written<T = ()> = Result<T, Fault>;

/// What no upstream should send.
const NOT_UTF8: Fault = Fault::Output(OutputError::Unshowable("a string is not UTF-8"));

/// Turns one message into JSON.
pub(crate) struct Decoder<'a> {
    plans: &'a Plans,
    out: &'a mut Vec<u8>,
    /// Messages that are open.
    depth: u32,
    /// Whether fields may come in any order.
    any_order: bool,
    /// Entries of the maps that are open.
    entries: Vec<map::Entry>,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(plans: &'a Plans, out: &'a mut Vec<u8>) -> Self {
        Self { plans, out, depth: 0, any_order: false, entries: Vec::new() }
    }

    /// Writes a whole message.
    pub(crate) fn document(mut self, place: u32, wire: &[u8]) -> Result<(), OutputError> {
        self.whole(|decoder| decoder.message(decoder.plans.message(place), wire))
    }

    /// Writes the value of one field of a message; its default when it is absent.
    pub(crate) fn field_document(
        mut self,
        plan: &Plan,
        place: usize,
        wire: &[u8],
    ) -> Result<(), OutputError> {
        let field = &plan.fields[place];
        let mut records = records(plan, wire)?;
        records.retain(|record| record.place() == place);
        self.whole(|decoder| {
            if !decoder.gathered(field, &records, wire)? {
                decoder.default_of(field);
            }
            Ok(())
        })
    }

    fn whole(&mut self, write: impl Fn(&mut Self) -> Written) -> Result<(), OutputError> {
        let start = self.out.len();
        loop {
            match write(self) {
                Ok(()) => return Ok(()),
                Err(Fault::Output(error)) => return Err(error),
                // What admits any order never asks for it again.
                Err(Fault::OutOfOrder) => {
                    self.out.truncate(start);
                    self.entries.clear();
                    self.depth = 0;
                    self.any_order = true;
                }
            }
        }
    }

    fn message(&mut self, plan: &Plan, wire: &[u8]) -> Written {
        match plan.shape {
            Shape::Ordinary => {
                self.out.push(b'{');
                self.members(plan, wire)?;
                self.close(b'}');
                Ok(())
            }
            Shape::Wrapper => self.wrapper(plan, wire),
            Shape::Timestamp | Shape::Duration => self.time(plan.shape, wire),
            Shape::FieldMask => self.mask(wire),
            Shape::Any => self.any(wire),
            Shape::Empty => {
                special::skim(wire)?;
                self.out.extend_from_slice(b"{}");
                Ok(())
            }
            Shape::Struct => self.dynamic_struct(wire),
            Shape::List => self.dynamic_list(wire),
            Shape::Value => self.dynamic_value(wire),
        }
    }

    /// The fields of a message, with a comma after each.
    fn members(&mut self, plan: &Plan, wire: &[u8]) -> Written {
        self.enter()?;
        if self.any_order {
            self.members_in_any_order(plan, wire)?;
        } else {
            self.members_in_order(plan, wire)?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn members_in_order(&mut self, plan: &Plan, wire: &[u8]) -> Written {
        let mut wire = Wire(wire);
        let mut oneofs = 0_u64;
        let mut next = 0;
        while !wire.is_empty() {
            let (number, wire_type) = wire.tag()?;
            let ahead = plan.fields[next..].iter().position(|field| field.number >= number);
            let place = next + ahead.unwrap_or(plan.fields.len() - next);
            let known = plan.fields.get(place).filter(|field| field.number == number);
            let Some(field) = known.filter(|field| fits(field, wire_type)) else {
                if known.is_none() && plan.place_of(number).is_some() {
                    return Err(Fault::OutOfOrder);
                }
                wire.skip(number, wire_type)?;
                continue;
            };
            self.absent(plan, next..place);
            next = place + 1;
            if let Some(oneof) = field.oneof {
                // Of those given, the last one stays.
                let bit = 1_u64.checked_shl(oneof).filter(|bit| oneofs & bit == 0);
                oneofs |= bit.ok_or(Fault::OutOfOrder)?;
            }
            self.member(field, &mut wire, wire_type)?;
        }
        self.absent(plan, next..plan.fields.len());
        Ok(())
    }

    /// Writes the field whose first tag has been read.
    #[inline]
    fn member(&mut self, field: &Field, wire: &mut Wire<'_>, wire_type: WireType) -> Written {
        let start = self.out.len();
        self.out.extend_from_slice(&field.key);
        let shown = match &field.label {
            Label::One => self.one(field, wire, wire_type)?,
            Label::List { .. } => self.run(field, wire, wire_type)?,
            Label::Map(entry) => self.map_run(field, entry, wire)?,
        };
        if shown {
            self.out.push(b',');
        } else {
            self.out.truncate(start);
            self.absent_field(field);
        }
        Ok(())
    }

    /// One value; false for a default that is the same as absence.
    #[inline]
    fn one(&mut self, field: &Field, wire: &mut Wire<'_>, wire_type: WireType) -> Written<bool> {
        let is_default = self.value(field, wire, wire_type)?;
        Ok(field.presence || !is_default)
    }

    /// A value of whatever kind; whether it is the default.
    #[inline]
    fn value(&mut self, field: &Field, wire: &mut Wire<'_>, wire_type: WireType) -> Written<bool> {
        match field.kind {
            Kind::String => {
                let text = wire.bytes()?;
                self.text(field, text)?;
                Ok(text.is_empty())
            }
            Kind::Bytes => {
                let bytes = wire.bytes()?;
                write_base64(self.out, bytes);
                Ok(bytes.is_empty())
            }
            Kind::Message(place) | Kind::Group(place) => {
                let inside = wire.message(field.number, wire_type)?;
                self.message(self.plans.message(place), inside)?;
                Ok(false)
            }
            kind => self.scalar(kind, field.number_form, wire),
        }
    }

    fn text(&mut self, field: &Field, text: &[u8]) -> Written {
        if field.number_form {
            return self.decimal(text);
        }
        if write_string(self.out, text) { Ok(()) } else { Err(NOT_UTF8) }
    }

    /// The values of a list that come one after another; false if there are none.
    fn run(&mut self, field: &Field, wire: &mut Wire<'_>, wire_type: WireType) -> Written<bool> {
        self.out.push(b'[');
        self.elements(field, wire, wire_type)?;
        while let Some(wire_type) = same(field, wire) {
            self.elements(field, wire, wire_type)?;
        }
        let any = self.out.last() == Some(&b',');
        self.close(b']');
        Ok(any)
    }

    /// The values behind one tag, with a comma after each.
    fn elements(&mut self, field: &Field, wire: &mut Wire<'_>, wire_type: WireType) -> Written {
        if wire_type == field.kind.wire_type() || field.kind.message().is_some() {
            self.value(field, wire, wire_type)?;
            self.out.push(b',');
            return Ok(());
        }
        let mut packed = Wire(wire.bytes()?);
        while !packed.is_empty() {
            self.value(field, &mut packed, field.kind.wire_type())?;
            self.out.push(b',');
        }
        Ok(())
    }

    /// What absent fields print.
    #[inline]
    fn absent(&mut self, plan: &Plan, places: std::ops::Range<usize>) {
        if plan.prints_absent {
            for field in &plan.fields[places] {
                self.absent_field(field);
            }
        }
    }

    fn absent_field(&mut self, field: &Field) {
        if field.always_print {
            self.out.extend_from_slice(&field.key);
            self.default_of(field);
            self.out.push(b',');
        }
    }

    /// The default value of a field.
    fn default_of(&mut self, field: &Field) {
        let shown: &[u8] = match (&field.label, field.kind) {
            (Label::List { .. }, _) => b"[]",
            (Label::Map(_), _) => b"{}",
            (_, Kind::String) if field.number_form => b"0",
            (_, Kind::String | Kind::Bytes) => b"\"\"",
            (_, Kind::Bool) => b"false",
            (_, Kind::Enum(place)) => self.plans.enums[place as usize].shown(0).unwrap_or(b"0"),
            (_, Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64)
                if !field.number_form =>
            {
                b"\"0\""
            }
            (_, Kind::Message(place) | Kind::Group(place)) => {
                match self.plans.message(place).shape {
                    Shape::Ordinary | Shape::Struct | Shape::Empty => b"{}",
                    Shape::List => b"[]",
                    _ => b"null",
                }
            }
            (_, Kind::Null) => b"null",
            _ => b"0",
        };
        self.out.extend_from_slice(shown);
    }

    /// Ends an array or object; the comma after its last value goes.
    #[inline]
    fn close(&mut self, bracket: u8) {
        match self.out.last_mut() {
            Some(last @ b',') => *last = bracket,
            _ => self.out.push(bracket),
        }
    }

    #[inline]
    fn enter(&mut self) -> Written {
        if self.depth >= DEPTH_MAX {
            return Err(OutputError::TooDeep.into());
        }
        self.depth += 1;
        Ok(())
    }
}

/// Whether a value of this wire type can be the field's: what cannot is an unknown field.
#[inline]
fn fits(field: &Field, wire_type: WireType) -> bool {
    let own = field.kind.wire_type();
    if wire_type == own {
        return true;
    }
    match wire_type {
        // A run of packed values, wherever a list is.
        WireType::Bytes => {
            field.kind.message().is_some() || matches!(field.label, Label::List { .. })
        }
        WireType::Group => field.kind.message().is_some() && !matches!(field.label, Label::Map(_)),
        _ => false,
    }
}

/// The wire type of what follows, if it is more of the same field; its tag is taken.
#[inline]
fn same(field: &Field, wire: &mut Wire<'_>) -> Option<WireType> {
    let mut ahead = *wire;
    let (number, wire_type) = ahead.tag().ok()?;
    if number != field.number || !fits(field, wire_type) {
        return None;
    }
    *wire = ahead;
    Some(wire_type)
}
