//! What HTTP brings → the bytes of a request message.

use std::borrow::Cow;
use std::sync::Arc;

use ::http::Method;
use prost_reflect::MethodDescriptor;
use smallvec::SmallVec;

use super::parameter::{EXCLUDED, Relation, UNKNOWN, Way};
use super::rule::{HttpRule, RuleError};
use super::template::Template;
use super::{HTTP_BODY, percent};
use crate::encode::{Encoder, Guard, SET_BY_PATH, TWICE, names_given};
use crate::error::{FieldError, InputError};
use crate::rules;
use crate::schema::{Field, Plan, Plans, Schema, Shape};
use crate::wire::{self, Tag, WireType};

/// Field of a request that says what a PATCH changes.
const UPDATE_MASK: &str = "update_mask";

/// What HTTP brings for one request.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a, V> {
    /// The values of the template's variables, in their order, decoded.
    pub path: &'a [V],
    /// The query, encoded as it came.
    pub query: &'a str,
    /// The `Content-Type`; only asked for where the body is taken as it is.
    pub content_type: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// Makes the messages of requests, for one rule of one method.
#[derive(Debug)]
pub struct Request {
    plans: Arc<Plans>,
    /// Plan of the request message.
    place: u32,
    variables: Vec<Way>,
    /// The fields that the variables set.
    guard: Guard,
    body: Body,
    /// Place of the `FieldMask` that a PATCH without one gets.
    update_mask: Option<usize>,
}

/// What the body of a request is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Body {
    /// There is none.
    None,
    /// The request message.
    Whole,
    /// The request message, which is a body as it is.
    WholeRaw,
    /// The field at this place.
    Field(usize),
    /// The field at this place, which is a body as it is.
    FieldRaw(usize),
}

impl Body {
    fn field(self) -> Option<usize> {
        match self {
            Self::Field(place) | Self::FieldRaw(place) => Some(place),
            _ => None,
        }
    }
}

impl Request {
    /// Plans a rule of `method`.
    pub fn new(
        schema: &Schema,
        method: &MethodDescriptor,
        rule: &HttpRule,
    ) -> Result<Self, RuleError> {
        let plans = Arc::clone(&schema.0);
        let faulty = |fault: String| RuleError::new(method, fault);
        let template = Template::parse(&rule.template).map_err(|fault| faulty(fault.to_owned()))?;
        let input = method.input();
        let place = plans
            .place_of(input.full_name())
            .ok_or_else(|| faulty(format!("{} is not in the schema", input.full_name())))?;
        let variables = variables(&plans, place, &template).map_err(faulty)?;
        let body = body(&plans, plans.message(place), &rule.body).map_err(faulty)?;
        let mut guard = Guard::default();
        for way in &variables {
            guard.add(&way.steps(&plans));
        }
        let patches = rule.verb == Some(Method::PATCH) && matches!(body, Body::Field(_));
        let update_mask = update_mask(&plans, plans.message(place)).filter(|_| patches);
        Ok(Self { plans, place, variables, guard, body, update_mask })
    }

    /// Appends the bytes of the request message to `wire`, and checks its rules.
    pub fn encode<V: AsRef<str>>(
        &self,
        input: &Input<'_, V>,
        wire: &mut Vec<u8>,
    ) -> Result<(), InputError> {
        let start = wire.len();
        let body_given = self.encode_body(input, wire)?;
        let masked = self.encode_query(input.query, body_given, wire)?;
        for (way, text) in self.variables.iter().zip(input.path) {
            way.write(&self.plans, None, text.as_ref(), wire)
                .map_err(|description| FieldError::new(way.shown(&self.plans), description))?;
        }
        if !masked {
            self.infer_mask(input.body, wire)?;
        }
        rules::check(&self.plans, self.place, &wire[start..]).map_err(|error| match error {
            InputError::Fields(mut errors) => {
                for error in &mut errors {
                    error.field = self.shown_path(&error.field);
                }
                InputError::Fields(errors)
            }
            error => error,
        })
    }

    /// Whether the body is taken as it is (`google.api.HttpBody`), whatever its type.
    pub fn takes_raw(&self) -> bool {
        matches!(self.body, Body::WholeRaw | Body::FieldRaw(_))
    }

