//! Finds what answers a path: literals before `*`, `*` before `**`, whatever the order of
//! insertion.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::{Deref, Range};
use std::sync::Arc;

use ::http::Method;
use smallvec::SmallVec;

use super::percent;
use super::template::{Capture, Segment, Template};

/// Values by path and HTTP method.
#[derive(Debug)]
pub struct Router<T> {
    root: Node<T>,
}

/// What a path leads to.
#[derive(Debug)]
pub struct Found<'r, 'p, T> {
    /// The value that was inserted.
    pub value: &'r T,
    /// The values of the template's variables.
    pub captures: Captures<'p>,
}

/// Values of path variables, in the order of their template. Those that are not encoded are
/// borrowed from the path.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Captures<'p>(SmallVec<[Cow<'p, str>; 4]>);

impl<'p> Deref for Captures<'p> {
    type Target = [Cow<'p, str>];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Why a path leads to nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Miss {
    /// It is not percent-encoded UTF-8: 400.
    Malformed,
    /// No template fits it: 404.
    NotFound,
    /// Templates fit it, but only with these HTTP methods (sorted by name): 405.
    MethodNotAllowed(Vec<Method>),
}

#[derive(Debug)]
struct Node<T> {
    literals: HashMap<Box<str>, Node<T>>,
    one: Option<Box<Node<T>>>,
    rest: Option<Box<Node<T>>>,
    /// What ends here, by the template's verb.
    ends: Vec<End<T>>,
}

/// All values of templates that differ in nothing but their variables.
#[derive(Debug)]
struct End<T> {
    verb: Option<String>,
    choices: Vec<Choice<T>>,
}

#[derive(Debug)]
struct Choice<T> {
    /// `None` admits any.
    method: Option<Method>,
    captures: Arc<[Capture]>,
    value: T,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literals: HashMap::new(), one: None, rest: None, ends: Vec::new() }
    }
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<T> Router<T> {
    /// Adds a value; a `method` of `None` admits any. Gives the value back if its place is taken.
    pub fn insert(
        &mut self,
        template: &Template,
        method: Option<Method>,
        value: T,
    ) -> Result<(), T> {
        let mut node = &mut self.root;
        for segment in &template.segments {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text.as_str().into()).or_default(),
                Segment::One => node.one.get_or_insert_default(),
                Segment::Rest => node.rest.get_or_insert_default(),
            };
        }
        let at = node.ends.iter().position(|end| end.verb == template.verb).unwrap_or_else(|| {
            node.ends.push(End { verb: template.verb.clone(), choices: Vec::new() });
            node.ends.len() - 1
        });
        let choices = &mut node.ends[at].choices;
        if choices.iter().any(|other| other.method == method) {
            return Err(value);
        }
        let captures = template.captures.as_slice().into();
        choices.push(Choice { method, captures, value });
        Ok(())
    }

    /// The most exact value for a request. Where HEAD has none, it is GET.
    pub fn find<'r, 'p>(
        &'r self,
        method: &Method,
        path: &'p str,
    ) -> Result<Found<'r, 'p, T>, Miss> {
        let mut found = None;
        self.each(path, &mut |end, path| {
            found = end.admitting(method).map(|choice| Found {
                value: &choice.value,
                captures: choice.captures.iter().map(|capture| path.value(capture)).collect(),
            });
            found.is_some()
        })?;
        match found {
            Some(found) => Ok(found),
            None => Err(Miss::MethodNotAllowed(self.allowed(path)?)),
        }
    }

    /// The methods that a path admits, OPTIONS among them, sorted by name.
    pub fn allowed(&self, path: &str) -> Result<Vec<Method>, Miss> {
        let mut allowed = Vec::new();
        self.each(path, &mut |end, _| {
            for choice in &end.choices {
                match &choice.method {
                    Some(method) => allowed.push(method.clone()),
                    None => allowed.extend([
                        Method::GET,
                        Method::POST,
                        Method::PUT,
                        Method::PATCH,
                        Method::DELETE,
                    ]),
                }
            }
            false
        })?;
        if allowed.is_empty() {
            return Err(Miss::NotFound);
        }
        if allowed.contains(&Method::GET) {
            allowed.push(Method::HEAD);
        }
        allowed.push(Method::OPTIONS);
        allowed.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        allowed.dedup();
        Ok(allowed)
    }

    /// Visits all ends that the path fits, the most exact first, until one is taken. The last
    /// colon of a path is a verb's first, then plain text.
    fn each<'r, 'p>(
        &'r self,
        text: &'p str,
        visit: &mut dyn FnMut(&'r End<T>, &Path<'p>) -> bool,
    ) -> Result<(), Miss> {
        let mut path = Path::cut(text).map_err(|_| Miss::Malformed)?;
        let whole = path.segments.last().cloned().unwrap_or_default();
        if let Some(colon) = text[whole.clone()].rfind(':') {
            let colon = whole.start + colon;
            let verb = percent::decode(&text[colon + 1..]).map_err(|_| Miss::Malformed)?;
            path.set_last(whole.start..colon);
            if self.root.walk(&path, 0, Some(&verb), visit) {
                return Ok(());
            }
            path.set_last(whole);
        }
        self.root.walk(&path, 0, None, visit);
        Ok(())
    }
}

