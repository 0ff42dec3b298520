//! A strict reader of JSON tokens (RFC 8259).

use std::borrow::Cow;
use std::num::NonZeroU64;

use super::{Fault, Read};

/// One value, as far as its first byte tells. The reader stands before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Token {
    Null,
    Bool,
    Number,
    Text,
    Array,
    Object,
}

/// Where a string is in its document, and whether it is spelled otherwise than it reads: packed
/// in one word, which readers hand on in a register. From the top: the byte after its quote, its
/// length, the flag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text(NonZeroU64);

/// Reads a document from the front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'j> {
    json: &'j [u8],
    at: usize,
}

impl<'j> Reader<'j> {
    pub(crate) fn new(json: &'j [u8]) -> Self {
        Self { json, at: 0 }
    }

    /// How far the document was read.
    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Steps over white space; the byte that follows, not yet taken.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.json.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// What follows.
    #[inline]
    pub(crate) fn token(&mut self) -> Read<Token> {
        Ok(match self.peek() {
            Some(b'"') => Token::Text,
            Some(b'-' | b'0'..=b'9') => Token::Number,
            Some(b'{') => Token::Object,
            Some(b'[') => Token::Array,
            Some(b't' | b'f') => Token::Bool,
            Some(b'n') => Token::Null,
            _ => return Err(Fault::syntax(self.at)),
        })
    }

    /// Nothing may follow but white space.
    pub(crate) fn end(&mut self) -> Read<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(Fault::syntax(self.at)),
        }
    }

    /// Takes the bracket that [`Self::token`] saw.
    #[inline]
    pub(crate) fn open(&mut self) {
        self.at += 1;
    }

    /// The next name of an object and its colon; `None` after the last one, the brace taken.
    #[inline]
    pub(crate) fn name(&mut self, first: &mut bool) -> Read<Option<Text>> {
        if !self.next(b'}', first)? {
            return Ok(None);
        }
        if self.peek() != Some(b'"') {
            return Err(Fault::syntax(self.at));
        }
        let name = self.text()?;
        if self.peek() != Some(b':') {
            return Err(Fault::syntax(self.at));
        }
        self.at += 1;
        Ok(Some(name))
    }

    /// Whether an array has one more element; if not, its bracket is taken.
    #[inline]
    pub(crate) fn element(&mut self, first: &mut bool) -> Read<bool> {
        self.next(b']', first)
    }

    #[inline]
    fn next(&mut self, close: u8, first: &mut bool) -> Read<bool> {
        match self.peek() {
            Some(byte) if byte == close => {
                self.at += 1;
                return Ok(false);
            }
            Some(b',') if !*first => self.at += 1,
            Some(_) if *first => {}
            _ => return Err(Fault::syntax(self.at)),
        }
        *first = false;
        Ok(true)
    }

    /// Takes `null`.
    #[inline]
    pub(crate) fn null(&mut self) -> Read<()> {
        self.literal(b"null")
    }

    /// Takes `true` or `false`.
    #[inline]
    pub(crate) fn bool(&mut self) -> Read<bool> {
        if self.json.get(self.at) == Some(&b't') {
            return self.literal(b"true").map(|()| true);
        }
        self.literal(b"false").map(|()| false)
    }

    #[inline]
    fn literal(&mut self, literal: &[u8]) -> Read<()> {
        let rest = &self.json[self.at..];
        if rest.starts_with(literal) {
            self.at += literal.len();
            return Ok(());
        }
        let same = rest.iter().zip(literal).take_while(|(a, b)| a == b).count();
        Err(Fault::syntax(self.at + same))
    }

    /// Takes a number, as it is spelled.
    #[inline]
    pub(crate) fn number(&mut self) -> Read<&'j [u8]> {
        let rest = &self.json[self.at..];
        match number_length(rest) {
            Ok(length) => {
                self.at += length;
                Ok(&rest[..length])
            }
            Err(length) => Err(Fault::syntax(self.at + length)),
        }
    }

    /// Takes a string.
    #[inline]
    pub(crate) fn text(&mut self) -> Read<Text> {
        let start = self.at + 1;
        let mut escaped = false;
        let mut high = 0;
        let mut end = start;
        loop {
            end += plain_length(&self.json[end..], &mut high);
            match self.json.get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    end += escape_length(&self.json[end..]).map_err(|n| Fault::syntax(end + n))?;
                }
                _ => return Err(Fault::syntax(end)),
            }
        }
        let raw = &self.json[start..end];
        if high & 0x80 != 0
            && let Err(error) = std::str::from_utf8(raw)
        {
            return Err(Fault::syntax(start + error.valid_up_to()));
        }
        self.at = end + 1;
        Text::new(start, end - start, escaped).ok_or_else(|| Fault::syntax(start))
    }

    /// A string as it is spelled: UTF-8 without its quotes, escapes not yet resolved.
    #[inline]
    pub(crate) fn raw(&self, text: Text) -> &'j [u8] {
        &self.json[text.start()..text.start() + text.length()]
    }

    /// A string itself. Fails for a lone surrogate, which is no Unicode.
    pub(crate) fn resolved(&self, text: Text) -> Read<Cow<'j, [u8]>> {
        let raw = self.raw(text);
        if !text.is_escaped() {
            return Ok(Cow::Borrowed(raw));
        }
        let mut resolved = Vec::with_capacity(raw.len());
        self.append(text, &mut resolved)?;
        Ok(Cow::Owned(resolved))
    }

    /// Appends a string itself.
    #[inline]
    pub(crate) fn append(&self, text: Text, out: &mut Vec<u8>) -> Read<()> {
        if !text.is_escaped() {
            out.extend_from_slice(self.raw(text));
            return Ok(());
        }
        resolve(self.raw(text), out).ok_or_else(|| Fault::at(text.at(), "must be Unicode text"))
    }

    /// Steps over a value, however deep it nests.
    pub(crate) fn skip(&mut self) -> Read<()> {
        let mut open: Vec<bool> = Vec::new();
        loop {
            match self.token()? {
                Token::Null => self.null()?,
                Token::Bool => drop(self.bool()?),
                Token::Number => drop(self.number()?),
                Token::Text => drop(self.text()?),
                token @ (Token::Array | Token::Object) => {
                    self.open();
                    let is_object = token == Token::Object;
                    open.push(is_object);
                    if self.enter(is_object, true)? {
                        continue;
                    }
                    open.pop();
                }
            }
            loop {
                let Some(&is_object) = open.last() else { return Ok(()) };
                if self.enter(is_object, false)? {
                    break;
                }
                open.pop();
            }
        }
    }

    /// Stands before the next value of an array or object; false when it has no more.
    fn enter(&mut self, is_object: bool, mut first: bool) -> Read<bool> {
        if is_object {
            return self.name(&mut first).map(|name| name.is_some());
        }
        self.element(&mut first)
    }
}

