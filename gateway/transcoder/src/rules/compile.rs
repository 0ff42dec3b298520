//! Rules as options have them → tests.

use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, MessageDescriptor,
    ReflectMessage, Value,
};
use regex::Regex;

use super::test::{IntegerTest, Test, TextTest};
use super::{Check, Rules};
use crate::schema::{Field, Kind, Label, Plan};

/// Number of the extensions that hold rules, of messages, fields and oneofs alike.
const NUMBER: u32 = 1159;

/// A rule is not one of those that are known here.
struct Unknown;

/// The rules of all messages of a pool.
pub(crate) fn compile(pool: &DescriptorPool, plans: &[Plan]) -> Vec<Rules> {
    let compiler = Compiler {
        field: pool.get_extension_by_name("buf.validate.field"),
        message: pool.get_extension_by_name("buf.validate.message"),
        oneof: pool.get_extension_by_name("buf.validate.oneof"),
    };
    let own: Vec<_> = plans.iter().map(|plan| compiler.message(plan).ok()).collect();
    let bound = bound(plans, &own);
    let rules = plans.iter().zip(own).zip(&bound).map(|((plan, own), is_bound)| match own {
        _ if !is_bound => Rules::Free,
        None => Rules::Unknown,
        Some(own) => {
            Rules::Known(own.into_iter().filter_map(|own| own.check(plan, &bound)).collect())
        }
    });
    rules.collect()
}

/// Which messages have rules, or hold messages that have.
fn bound(plans: &[Plan], own: &[Option<Vec<Own>>]) -> Vec<bool> {
    let has =
        |own: &Option<Vec<Own>>| own.as_ref().is_none_or(|own| own.iter().any(|own| own.states));
    let mut bound: Vec<_> = own.iter().map(has).collect();
    loop {
        let mut grew = false;
        for (place, own) in own.iter().enumerate().filter(|(_, own)| own.is_some()) {
            let below = |own: &Own| {
                !own.ignored && own.below(&plans[place]).is_some_and(|to| bound[to as usize])
            };
            if !bound[place] && own.iter().flatten().any(below) {
                bound[place] = true;
                grew = true;
            }
        }
        if !grew {
            return bound;
        }
    }
}

/// What is written on one field.
#[expect(clippy::struct_excessive_bools, reason = "each is a rule of its own")]
struct Own {
    place: usize,
    /// Whether anything is.
    states: bool,
    /// Whether the rules of the messages in it are not asked for.
    ignored: bool,
    required: bool,
    if_zero: bool,
    test: Test,
    sizes: (u64, u64),
}

impl Own {
    /// The plan of the messages that the field holds.
    fn below(&self, plan: &Plan) -> Option<u32> {
        let field = &plan.fields[self.place];
        match &field.label {
            Label::Map(entry) => entry.1.kind.message(),
            _ => field.kind.message(),
        }
    }

    fn check(self, plan: &Plan, bound: &[bool]) -> Option<Check> {
        let nested = self.below(plan).filter(|place| bound[*place as usize] && !self.ignored);
        if !self.states && nested.is_none() {
            return None;
        }
        let field = &plan.fields[self.place];
        Some(Check {
            number: field.number,
            place: self.place,
            admits_absence: self.admits_absence(field),
            test: self.test,
            sizes: self.sizes,
            nested,
        })
    }

    /// A field that knows no presence is tested with its default when it is absent.
    fn admits_absence(&self, field: &Field) -> bool {
        if self.required {
            return false;
        }
        if field.presence || self.if_zero {
            return true;
        }
        match &field.label {
            Label::List { .. } | Label::Map(_) => {
                self.sizes.0 == 0 && !matches!(self.test, Test::Unknown)
            }
            Label::One => self.test.admits_default(field.kind),
        }
    }
}