impl<T> Node<T> {
    /// Visits what the path fits from its segment `at` on; true if it was taken.
    fn walk<'r, 'p>(
        &'r self,
        path: &Path<'p>,
        at: usize,
        verb: Option<&str>,
        visit: &mut dyn FnMut(&'r End<T>, &Path<'p>) -> bool,
    ) -> bool {
        match path.segments.get(at) {
            Some(range) => {
                let segment = path.segment(range);
                if let Some(child) = self.literals.get(&*segment)
                    && child.walk(path, at + 1, verb, visit)
                {
                    return true;
                }
                if let Some(child) = self.one.as_ref().filter(|_| !segment.is_empty())
                    && child.walk(path, at + 1, verb, visit)
                {
                    return true;
                }
            }
            None if self.end(verb).is_some_and(|end| visit(end, path)) => return true,
            None => {}
        }
        let rest = self.rest.as_ref().and_then(|child| child.end(verb));
        rest.is_some_and(|end| visit(end, path))
    }

    fn end(&self, verb: Option<&str>) -> Option<&End<T>> {
        self.ends.iter().find(|end| end.verb.as_deref() == verb)
    }
}

impl<T> End<T> {
    fn admitting(&self, method: &Method) -> Option<&Choice<T>> {
        let exactly = |method: &Method| {
            self.choices.iter().find(|choice| choice.method.as_ref() == Some(method))
        };
        exactly(method)
            .or_else(|| if method == Method::HEAD { exactly(&Method::GET) } else { None })
            .or_else(|| self.choices.iter().find(|choice| choice.method.is_none()))
    }
}

/// The path of a request, cut into segments.
struct Path<'p> {
    text: &'p str,
    /// Whether anything in it is encoded.
    encoded: bool,
    segments: SmallVec<[Range<usize>; 12]>,
}

impl<'p> Path<'p> {
    fn cut(text: &'p str) -> Result<Self, percent::Malformed> {
        let encoded = text.as_bytes().contains(&b'%');
        let start = usize::from(text.starts_with('/'));
        let mut segments = SmallVec::<[Range<usize>; 12]>::new();
        let mut from = start;
        for (at, _) in text.bytes().enumerate().skip(start).filter(|(_, byte)| *byte == b'/') {
            segments.push(from..at);
            from = at + 1;
        }
        segments.push(from..text.len());
        if encoded {
            for range in &segments {
                percent::decode(&text[range.clone()])?;
            }
        }
        Ok(Self { text, encoded, segments })
    }

    fn set_last(&mut self, range: Range<usize>) {
        if let Some(last) = self.segments.last_mut() {
            *last = range;
        }
    }

    fn segment(&self, range: &Range<usize>) -> Cow<'p, str> {
        let text = &self.text[range.clone()];
        if !self.encoded {
            return Cow::Borrowed(text);
        }
        // It was decoded when the path was cut, so that it can be.
        percent::decode(text).unwrap_or(Cow::Borrowed(text))
    }

    /// The value of a variable, whose template the path fits.
    fn value(&self, capture: &Capture) -> Cow<'p, str> {
        let from = capture.from.min(self.segments.len());
        let to = capture.count.map_or(self.segments.len(), |count| from + count);
        let (Some(first), Some(last)) = (self.segments.get(from), self.segments.get(to - 1)) else {
            return Cow::Borrowed("");
        };
        if from == to {
            return Cow::Borrowed("");
        }
        if capture.single {
            return self.segment(first);
        }
        let text = &self.text[first.start..last.end];
        let mut decoded = String::new();
        if self.encoded && percent::decode_keeping_slashes(text, &mut decoded).is_ok() {
            return Cow::Owned(decoded);
        }
        Cow::Borrowed(text)
    }
}

