//! Path templates of `google.api.http`, and the tree that finds the one a path fits.

use std::collections::HashMap;

use crate::percent;

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

/// A template such as `/v1/{name=shelves/*}/books/{id}:publish`, taken apart.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Template {
    pub(super) segments: Vec<Segment>,
    /// The part after the last colon: `publish`.
    pub(super) verb: Option<String>,
    pub(super) captures: Vec<Capture>,
}

/// Which segments of a path a variable takes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Capture {
    /// Field of the request that the variable sets, such as `book.id`.
    pub(super) field: String,
    /// First segment.
    from: usize,
    /// Segments taken; `None` means all that are left.
    count: Option<usize>,
    /// Whether the variable is one segment, whose `%2F` is a slash.
    single: bool,
}

impl Template {
    /// Reads a template; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let path = text.strip_prefix('/').ok_or("a template begins with a slash")?;
        // A verb's colon comes after the last variable.
        let verb_at =
            path.rfind(':').filter(|at| path.rfind(['}', '/']).is_none_or(|end| end < *at));
        let (path, verb) = match verb_at {
            Some(at) => (&path[..at], Some(percent_decoded(&path[at + 1..])?)),
            None => (path, None),
        };
        let mut template = Self { segments: Vec::new(), verb, captures: Vec::new() };
        for part in split_outside_braces(path) {
            match part.strip_prefix('{') {
                Some(variable) => template.push_variable(variable)?,
                None => template.push_segment(part)?,
            }
        }
        Ok(template)
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
            literal => Segment::Literal(percent_decoded(literal)?),
        });
        Ok(())
    }
}

impl Capture {
    /// The variable's value in `path`, which fits the template.
    pub(super) fn value(&self, path: &Path<'_>) -> String {
        let segments = &path.segments[self.from.min(path.segments.len())..];
        let segments = &segments[..self.count.unwrap_or(segments.len())];
        match segments {
            [one] if self.single => one.decoded.clone(),
            many => many.iter().map(PathSegment::keeping_slashes).collect::<Vec<_>>().join("/"),
        }
    }
}

fn percent_decoded(text: &str) -> Result<String, &'static str> {
    percent::decode(text).map_err(|_| "a percent-encoding is malformed")
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

/// The path of a request, cut into segments.
#[derive(Debug)]
pub(crate) struct Path<'a> {
    segments: Vec<PathSegment<'a>>,
    verb: Option<String>,
}

#[derive(Debug)]
struct PathSegment<'a> {
    raw: &'a str,
    decoded: String,
}

impl PathSegment<'_> {
    /// Decoded, but for an encoded slash: in a variable of many segments it is no separator.
    fn keeping_slashes(&self) -> String {
        if !self.decoded.contains('/') {
            return self.decoded.clone();
        }
        let raw = self.raw.replace("%2f", "%2F");
        let parts: Vec<_> =
            raw.split("%2F").map(|part| percent::decode(part).unwrap_or_default()).collect();
        parts.join("%2F")
    }
}

impl<'a> Path<'a> {
    /// The readings of a path: with its last colon as a verb's, then as plain text.
    ///
    /// # Errors
    /// When a segment is not percent-encoded UTF-8.
    pub(crate) fn readings(path: &'a str) -> Result<Vec<Self>, percent::Malformed> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let mut readings = Vec::with_capacity(2);
        if let Some(colon) = path.rfind(':').filter(|at| !path[*at..].contains('/')) {
            let verb = percent::decode(&path[colon + 1..])?;
            readings.push(Self { segments: cut(&path[..colon])?, verb: Some(verb) });
        }
        readings.push(Self { segments: cut(path)?, verb: None });
        Ok(readings)
    }
}

fn cut(path: &str) -> Result<Vec<PathSegment<'_>>, percent::Malformed> {
    path.split('/').map(|raw| Ok(PathSegment { raw, decoded: percent::decode(raw)? })).collect()
}

/// Finds templates by path: literals before `*`, `*` before `**`, whatever the order of insertion.
#[derive(Debug)]
pub(super) struct Tree<T> {
    literals: HashMap<String, Tree<T>>,
    one: Option<Box<Tree<T>>>,
    rest: Option<Box<Tree<T>>>,
    /// What ends here, by verb.
    ends: Vec<(Option<String>, T)>,
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { literals: HashMap::new(), one: None, rest: None, ends: Vec::new() }
    }
}