impl Test {
    /// Whether a default surely holds.
    fn admits_default(&self, kind: Kind) -> bool {
        match self {
            Self::Any => true,
            Self::Bytes { min, .. } => *min == 0,
            Self::Float { above, below } => {
                (above.0 < 0.0 || (above.1 && above.0 <= 0.0))
                    && (below.0 > 0.0 || (below.1 && below.0 >= 0.0))
            }
            Self::Integer(test) => {
                // Of an enum, the zero is defined: proto3 asks for it.
                (test.min..=test.max).contains(&0)
                    && (test.among.is_empty() || test.among.contains(&0))
                    && !test.not_among.contains(&0)
                    && kind.message().is_none()
            }
            Self::Text(tests) => tests.iter().all(|test| match test {
                TextTest::Length(min, _) | TextTest::Bytes(min, _) => *min == 0,
                TextTest::Pattern(pattern) => pattern.is_match(""),
                TextTest::In(among) => among.iter().any(String::is_empty),
                TextTest::NotIn(among) => among.iter().all(|one| !one.is_empty()),
                TextTest::Prefix(_) | TextTest::Suffix(_) | TextTest::Form(_) => false,
            }),
            Self::Entry(_) | Self::Unknown => false,
        }
    }
}

struct Compiler {
    field: Option<ExtensionDescriptor>,
    message: Option<ExtensionDescriptor>,
    oneof: Option<ExtensionDescriptor>,
}

impl Compiler {
    fn message(&self, plan: &Plan) -> Result<Vec<Own>, Unknown> {
        let descriptor: &MessageDescriptor = &plan.descriptor;
        if rules(self.message.as_ref(), &descriptor.options())?.is_some() {
            return Err(Unknown);
        }
        for oneof in descriptor.oneofs() {
            if rules(self.oneof.as_ref(), &oneof.options())?.is_some() {
                return Err(Unknown);
            }
        }
        let fields = plan.fields.iter().enumerate();
        let fields = fields.map(|(place, field)| match descriptor.get_field(field.number) {
            Some(own) => self.field(place, field, &own),
            None => Own::free(place),
        });
        Ok(fields.collect())
    }

    fn field(&self, place: usize, field: &Field, descriptor: &FieldDescriptor) -> Own {
        let mut own = Own::free(place);
        let rules = match rules(self.field.as_ref(), &descriptor.options()) {
            Ok(None) => return own,
            Ok(Some(rules)) if !descriptor.is_required() => rules,
            Ok(Some(_)) | Err(Unknown) => return Own { states: true, test: Test::Unknown, ..own },
        };
        own.states = true;
        let mut known = true;
        for (rule, value) in rules.fields() {
            match (rule.name(), value) {
                ("required", Value::Bool(required)) => own.required = *required,
                ("ignore", Value::EnumNumber(1)) => own.if_zero = true,
                ("ignore", Value::EnumNumber(3)) => {
                    return Own { ignored: true, ..Own::free(place) };
                }
                ("repeated", Value::Message(rules)) => known &= own.list(field, rules).is_ok(),
                ("map", Value::Message(rules)) => known &= own.map(field, rules).is_ok(),
                (name, Value::Message(rules)) if field.is_one() => {
                    own.test = test(field.kind, name, rules).unwrap_or(Test::Unknown);
                }
                _ => known = false,
            }
        }
        if !known {
            own.test = Test::Unknown;
        }
        own
    }
}

impl Own {
    fn free(place: usize) -> Self {
        Self {
            place,
            states: false,
            ignored: false,
            required: false,
            if_zero: false,
            test: Test::Any,
            sizes: (0, u64::MAX),
        }
    }

    fn list(&mut self, field: &Field, rules: &DynamicMessage) -> Result<(), Unknown> {
        let mut unique = false;
        for (rule, value) in known(rules)? {
            match (rule.name(), value) {
                ("min_items", Value::U64(min)) => self.sizes.0 = *min,
                ("max_items", Value::U64(max)) => self.sizes.1 = *max,
                ("items", Value::Message(rules)) => self.test = item(field.kind, rules)?,
                ("unique", Value::Bool(true)) => unique = true,
                _ => return Err(Unknown),
            }
        }
        if unique {
            // One element is unique; more are not so simple.
            self.sizes.1 = self.sizes.1.min(1);
        }
        Ok(())
    }

