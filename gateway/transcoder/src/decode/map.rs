//! Maps: written in the order of their keys, so that the same message is always the same text.

use std::borrow::Cow;

use super::{Decoder, Written, same};
use crate::error::OutputError;
use crate::schema::{Field, Kind};
use crate::wire::{Wire, WireType};

/// Where an entry was written, as offsets from the map's first one.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    start: usize,
    /// After the key, which has its quotes.
    key_end: usize,
    /// After the comma.
    end: usize,
}

impl Decoder<'_> {
    /// The entries of a map that come one after another, whose first tag has been read.
    pub(super) fn map_run(
        &mut self,
        field: &Field,
        entry: &(Field, Field),
        wire: &mut Wire<'_>,
    ) -> Written<bool> {
        let mut next = Some(wire.bytes()?);
        let mut broken = None;
        let entries = std::iter::from_fn(|| {
            let now = next.take()?;
            if same(field, wire).is_some() {
                match wire.bytes() {
                    Ok(entry) => next = Some(entry),
                    Err(error) => broken = Some(error),
                }
            }
            Some(now)
        });
        self.map(entry, entries)?;
        match broken {
            Some(error) => Err(error.into()),
            None => Ok(true),
        }
    }

    /// Writes a map; of entries with the same key the last one stays.
    pub(super) fn map<'w>(
        &mut self,
        (key, value): &(Field, Field),
        entries: impl Iterator<Item = &'w [u8]>,
    ) -> Written {
        self.enter()?;
        self.out.push(b'{');
        let (base, first) = (self.out.len(), self.entries.len());
        let mut sorted = true;
        for entry in entries {
            self.map_entry(key, value, entry, base)?;
            if let [.., before, last] = &self.entries[first..] {
                sorted &= self.key(before, base) < self.key(last, base);
            }
        }
        if !sorted {
            self.sort_entries(first, base);
        }
        self.entries.truncate(first);
        self.close(b'}');
        self.depth -= 1;
        Ok(())
    }

    fn key(&self, entry: &Entry, base: usize) -> &[u8] {
        &self.out[base + entry.start..base + entry.key_end]
    }

    fn map_entry(&mut self, key: &Field, value: &Field, entry: &[u8], base: usize) -> Written {
        let (key_at, value_at) = halves(key, value, entry)?;
        let start = self.out.len() - base;
        self.map_key(key, key_at)?;
        let key_end = self.out.len() - base;
        self.out.push(b':');
        match value_at {
            Some((bytes, wire_type)) => {
                self.value(value, &mut Wire(&bytes), wire_type)?;
            }
            None => self.map_default(value)?,
        }
        self.out.push(b',');
        self.entries.push(Entry { start, key_end, end: self.out.len() - base });
        Ok(())
    }

    /// A value that its entry leaves out.
    fn map_default(&mut self, value: &Field) -> Written {
        if let Some(place) = value.kind.message() {
            return self.message(self.plans.message(place), &[]);
        }
        self.default_of(value);
        Ok(())
    }

    fn map_key(&mut self, key: &Field, wire: Option<Wire<'_>>) -> Written {
        let Some(mut wire) = wire else {
            let default: &[u8] = match key.kind {
                Kind::String => b"\"\"",
                Kind::Bool => b"\"false\"",
                _ => b"\"0\"",
            };
            self.out.extend_from_slice(default);
            return Ok(());
        };
        if key.kind == Kind::String {
            return self.text(key, wire.bytes()?);
        }
        self.out.push(b'"');
        self.scalar(key.kind, true, &mut wire)?;
        self.out.push(b'"');
        Ok(())
    }

    /// Puts the entries of a map in order, the last one of each key.
    fn sort_entries(&mut self, first: usize, base: usize) {
        let mut entries = self.entries.split_off(first);
        // Stable: the last one of equal keys comes last.
        entries.sort_by(|a, b| self.key(a, base).cmp(self.key(b, base)));
        let unsorted = self.out.split_off(base);
        let key = |entry: &Entry| &unsorted[entry.start..entry.key_end];
        for (place, entry) in entries.iter().enumerate() {
            let is_last = entries.get(place + 1).is_none_or(|next| key(next) != key(entry));
            if is_last {
                self.out.extend_from_slice(&unsorted[entry.start..entry.end]);
            }
        }
    }
}

/// The value of an entry: its bytes from there on.
type Value<'w> = (Cow<'w, [u8]>, WireType);

/// Key and value of an entry, whatever their order; a message that comes in pieces is merged.
fn halves<'w>(
    key_field: &Field,
    value: &Field,
    entry: &'w [u8],
) -> Result<(Option<Wire<'w>>, Option<Value<'w>>), OutputError> {
    let mut wire = Wire(entry);
    let (mut key, mut found): (_, Option<Value<'w>>) = (None, None);
    while !wire.is_empty() {
        let (number, wire_type) = wire.tag()?;
        let before = wire;
        wire.skip(number, wire_type)?;
        let bytes = &before.0[..before.0.len() - wire.0.len()];
        match number {
            1 if super::fits(key_field, wire_type) => key = Some(before),
            2 if super::fits(value, wire_type) => {
                found = Some(match found {
                    Some(former) if value.kind.message().is_some() => pieces(&former, bytes)?,
                    _ => (Cow::Borrowed(bytes), wire_type),
                });
            }
            _ => {}
        }
    }
    Ok((key, found))
}

/// Two pieces of a message as one, with its length.
fn pieces<'w>((former, _): &Value<'_>, more: &[u8]) -> Result<Value<'w>, OutputError> {
    let mut whole = Vec::new();
    let start = crate::wire::begin(&mut whole);
    whole.extend_from_slice(Wire(former).bytes()?);
    whole.extend_from_slice(Wire(more).bytes()?);
    crate::wire::end(&mut whole, start);
    Ok((Cow::Owned(whole), WireType::Bytes))
}
