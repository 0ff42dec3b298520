//! The protobuf wire format: cursors over it, and the few ways to append to it.

use crate::OutputError;

/// Deepest nesting of messages and groups that is read, as other readers of protobuf have it.
pub(crate) const DEPTH_MAX: u32 = 100;

/// How a value lies on the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WireType {
    Varint,
    Fixed64,
    Bytes,
    Group,
    Fixed32,
}

impl WireType {
    /// The low bits of a tag.
    pub(crate) fn bits(self) -> u32 {
        match self {
            Self::Varint => 0,
            Self::Fixed64 => 1,
            Self::Bytes => 2,
            Self::Group => 3,
            Self::Fixed32 => 5,
        }
    }
}

/// Reads wire bytes from the front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire<'w>(pub(crate) &'w [u8]);

impl<'w> Wire<'w> {
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// A varint; what is beyond 64 bits is cut off, as all readers do.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, OutputError> {
        match *self.0 {
            [byte, ref rest @ ..] if byte < 0x80 => {
                self.0 = rest;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, OutputError> {
        let mut value = 0;
        for (index, &byte) in self.0.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.0 = &self.0[index + 1..];
                return Ok(value);
            }
        }
        Err(OutputError::Malformed)
    }

    /// The number and wire type of the field that follows; an end of a group is none.
    #[inline]
    pub(crate) fn tag(&mut self) -> Result<(u32, WireType), OutputError> {
        match self.any_tag()? {
            (number, Some(wire_type)) => Ok((number, wire_type)),
            (_, None) => Err(OutputError::Malformed),
        }
    }

    /// As [`Self::tag`]; `None` is the end of a group.
    #[inline]
    fn any_tag(&mut self) -> Result<(u32, Option<WireType>), OutputError> {
        let tag = u32::try_from(self.varint()?).map_err(|_| OutputError::Malformed)?;
        let wire_type = match tag & 7 {
            0 => Some(WireType::Varint),
            1 => Some(WireType::Fixed64),
            2 => Some(WireType::Bytes),
            3 => Some(WireType::Group),
            4 => None,
            5 => Some(WireType::Fixed32),
            _ => return Err(OutputError::Malformed),
        };
        match tag >> 3 {
            0 => Err(OutputError::Malformed),
            number => Ok((number, wire_type)),
        }
    }

    #[inline]
    pub(crate) fn fixed32(&mut self) -> Result<u32, OutputError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(OutputError::Malformed)?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*bytes))
    }

    #[inline]
    pub(crate) fn fixed64(&mut self) -> Result<u64, OutputError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(OutputError::Malformed)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    /// A value with its length before it.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'w [u8], OutputError> {
        let length = usize::try_from(self.varint()?).map_err(|_| OutputError::Malformed)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(OutputError::Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// The inside of the message that lies here, be it a group or with a length.
    pub(crate) fn message(
        &mut self,
        number: u32,
        wire_type: WireType,
    ) -> Result<&'w [u8], OutputError> {
        if wire_type == WireType::Group { self.group(number) } else { self.bytes() }
    }

    /// The inside of a group whose start has been read; groups in it may nest without recursion.
    fn group(&mut self, number: u32) -> Result<&'w [u8], OutputError> {
        let whole = self.0;
        let mut open = smallvec::SmallVec::<[u32; 8]>::from_slice(&[number]);
        loop {
            let inside = whole.len() - self.0.len();
            match self.any_tag()? {
                (number, Some(WireType::Group)) => {
                    if open.len() >= DEPTH_MAX as usize {
                        return Err(OutputError::TooDeep);
                    }
                    open.push(number);
                }
                (_, Some(wire_type)) => self.skip_plain(wire_type)?,
                (number, None) => {
                    if open.pop() != Some(number) {
                        return Err(OutputError::Malformed);
                    }
                    if open.is_empty() {
                        return Ok(&whole[..inside]);
                    }
                }
            }
        }
    }

    /// Steps over a value.
    #[inline]
    pub(crate) fn skip(&mut self, number: u32, wire_type: WireType) -> Result<(), OutputError> {
        if wire_type == WireType::Group {
            return self.group(number).map(drop);
        }
        self.skip_plain(wire_type)
    }

    #[inline]
    fn skip_plain(&mut self, wire_type: WireType) -> Result<(), OutputError> {
        match wire_type {
            WireType::Varint => self.varint().map(drop),
            WireType::Fixed64 => self.fixed64().map(drop),
            WireType::Fixed32 => self.fixed32().map(drop),
            WireType::Bytes => self.bytes().map(drop),
            WireType::Group => Err(OutputError::Malformed),
        }
    }
}

/// A tag, ready to be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Tag {
    bytes: [u8; 5],
    length: u8,
}

impl Tag {
    pub(crate) fn new(number: u32, wire_type: WireType) -> Self {
        Self::of(number << 3 | wire_type.bits())
    }

    /// The tag that ends a group.
    pub(crate) fn end_of_group(number: u32) -> Self {
        Self::of(number << 3 | 4)
    }

    #[expect(clippy::cast_possible_truncation, reason = "seven bits, and at most five of them")]
    fn of(mut tag: u32) -> Self {
        let (mut bytes, mut length) = ([0; 5], 0);
        while tag >= 0x80 {
            bytes[length] = tag as u8 | 0x80;
            tag >>= 7;
            length += 1;
        }
        bytes[length] = tag as u8;
        Self { bytes, length: length as u8 + 1 }
    }

    /// How many bytes it takes.
    pub(crate) fn length(self) -> usize {
        usize::from(self.length)
    }

    #[inline]
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        match self.length {
            1 => out.push(self.bytes[0]),
            length => out.extend_from_slice(&self.bytes[..usize::from(length)]),
        }
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
pub(crate) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline]
pub(crate) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Leaves room for the length of what follows; give the result to [`end`].
#[inline]
pub(crate) fn begin(out: &mut Vec<u8>) -> usize {
    out.push(0);
    out.len()
}

/// Fills in the length of what was written since `start`.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "below 128")]
pub(crate) fn end(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    if length < 0x80 {
        out[start - 1] = length as u8;
    } else {
        end_long(out, start, length);
    }
}

/// One byte is not enough for the length: the rest is moved.
fn end_long(out: &mut Vec<u8>, start: usize, length: usize) {
    let mut prefix = smallvec::SmallVec::<[u8; 10]>::new();
    let mut rest = length;
    while rest >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
        prefix.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "below 128")]
    prefix.push(rest as u8);
    let more = prefix.len() - 1;
    out.resize(out.len() + more, 0);
    out.copy_within(start..start + length, start + more);
    out[start - 1..start + more].copy_from_slice(&prefix);
}
