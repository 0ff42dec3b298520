//! Path templates of `google.api.http`.

use super::percent;

/// A path template such as `/v1/{name=shelves/*}/books/{id}:publish`, taken apart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template {
    pub(super) segments: Vec<Segment>,
    /// The part after the last colon: `publish`.
    pub(super) verb: Option<String>,
    pub(super) captures: Vec<Capture>,
}

/// One segment of a template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Segment {
    /// Exactly this text.
    Literal(String),
    /// `*`: any one segment that is not empty.
    One,
    /// `**`: whatever is left, also nothing.
    Rest,
}

/// Which segments of a path a variable takes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Capture {
    /// Field of the request that the variable sets, such as `book.id`.
    pub(super) field: String,
    /// First segment.
    pub(super) from: usize,
    /// Segments taken; `None` means all that are left.
    pub(super) count: Option<usize>,
    /// Whether the variable is one segment, whose `%2F` is a slash.
    pub(super) single: bool,
}

impl Template {
    /// Reads a template; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let path = text.strip_prefix('/').ok_or("a template begins with a slash")?;
        // A verb's colon comes after the last variable.
        let verb_at =
            path.rfind(':').filter(|at| path.rfind(['}', '/']).is_none_or(|end| end < *at));
        let (path, verb) = match verb_at {
            Some(at) => (&path[..at], Some(decoded(&path[at + 1..])?)),
            None => (path, None),
        };
        if verb.as_deref() == Some("") {
            return Err("a verb is empty");
        }
        let mut template = Self { segments: Vec::new(), verb, captures: Vec::new() };
        for part in split_outside_braces(path) {
            match part.strip_prefix('{') {
                Some(variable) => template.push_variable(variable)?,
                None => template.push_segment(part)?,
            }
        }
        Ok(template)
    }

    /// The fields that the variables set, as paths from the request, in their order.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.captures.iter().map(|capture| capture.field.as_str())
    }

    fn push_variable(&mut self, variable: &str) -> Result<(), &'static str> {
        let variable = variable.strip_suffix('}').ok_or("a variable ends with its segment")?;
        let (field, pattern) = variable.split_once('=').unwrap_or((variable, "*"));
        if field.is_empty() {
            return Err("a variable names a field");
        }
        let from = self.segments.len();
        for part in pattern.split('/') {
            self.push_segment(part)?;
        }
        let taken = &self.segments[from..];
        let single = matches!(taken, [Segment::One | Segment::Literal(_)]);
        let count = (!taken.contains(&Segment::Rest)).then_some(taken.len());
        self.captures.push(Capture { field: field.to_owned(), from, count, single });
        Ok(())
    }

    fn push_segment(&mut self, part: &str) -> Result<(), &'static str> {
        if self.segments.last() == Some(&Segment::Rest) {
            return Err("`**` comes last");
        }
        self.segments.push(match part {
            "" => return Err("a segment is empty"),
            "*" => Segment::One,
            "**" => Segment::Rest,
            literal if literal.contains(['{', '}', '*', '=']) => {
                return Err("a segment is malformed");
            }
            literal => Segment::Literal(decoded(literal)?),
        });
        Ok(())
    }
}

fn decoded(text: &str) -> Result<String, &'static str> {
    percent::decode(text).map(Into::into).map_err(|_| "a percent-encoding is malformed")
}

/// Splits at each slash that is not inside a variable.
fn split_outside_braces(path: &str) -> Vec<&str> {
    let mut inside = false;
    path.split(|character| {
        match character {
            '{' => inside = true,
            '}' => inside = false,
            _ => {}
        }
        character == '/' && !inside
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_templates_are_refused() {
        for text in [
            "users",
            "/a//b",
            "/{}",
            "/{a",
            "/a}b",
            "/**/x",
            "/{a=**}/x",
            "/{a={b}}",
            "/%zz",
            "/a:",
            "/",
            "/{=a}",
            "/a*b",
            "/{a=}",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