    /// A field's path as the client knows it: in JSON names, and from the root of the body.
    pub fn shown_path(&self, path: &str) -> String {
        let mut plan = Some(self.plan());
        let mut shown = Vec::new();
        for part in split_outside_brackets(path) {
            let (name, index) = part.split_at(part.find('[').unwrap_or(part.len()));
            let field = plan.and_then(|plan| plan.field(name));
            let name = field.map_or(name, |field| &field.json_name);
            shown.push(format!("{name}{index}"));
            plan = field.and_then(|field| self.below(field));
        }
        let root = self.body.field().map(|place| &self.plan().fields[place].json_name);
        let in_body = shown.len() > 1 && root.is_some_and(|root| shown[0] == **root);
        shown[usize::from(in_body)..].join(".")
    }

    /// Whether a query parameter is never to be logged.
    pub fn is_sensitive_parameter(&self, name: &str) -> bool {
        let name = name.split('[').next().unwrap_or_default();
        let way = Way::find(&self.plans, self.place, name);
        way.is_ok_and(|way| way.fields(&self.plans).any(|field| field.sensitive))
    }

    /// Whether a path variable is never to be logged, by its place in the template.
    pub fn is_sensitive_variable(&self, place: usize) -> bool {
        let way = self.variables.get(place);
        way.is_some_and(|way| way.fields(&self.plans).any(|field| field.sensitive))
    }

    fn plan(&self) -> &Plan {
        self.plans.message(self.place)
    }

    /// The plan of the messages that a field holds.
    fn below(&self, field: &Field) -> Option<&Plan> {
        let kind = match &field.label {
            crate::schema::Label::Map(entry) => entry.1.kind,
            _ => field.kind,
        };
        kind.message().map(|place| self.plans.message(place))
    }

    /// Whether the body gave something.
    fn encode_body<V>(&self, input: &Input<'_, V>, wire: &mut Vec<u8>) -> Result<bool, InputError> {
        let Input { body, content_type, .. } = *input;
        match self.body {
            Body::WholeRaw => write_raw(content_type, body, wire),
            Body::FieldRaw(place) => {
                self.plan().fields[place].tag.write(wire);
                let start = wire::begin(wire);
                write_raw(content_type, body, wire);
                wire::end(wire, start);
            }
            _ if body.is_empty() => return Ok(false),
            Body::None => return Err(InputError::UnexpectedBody),
            Body::Whole => {
                Encoder::new(&self.plans, body, wire).document(self.place, Some(&self.guard))?;
            }
            Body::Field(place) => {
                let encoder = Encoder::new(&self.plans, body, wire);
                return encoder.field_document(self.plan(), place, &self.guard);
            }
        }
        Ok(true)
    }