impl Text {
    /// None in a document of more than two gigabytes.
    #[inline]
    fn new(start: usize, length: usize, escaped: bool) -> Option<Self> {
        let (start, length) = (start as u64, length as u64);
        if start > u64::from(u32::MAX >> 1) || length > u64::from(u32::MAX >> 1) {
            return None;
        }
        NonZeroU64::new(start << 32 | length << 1 | u64::from(escaped)).map(Self)
    }

    /// Where it begins, with its quote.
    #[inline]
    pub(crate) fn at(self) -> usize {
        self.start() - 1
    }

    #[inline]
    fn start(self) -> usize {
        (self.0.get() >> 32) as usize
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    fn length(self) -> usize {
        (self.0.get() as u32 >> 1) as usize
    }

    /// Whether it is spelled otherwise than it reads.
    #[inline]
    pub(crate) fn is_escaped(self) -> bool {
        self.0.get() & 1 == 1
    }
}

/// Resolves the escapes of a string that [`Reader::text`] has read.
fn resolve(mut raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    while let Some(at) = raw.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(&raw[..at]);
        let escape = *raw.get(at + 1)?;
        raw = &raw[at + 2..];
        out.push(match escape {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let character = unicode(&mut raw)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            plain => plain,
        });
    }
    out.extend_from_slice(raw);
    Some(())
}

/// The character of one or two `\u` escapes; none for half of a pair.
fn unicode(raw: &mut &[u8]) -> Option<char> {
    let first = hex(raw.get(..4)?)?;
    *raw = &raw[4..];
    if !(0xd800..0xe000).contains(&first) {
        return char::from_u32(first);
    }
    let second = hex(raw.strip_prefix(b"\\u")?.get(..4)?)?;
    if first >= 0xdc00 || !(0xdc00..0xe000).contains(&second) {
        return None;
    }
    *raw = &raw[6..];
    char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

/// Length of an escape; the error is where it goes wrong.
fn escape_length(text: &[u8]) -> Result<usize, usize> {
    match text.get(1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
        Some(b'u') => {
            let digits = text[2..].iter().take(4).take_while(|byte| byte.is_ascii_hexdigit());
            match digits.count() {
                4 => Ok(6),
                some => Err(2 + some),
            }
        }
        _ => Err(1),
    }
}

/// Length of what comes before a quote, a backslash or a control character. `high` collects the
/// bits of all bytes.
#[inline]
pub(super) fn plain_length(text: &[u8], high: &mut u8) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut length = 0;
    let mut rest = text;
    // Eight bytes at a time, until one of them may be special.
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let quote = zeros(word ^ (ONES * u64::from(b'"')));
        let backslash = zeros(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let special = quote | backslash | control;
        if special != 0 {
            let before = (special.trailing_zeros() / 8) as usize;
            let mask = (1_u64 << (8 * before)) - 1;
            *high |= if word & mask & HIGHS == 0 { 0 } else { 0x80 };
            return length + before;
        }
        *high |= if word & HIGHS == 0 { 0 } else { 0x80 };
        length += 8;
        rest = after;
    }
    for &byte in rest {
        if byte == b'"' || byte == b'\\' || byte < 0x20 {
            break;
        }
        *high |= byte;
        length += 1;
    }
    length
}

