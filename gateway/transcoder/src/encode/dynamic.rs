//! Messages that hold any JSON: `google.protobuf.Value`, `Struct` and `ListValue`.

use super::{Encoder, Keys, TWICE};
use crate::json::{Fault, Read, Token, double, is_kept};
use crate::wire::{self, Tag, WireType};

/// Tags of the fields of `google.protobuf.Value`, one for each kind of JSON.
const NULL: u8 = 1 << 3;
const NUMBER: u8 = 2 << 3 | 1;
const TEXT: u8 = 3 << 3 | 2;
const BOOL: u8 = 4 << 3;
const STRUCT: u8 = 5 << 3 | 2;
const LIST: u8 = 6 << 3 | 2;

/// Tags of the only field of `Struct` and of `ListValue`, and of the fields of a map's entry.
const FIRST: u8 = 1 << 3 | 2;
const SECOND: u8 = 2 << 3 | 2;

impl Encoder<'_> {
    pub(super) fn dynamic_value(&mut self, token: Token) -> Read<()> {
        match token {
            Token::Null => {
                self.reader.null()?;
                self.out.extend_from_slice(&[NULL, 0]);
            }
            Token::Bool => {
                let value = self.reader.bool()?;
                self.out.extend_from_slice(&[BOOL, u8::from(value)]);
            }
            Token::Number => {
                let at = self.reader.at();
                let text = self.reader.number()?;
                let number =
                    double(text).ok_or_else(|| Fault::at(at, "is a number beyond all range"))?;
                if !is_kept(text, number) {
                    return Err(Fault::at(at, "is a number that cannot be kept exactly"));
                }
                self.out.push(NUMBER);
                self.out.extend_from_slice(&number.to_le_bytes());
            }
            Token::Text => {
                self.out.push(TEXT);
                let start = wire::begin(self.out);
                let text = self.reader.text()?;
                self.reader.append(text, self.out)?;
                wire::end(self.out, start);
            }
            Token::Object => {
                self.out.push(STRUCT);
                let start = wire::begin(self.out);
                self.dynamic_struct(token)?;
                wire::end(self.out, start);
            }
            Token::Array => {
                self.out.push(LIST);
                let start = wire::begin(self.out);
                self.dynamic_list(token)?;
                wire::end(self.out, start);
            }
        }
        Ok(())
    }

    pub(super) fn dynamic_struct(&mut self, token: Token) -> Read<()> {
        self.enter(token, Token::Object, "must be an object")?;
        let mut keys = Keys::default();
        let mut first = true;
        while let Some(name) = self.reader.name(&mut first)? {
            let entry_at = self.out.len();
            self.out.push(FIRST);
            let entry = wire::begin(self.out);
            self.out.push(FIRST);
            let key = wire::begin(self.out);
            self.reader.append(name, self.out)?;
            wire::end(self.out, key);
            let key_length = self.out.len() - entry;
            self.out.push(SECOND);
            let value = wire::begin(self.out);
            let token = self.reader.token()?;
            self.dynamic_value(token)?;
            wire::end(self.out, value);
            wire::end(self.out, entry);
            keys.push(name.at(), self.out.len(), key_length, entry_at);
        }
        if !self.plans.settings.merge_duplicates
            && let Some(at) = keys.twice(self.out, Tag::new(1, WireType::Bytes))
        {
            return Err(Fault::at(at, TWICE));
        }
        self.depth -= 1;
        Ok(())
    }

    pub(super) fn dynamic_list(&mut self, token: Token) -> Read<()> {
        self.enter(token, Token::Array, "must be an array")?;
        let mut first = true;
        while self.reader.element(&mut first)? {
            self.out.push(FIRST);
            let start = wire::begin(self.out);
            let token = self.reader.token()?;
            self.dynamic_value(token)?;
            wire::end(self.out, start);
        }
        self.depth -= 1;
        Ok(())
    }
}
