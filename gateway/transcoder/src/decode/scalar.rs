//! Numbers, truth values and enums.

use super::{Decoder, Fault, Written};
use crate::error::OutputError;
use crate::json::{is_number, write_double, write_float, write_integer};
use crate::schema::Kind;
use crate::wire::Wire;

impl Decoder<'_> {
    /// Writes one scalar; whether it is the default of its kind.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "the wire keeps the bits; what is beyond 32 is cut off, as all readers do"
    )]
    pub(super) fn scalar(
        &mut self,
        kind: Kind,
        number_form: bool,
        wire: &mut Wire<'_>,
    ) -> Written<bool> {
        Ok(match kind {
            Kind::Double => {
                let bits = wire.fixed64()?;
                write_double(self.out, f64::from_bits(bits));
                bits == 0
            }
            Kind::Float => {
                let bits = wire.fixed32()?;
                write_float(self.out, f32::from_bits(bits));
                bits == 0
            }
            Kind::Int32 => self.small(wire.varint()? as i32),
            Kind::Uint32 => self.small(wire.varint()? as u32),
            Kind::Sint32 => {
                let value = wire.varint()? as u32;
                self.small((value >> 1) as i32 ^ -((value & 1) as i32))
            }
            Kind::Fixed32 => self.small(wire.fixed32()?),
            Kind::Sfixed32 => self.small(wire.fixed32()? as i32),
            Kind::Int64 => self.large(wire.varint()? as i64, number_form),
            Kind::Uint64 => self.large(wire.varint()?, number_form),
            Kind::Sint64 => {
                let value = wire.varint()?;
                self.large((value >> 1) as i64 ^ -((value & 1) as i64), number_form)
            }
            Kind::Fixed64 => self.large(wire.fixed64()?, number_form),
            Kind::Sfixed64 => self.large(wire.fixed64()? as i64, number_form),
            Kind::Bool => {
                let value = wire.varint()? != 0;
                self.out.extend_from_slice(if value { b"true" } else { b"false" });
                !value
            }
            Kind::Enum(place) => {
                let number = wire.varint()? as i32;
                match self.plans.enums[place as usize].shown(number) {
                    Some(name) => self.out.extend_from_slice(name),
                    None => write_integer(self.out, number),
                }
                number == 0
            }
            Kind::Null => {
                let number = wire.varint()?;
                self.out.extend_from_slice(b"null");
                number == 0
            }
            Kind::String | Kind::Bytes | Kind::Message(_) | Kind::Group(_) => {
                return Err(OutputError::Malformed.into());
            }
        })
    }

    #[inline]
    fn small<T: itoa::Integer + Default + PartialEq + Copy>(&mut self, value: T) -> bool {
        write_integer(self.out, value);
        value == T::default()
    }

    /// A 64-bit integer: text, for readers whose numbers are floats, unless its form is a number.
    #[inline]
    fn large<T: itoa::Integer + Default + PartialEq + Copy>(
        &mut self,
        value: T,
        number_form: bool,
    ) -> bool {
        if number_form {
            write_integer(self.out, value);
        } else {
            self.out.push(b'"');
            write_integer(self.out, value);
            self.out.push(b'"');
        }
        value == T::default()
    }

    /// A decimal as a number, digit for digit; the default of a decimal is zero.
    pub(super) fn decimal(&mut self, text: &[u8]) -> Written {
        if !text.is_empty() && !is_number(text) {
            let error = OutputError::Unshowable("a field shown as a number holds none");
            return Err(Fault::Output(error));
        }
        self.out.extend_from_slice(if text.is_empty() { b"0" } else { text });
        Ok(())
    }
}