/// Length of the number that `text` begins with; the error is where it goes wrong.
#[inline]
pub(super) fn number_length(text: &[u8]) -> Result<usize, usize> {
    let digits = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(text.first() == Some(&b'-'));
    at += match text.get(at) {
        Some(b'0') => 1,
        Some(b'1'..=b'9') => digits(at),
        _ => return Err(at),
    };
    if text.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return Err(at + 1);
        }
        at += 1 + fraction;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        at += 1 + usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at);
        if exponent == 0 {
            return Err(at);
        }
        at += exponent;
    }
    Ok(at)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn skipped(json: &[u8]) -> Result<(), usize> {
        let mut reader = Reader::new(json);
        let read = reader.skip().and_then(|()| reader.end());
        read.map_err(|fault| fault.place())
    }

    #[test]
    fn what_rfc_8259_admits_is_read() {
        for json in [
            "null",
            " true ",
            "false\n",
            "0",
            "-0",
            "-0.5e-7",
            "1E+9",
            "12345678901234567890123456789",
            "\"\"",
            "\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
            "\"\u{7f}São \u{1f30e}\"",
            "[]",
            "[1,[2,[]],{}]",
            "{\"a\":{\"b\":[null]},\"\":1}",
            "\r\n\t [ 1 , 2 ] ",
        ] {
            assert_eq!(skipped(json.as_bytes()), Ok(()), "{json}");
        }
    }

    #[test]
    fn what_it_does_not_admit_is_refused_where_it_stands() {
        let table: &[(&[u8], usize)] = &[
            (b"", 0),
            (b"tru", 3),
            (b"nulL", 3),
            (b"+1", 0),
            (b"01", 1),
            (b"1.", 2),
            (b".5", 0),
            (b"1e", 2),
            (b"-", 1),
            (b"0x10", 1),
            (b"NaN", 0),
            (b"'a'", 0),
            (b"\"a", 2),
            (b"\"\x01\"", 1),
            (b"\"abcdefgh\nij\"", 9),
            (b"\"\\x\"", 2),
            (b"\"\\u12g4\"", 5),
            (b"\"abc\xffd\"", 4),
            (b"\"\xc0\xaf\"", 1),
            (b"\"\xed\xa0\x80\"", 1),
            (b"[1,]", 3),
            (b"[,1]", 1),
            (b"[1 2]", 3),
            (b"[1", 2),
            (b"{\"a\":1,}", 7),
            (b"{\"a\" 1}", 5),
            (b"{a:1}", 1),
            (b"{\"a\":}", 5),
            (b"{} x", 3),
            (b"\xef\xbb\xbf1", 0),
            (b"/* */1", 0),
        ];
        for (json, at) in table {
            assert_eq!(skipped(json), Err(*at), "{}", String::from_utf8_lossy(json));
        }
    }

    #[test]
    fn escapes_become_the_text_they_stand_for() {
        let resolved = |json: &str| {
            let mut reader = Reader::new(json.as_bytes());
            let text = reader.text().unwrap();
            reader.resolved(text).map(|text| String::from_utf8(text.into_owned()).unwrap()).ok()
        };
        for (json, expected) in [
            (r#""plain""#, Some("plain")),
            (r#""\"\\\/\b\f\n\r\t""#, Some("\"\\/\u{8}\u{c}\n\r\t")),
            (r#""a\u00e9b\u20AC""#, Some("aéb€")),
            (r#""\ud83c\udf0e!""#, Some("\u{1f30e}!")),
            (r#""\u0000""#, Some("\0")),
            (r#""\ud83c""#, None),
            (r#""\udf0e""#, None),
            (r#""\ud83cx""#, None),
            (r#""\ud83c\n""#, None),
            (r#""\ud83c\ud83c""#, None),
            (r#""\udf0e\ud83c""#, None),
        ] {
            assert_eq!(resolved(json).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn nesting_costs_no_stack() {
        let deep = format!("{}1{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert_eq!(skipped(deep.as_bytes()), Ok(()));
        assert_eq!(skipped("[{\"a\":".repeat(1_000_000).as_bytes()), Err(6_000_000));
    }

    /// Each special byte at each place of the words that are scanned at once.
    #[test]
    fn special_bytes_are_seen_wherever_they_stand() {
        for special in [b'"', b'\\', b'\n', 0, 0x1f] {
            for place in 0..20 {
                let mut text = vec![b'x'; 24];
                text[place] = special;
                assert_eq!(plain_length(&text, &mut 0), place, "{special} at {place}");
            }
        }
        for plain in [b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xff] {
            let mut high = 0;
            assert_eq!(plain_length(&[plain; 19], &mut high), 19, "{plain}");
            assert_eq!(high & 0x80, plain & 0x80);
        }
    }
}