impl<'p> FromIterator<Cow<'p, str>> for Captures<'p> {
    fn from_iter<I: IntoIterator<Item = Cow<'p, str>>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Values that `template` takes from `path`; `None` when it does not fit.
    fn captured(template: &str, path: &str) -> Option<Vec<(String, String)>> {
        let template = Template::parse(template).unwrap();
        let mut router = Router::default();
        router.insert(&template, None, ()).unwrap();
        let found = router.find(&Method::GET, path).ok()?;
        let values = found.captures.iter().map(|value| value.clone().into_owned());
        Some(template.variables().map(ToOwned::to_owned).zip(values).collect())
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
            ("/files/{path=**}", "/files/a%2fb", Some(&[("path", "a%2fb")])),
            ("/files/{path=**}", "/files", Some(&[("path", "")])),
            ("/files/{path=**}:scan", "/files/a/b:scan", Some(&[("path", "a/b")])),
            ("/files/{path=a/**}", "/files/a", Some(&[("path", "a")])),
            ("/files/{path=a/**}", "/files/a/b", Some(&[("path", "a/b")])),
            ("/any/*/end", "/any/thing/end", Some(&[])),
            ("/all/**", "/all/of/it", Some(&[])),
            ("/a:go", "/a:go", Some(&[])),
            ("/a:go", "/a:g%6f", Some(&[])),
            ("/a:go", "/a", None),
            ("/{a=x/*}/{b}", "/x/1/2", Some(&[("a", "x/1"), ("b", "2")])),
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
        let mut templates = ["/u/**", "/u/{id}", "/u/me", "/u/{id}:act", "/{x}/me", "/u/me/**"];
        for _ in 0..templates.len() {
            templates.rotate_left(1);
            let mut router = Router::default();
            for text in templates {
                router.insert(&Template::parse(text).unwrap(), None, text).unwrap();
            }
            let found = |path: &str| *router.find(&Method::GET, path).unwrap().value;
            assert_eq!(found("/u/me"), "/u/me");
            assert_eq!(found("/u/7"), "/u/{id}");
            assert_eq!(found("/u/7:act"), "/u/{id}:act");
            assert_eq!(found("/u/7:do"), "/u/{id}");
            assert_eq!(found("/u/me/x"), "/u/me/**");
            assert_eq!(found("/u/x/y"), "/u/**");
            assert_eq!(found("/v/me"), "/{x}/me");
        }
    }

    /// A less exact template answers if the more exact one does not admit the method.
    #[test]
    fn methods_choose_among_the_templates_that_fit() {
        let mut router = Router::default();
        let mut insert = |text: &str, method: Option<Method>, value| {
            router.insert(&Template::parse(text).unwrap(), method, value)
        };
        insert("/u/me", Some(Method::GET), 1).unwrap();
        insert("/u/{id}", Some(Method::PATCH), 2).unwrap();
        insert("/u/{name}", Some(Method::GET), 3).unwrap();
        insert("/any", None, 4).unwrap();
        insert("/any", Some(Method::PUT), 5).unwrap();
        assert_eq!(insert("/u/{other}", Some(Method::GET), 6), Err(6), "the place is taken");

        let find = |method: Method, path| router.find(&method, path).map(|found| *found.value);
        assert_eq!(find(Method::GET, "/u/me"), Ok(1));
        assert_eq!(find(Method::HEAD, "/u/me"), Ok(1));
        assert_eq!(find(Method::PATCH, "/u/me"), Ok(2));
        assert_eq!(find(Method::GET, "/u/7"), Ok(3));
        assert_eq!(find(Method::PUT, "/any"), Ok(5));
        assert_eq!(find(Method::TRACE, "/any"), Ok(4));
        assert_eq!(find(Method::GET, "/nothing"), Err(Miss::NotFound));
        let allowed = vec![Method::GET, Method::HEAD, Method::OPTIONS, Method::PATCH];
        assert_eq!(find(Method::DELETE, "/u/7"), Err(Miss::MethodNotAllowed(allowed.clone())));
        assert_eq!(router.allowed("/u/7"), Ok(allowed));
    }

    #[test]
    fn paths_that_are_not_utf8_are_refused() {
        let mut router = Router::default();
        router.insert(&Template::parse("/users/{id}").unwrap(), None, ()).unwrap();
        for path in ["/users/%ff", "/users/%C3", "/users/%zz", "/users/%4", "/users/x:%ff", "/%ff"]
        {
            assert_eq!(router.find(&Method::GET, path).unwrap_err(), Miss::Malformed, "{path}");
        }
    }

    #[test]
    fn values_that_are_not_encoded_are_borrowed() {
        let mut router = Router::default();
        router.insert(&Template::parse("/a/{b}/{c=**}").unwrap(), None, ()).unwrap();
        let found = router.find(&Method::GET, "/a/1/2/3").unwrap();
        assert!(found.captures.iter().all(|value| matches!(value, Cow::Borrowed(_))));
        assert_eq!(&*found.captures, ["1", "2/3"]);
    }
}