    /// Whether the query gave the mask of an update.
    fn encode_query(
        &self,
        query: &str,
        body_given: bool,
        wire: &mut Vec<u8>,
    ) -> Result<bool, InputError> {
        let mut given = SmallVec::<[(Way, Option<Cow<'_, str>>); 8]>::new();
        let mut masked = false;
        for (name, value) in percent::pairs(query) {
            let malformed = |_| InputError::MalformedQuery;
            let name = percent::decode_query(name).map_err(malformed)?;
            let value = percent::decode_query(value).map_err(malformed)?;
            let refused = |description: &str| -> InputError {
                FieldError::new(shortened(&name), description).into()
            };
            let (path, key) = match name.split_once('[') {
                Some((path, key)) => {
                    (path, Some(key.strip_suffix(']').ok_or_else(|| refused(UNKNOWN))?))
                }
                None => (&*name, None),
            };
            let way = match Way::find(&self.plans, self.place, path) {
                Ok(way) if !matches!(self.body, Body::Whole | Body::WholeRaw) => way,
                _ if self.plans.settings.ignore_unknown => continue,
                _ => return Err(refused(UNKNOWN)),
            };
            self.admit(&way, key, body_given, &given).map_err(refused)?;
            way.write(&self.plans, key, &value, wire).map_err(refused)?;
            masked |= way.first() == self.update_mask;
            given.push((way, key.map(|key| Cow::Owned(key.to_owned()))));
        }
        Ok(masked && self.update_mask.is_some())
    }

    /// Whether a parameter may be given beside the path, the body and those before it.
    fn admit(
        &self,
        way: &Way,
        key: Option<&str>,
        body_given: bool,
        given: &[(Way, Option<Cow<'_, str>>)],
    ) -> Result<(), &'static str> {
        for variable in &self.variables {
            match way.relation(variable, &self.plans) {
                Relation::Apart => {}
                Relation::Same | Relation::Inside => return Err(SET_BY_PATH),
                Relation::Excluded => return Err(EXCLUDED),
            }
        }
        let fields = &self.plan().fields;
        if let Some(body) = self.body.field() {
            if way.first() == Some(body) {
                return Err("is set by the body");
            }
            let oneof = way.first().and_then(|place| fields[place].oneof);
            if body_given && oneof.is_some() && fields[body].oneof == oneof {
                return Err(EXCLUDED);
            }
        }
        let is_one = way.leaf(&self.plans).is_some_and(Field::is_one);
        for (other, other_key) in given {
            match way.relation(other, &self.plans) {
                Relation::Same if !is_one && (key.is_none() || other_key.as_deref() != key) => {}
                Relation::Apart => {}
                Relation::Excluded => return Err(EXCLUDED),
                _ if self.plans.settings.merge_duplicates => {}
                Relation::Same | Relation::Inside => return Err(TWICE),
            }
        }
        Ok(())
    }

    /// What a PATCH without a mask changes: the fields that its body gives.
    fn infer_mask(&self, body: &[u8], wire: &mut Vec<u8>) -> Result<(), InputError> {
        let (Some(mask), Body::Field(place)) = (self.update_mask, self.body) else {
            return Ok(());
        };
        let fields = &self.plan().fields;
        let Some(changed) = self.below(&fields[place]) else { return Ok(()) };
        let names = if body.is_empty() { Vec::new() } else { names_given(changed, body)? };
        if names.is_empty() {
            return Err(InputError::EmptyUpdate);
        }
        fields[mask].tag.write(wire);
        let start = wire::begin(wire);
        for place in names {
            Tag::new(1, WireType::Bytes).write(wire);
            wire::write_bytes(wire, changed.fields[place].name.as_bytes());
        }
        wire::end(wire, start);
        Ok(())
    }
}

/// A client's own name, which may be of any length.
fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

fn write_raw(content_type: &str, body: &[u8], wire: &mut Vec<u8>) {
    for (number, bytes) in [(1, content_type.as_bytes()), (2, body)] {
        if !bytes.is_empty() {
            Tag::new(number, WireType::Bytes).write(wire);
            wire::write_bytes(wire, bytes);
        }
    }
}

fn split_outside_brackets(path: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    path.split(move |character| {
        inside = (inside || character == '[') && character != ']';
        character == '.' && !inside
    })
}

fn variables(plans: &Plans, place: u32, template: &Template) -> Result<Vec<Way>, String> {
    let mut ways: Vec<Way> = Vec::new();
    for path in template.variables() {
        let way = Way::find(plans, place, path).map_err(|_| {
            format!("`{path}` is no field of {}", plans.message(place).descriptor.full_name())
        })?;
        if !way.leaf(plans).is_some_and(Field::is_one) {
            return Err(format!("`{path}` goes through a repeated field"));
        }
        if ways.iter().any(|other| way.relation(other, plans) != Relation::Apart) {
            return Err(format!("`{path}` excludes another variable"));
        }
        ways.push(way);
    }
    Ok(ways)
}

fn body(plans: &Plans, plan: &Plan, body: &str) -> Result<Body, String> {
    let full_name = plan.descriptor.full_name();
    Ok(match body {
        "" => Body::None,
        "*" if full_name == HTTP_BODY => Body::WholeRaw,
        "*" => Body::Whole,
        name => {
            let place = plan.place(name.as_bytes(), 0);
            let place = place.ok_or_else(|| format!("{full_name} has no field `{name}`"))?;
            let field = &plan.fields[place];
            let message = field.kind.message().filter(|_| field.is_one());
            let is_raw = message
                .is_some_and(|message| plans.message(message).descriptor.full_name() == HTTP_BODY);
            if is_raw { Body::FieldRaw(place) } else { Body::Field(place) }
        }
    })
}

fn update_mask(plans: &Plans, plan: &Plan) -> Option<usize> {
    let place = plan.place(UPDATE_MASK.as_bytes(), 0)?;
    let field = &plan.fields[place];
    let message = field.kind.message().filter(|_| field.is_one())?;
    (plans.message(message).shape == Shape::FieldMask).then_some(place)
}