    fn map(&mut self, field: &Field, rules: &DynamicMessage) -> Result<(), Unknown> {
        let Label::Map(entry) = &field.label else { return Err(Unknown) };
        let mut tests = (Test::Any, Test::Any);
        for (rule, value) in known(rules)? {
            match (rule.name(), value) {
                ("min_pairs", Value::U64(min)) => self.sizes.0 = *min,
                ("max_pairs", Value::U64(max)) => self.sizes.1 = *max,
                ("keys", Value::Message(rules)) => tests.0 = item(entry.0.kind, rules)?,
                ("values", Value::Message(rules)) => tests.1 = item(entry.1.kind, rules)?,
                _ => return Err(Unknown),
            }
        }
        self.test = Test::Entry(Box::new(tests));
        Ok(())
    }
}

/// The rules that `options` hold.
fn rules(
    extension: Option<&ExtensionDescriptor>,
    options: &DynamicMessage,
) -> Result<Option<DynamicMessage>, Unknown> {
    if options.unknown_fields().any(|field| field.number() == NUMBER) {
        return Err(Unknown);
    }
    let Some(extension) = extension else { return Ok(None) };
    if !options.has_extension(extension) {
        return Ok(None);
    }
    let rules = options.get_extension(extension).as_message().cloned().ok_or(Unknown)?;
    drop(known(&rules)?);
    Ok(Some(rules))
}

/// The fields of rules; unknown if they are extended.
fn known(
    rules: &DynamicMessage,
) -> Result<impl Iterator<Item = (FieldDescriptor, &Value)>, Unknown> {
    if rules.extensions().next().is_some() || rules.unknown_fields().next().is_some() {
        return Err(Unknown);
    }
    // Examples are for people.
    Ok(rules.fields().filter(|(rule, _)| rule.name() != "example"))
}

/// The test of an element, key or value.
fn item(kind: Kind, rules: &DynamicMessage) -> Result<Test, Unknown> {
    let mut found = Test::Any;
    for (rule, value) in known(rules)? {
        let Value::Message(rules) = value else { return Err(Unknown) };
        found = test(kind, rule.name(), rules)?;
    }
    Ok(found)
}

/// The test of a single value; `name` is the kind that the rules are for.
fn test(kind: Kind, name: &str, rules: &DynamicMessage) -> Result<Test, Unknown> {
    match (name, kind) {
        ("string", Kind::String) => text(rules),
        ("bytes", Kind::Bytes) => bytes(rules),
        ("enum", Kind::Enum(place)) => integer(rules, Some(place)),
        ("float", Kind::Float) | ("double", Kind::Double) => float(rules),
        (
            "int32" | "int64" | "uint32" | "uint64" | "sint32" | "sint64" | "fixed32" | "fixed64"
            | "sfixed32" | "sfixed64" | "bool",
            kind,
        ) if kind.message().is_none() => integer(rules, None),
        ("duration", Kind::Message(_)) => integer(rules, None),
        _ => Err(Unknown),
    }
}

fn text(rules: &DynamicMessage) -> Result<Test, Unknown> {
    let mut tests = Vec::new();
    for (rule, value) in known(rules)? {
        tests.push(match (rule.name(), value) {
            ("const", Value::String(text)) => TextTest::In(vec![text.clone()]),
            ("len", Value::U64(length)) => TextTest::Length(*length, *length),
            ("min_len", Value::U64(min)) => TextTest::Length(*min, u64::MAX),
            ("max_len", Value::U64(max)) => TextTest::Length(0, *max),
            ("len_bytes", Value::U64(length)) => TextTest::Bytes(*length, *length),
            ("min_bytes", Value::U64(min)) => TextTest::Bytes(*min, u64::MAX),
            ("max_bytes", Value::U64(max)) => TextTest::Bytes(0, *max),
            ("pattern", Value::String(pattern)) => {
                TextTest::Pattern(Regex::new(pattern).map_err(|_| Unknown)?)
            }
            ("prefix", Value::String(prefix)) => TextTest::Prefix(prefix.clone()),
            ("suffix", Value::String(suffix)) => TextTest::Suffix(suffix.clone()),
            ("in", Value::List(among)) => TextTest::In(strings(among)?),
            ("not_in", Value::List(among)) => TextTest::NotIn(strings(among)?),
            (form, Value::Bool(true)) => TextTest::form(form).ok_or(Unknown)?,
            _ => return Err(Unknown),
        });
    }
    Ok(Test::Text(tests))
}