impl<T: Default> Tree<T> {
    /// The place of a template, made when it is new.
    pub(super) fn place(&mut self, template: &Template) -> &mut T {
        let mut node = self;
        for segment in &template.segments {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
                Segment::One => node.one.get_or_insert_default(),
                Segment::Rest => node.rest.get_or_insert_default(),
            };
        }
        let at = node.ends.iter().position(|(verb, _)| *verb == template.verb);
        let at = at.unwrap_or_else(|| {
            node.ends.push((template.verb.clone(), T::default()));
            node.ends.len() - 1
        });
        &mut node.ends[at].1
    }

    /// All places that `path` fits, the most exact first.
    pub(super) fn find(&self, path: &Path<'_>) -> Vec<&T> {
        let mut found = Vec::new();
        self.collect(&path.segments, path.verb.as_deref(), &mut found);
        found
    }

    /// What ends here with `verb`.
    fn ending(&self, verb: Option<&str>) -> Option<&T> {
        self.ends.iter().find(|(own, _)| own.as_deref() == verb).map(|(_, end)| end)
    }

    fn collect<'t>(
        &'t self,
        segments: &[PathSegment<'_>],
        verb: Option<&str>,
        found: &mut Vec<&'t T>,
    ) {
        match segments.split_first() {
            Some((head, tail)) => {
                if let Some(child) = self.literals.get(&head.decoded) {
                    child.collect(tail, verb, found);
                }
                if let Some(child) = self.one.as_ref().filter(|_| !head.decoded.is_empty()) {
                    child.collect(tail, verb, found);
                }
            }
            None => found.extend(self.ending(verb)),
        }
        if let Some(child) = &self.rest {
            found.extend(child.ending(verb));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Values that `template` takes from `path`; `None` when it does not fit.
    fn captured(template: &str, path: &str) -> Option<Vec<(String, String)>> {
        let template = Template::parse(template).unwrap();
        let mut tree = Tree::<bool>::default();
        tree.place(&template);
        let readings = Path::readings(path).unwrap();
        let path = readings.iter().find(|path| !tree.find(path).is_empty())?;
        Some(template.captures.iter().map(|c| (c.field.clone(), c.value(path))).collect())
    }

    #[test]
    fn templates_take_what_google_api_http_says() {
        type Row<'a> = (&'a str, &'a str, Option<&'a [(&'a str, &'a str)]>);
        let table: &[Row<'_>] = &[
            ("/users", "/users", Some(&[])),
            ("/users", "/users/", None),
            ("/users", "/user", None),
            ("/users/{id}", "/users/7", Some(&[("id", "7")])),
            ("/users/{id}", "/users/", None),
            ("/users/{id}", "/users/7/8", None),
            ("/users/{id}", "/users/a%2Fb%20c", Some(&[("id", "a/b c")])),
            ("/users/{id}", "/users/S%C3%A3o", Some(&[("id", "São")])),
            ("/users/{id}", "/users/a:b", Some(&[("id", "a:b")])),
            ("/%75sers", "/users", Some(&[])),
            ("/users", "/%75sers", Some(&[])),
            ("/users/{id}/balance", "/users/7/balance", Some(&[("id", "7")])),
            ("/a/{x.y}/b/{z}", "/a/1/b/2", Some(&[("x.y", "1"), ("z", "2")])),
            ("/v1/{name=shelves/*}", "/v1/shelves/1", Some(&[("name", "shelves/1")])),
            ("/v1/{name=shelves/*}", "/v1/boxes/1", None),
            (
                "/v1/{name=shelves/*/books/*}:publish",
                "/v1/shelves/1/books/2:publish",
                Some(&[("name", "shelves/1/books/2")]),
            ),
            ("/v1/{name=shelves/*}:publish", "/v1/shelves/1", None),
            (
                "/v1/{name=shelves/*}",
                "/v1/shelves/1:publish",
                Some(&[("name", "shelves/1:publish")]),
            ),
            ("/files/{path=**}", "/files/a/b/c", Some(&[("path", "a/b/c")])),
            ("/files/{path=**}", "/files/a%2Fb/c%20d", Some(&[("path", "a%2Fb/c d")])),
            ("/files/{path=**}", "/files", Some(&[("path", "")])),
            ("/files/{path=**}:scan", "/files/a/b:scan", Some(&[("path", "a/b")])),
            ("/any/*/end", "/any/thing/end", Some(&[])),
            ("/all/**", "/all/of/it", Some(&[])),
            ("/.well-known/jwks.json", "/.well-known/jwks.json", Some(&[])),
        ];
        for (template, path, expected) in table {
            let expected = expected.map(|pairs| {
                pairs.iter().map(|(f, v)| ((*f).to_owned(), (*v).to_owned())).collect::<Vec<_>>()
            });
            assert_eq!(captured(template, path), expected, "{template} on {path}");
        }
    }

    #[test]
    fn the_most_exact_template_comes_first_whatever_the_order() {
        let mut templates = ["/u/**", "/u/{id}", "/u/me", "/u/{id}:act", "/{x}/me"];
        for _ in 0..templates.len() {
            templates.rotate_left(1);
            let mut tree = Tree::<String>::default();
            for text in templates {
                *tree.place(&Template::parse(text).unwrap()) = text.to_owned();
            }
            let found = |path: &str| {
                let readings = Path::readings(path).unwrap();
                readings
                    .iter()
                    .flat_map(|path| tree.find(path).into_iter().cloned())
                    .collect::<Vec<_>>()
            };
            assert_eq!(found("/u/me"), ["/u/me", "/u/{id}", "/u/**", "/{x}/me"]);
            assert_eq!(found("/u/7"), ["/u/{id}", "/u/**"]);
            assert_eq!(found("/u/7:act"), ["/u/{id}:act", "/u/{id}", "/u/**"]);
        }
    }

    #[test]
    fn malformed_templates_are_refused() {
        for text in
            ["users", "/a//b", "/{}", "/{a", "/a}b", "/**/x", "/{a=**}/x", "/{a={b}}", "/%zz"]
        {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn paths_that_are_not_utf8_are_refused() {
        for path in ["/users/%ff", "/users/%C3", "/users/%zz", "/users/%4", "/users/x:%ff"] {
            assert!(Path::readings(path).is_err(), "{path}");
        }
    }
}