fn strings(texts: &[Value]) -> Result<Vec<String>, Unknown> {
    texts.iter().map(|text| text.as_str().map(ToOwned::to_owned).ok_or(Unknown)).collect()
}

fn bytes(rules: &DynamicMessage) -> Result<Test, Unknown> {
    let (mut min, mut max) = (0, u64::MAX);
    for (rule, value) in known(rules)? {
        match (rule.name(), value) {
            ("len", Value::U64(length)) => (min, max) = (*length, *length),
            ("min_len", Value::U64(length)) => min = *length,
            ("max_len", Value::U64(length)) => max = *length,
            _ => return Err(Unknown),
        }
    }
    Ok(Test::Bytes { min, max })
}

fn integer(rules: &DynamicMessage, enumeration: Option<u32>) -> Result<Test, Unknown> {
    let mut test = IntegerTest {
        min: i128::MIN,
        max: i128::MAX,
        among: Vec::new(),
        not_among: Vec::new(),
        defined: None,
    };
    for (rule, value) in known(rules)? {
        match rule.name() {
            "const" => (test.min, test.max) = (number(value)?, number(value)?),
            "gt" => test.min = number(value)? + 1,
            "gte" => test.min = number(value)?,
            "lt" => test.max = number(value)? - 1,
            "lte" => test.max = number(value)?,
            "in" => test.among = numbers(value)?,
            "not_in" => test.not_among = numbers(value)?,
            "defined_only" => test.defined = enumeration.filter(|_| value.as_bool() == Some(true)),
            _ => return Err(Unknown),
        }
    }
    // Bounds the other way round mean what is outside of them.
    if test.min > test.max { Err(Unknown) } else { Ok(Test::Integer(test)) }
}

fn number(value: &Value) -> Result<i128, Unknown> {
    Ok(match value {
        Value::I32(value) | Value::EnumNumber(value) => i128::from(*value),
        Value::I64(value) => i128::from(*value),
        Value::U32(value) => i128::from(*value),
        Value::U64(value) => i128::from(*value),
        Value::Bool(value) => i128::from(*value),
        Value::Message(duration) if duration.descriptor().name() == "Duration" => {
            let part = |name| {
                duration
                    .get_field_by_name(name)
                    .and_then(|value| value.as_i64().or_else(|| value.as_i32().map(i64::from)))
            };
            let (seconds, nanos) = (part("seconds"), part("nanos"));
            i128::from(seconds.ok_or(Unknown)?) * 1_000_000_000 + i128::from(nanos.ok_or(Unknown)?)
        }
        _ => return Err(Unknown),
    })
}

fn numbers(value: &Value) -> Result<Vec<i128>, Unknown> {
    value.as_list().ok_or(Unknown)?.iter().map(number).collect()
}

fn float(rules: &DynamicMessage) -> Result<Test, Unknown> {
    let (mut above, mut below) = ((f64::NEG_INFINITY, true), (f64::INFINITY, true));
    for (rule, value) in known(rules)? {
        let bound = value.as_f64().or_else(|| value.as_f32().map(f64::from));
        match (rule.name(), bound) {
            ("gt", Some(bound)) => above = (bound, false),
            ("gte", Some(bound)) => above = (bound, true),
            ("lt", Some(bound)) => below = (bound, false),
            ("lte", Some(bound)) => below = (bound, true),
            ("finite", None) => {
                above = (above.0.max(f64::MIN), above.1);
                below = (below.0.min(f64::MAX), below.1);
            }
            _ => return Err(Unknown),
        }
    }
    if above.0 >= below.0 { Err(Unknown) } else { Ok(Test::Float { above, below }) }
}
