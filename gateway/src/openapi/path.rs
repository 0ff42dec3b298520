//! Path templates in `OpenAPI`'s words.

/// The path, the names that each variable has there, and the path without names.
///
/// `OpenAPI` knows variables of one segment alone: one of several becomes what it is made of, so that
/// `/v1/{name=shelves/*}` → `/v1/shelves/{shelf}`, `[["shelf"]]`, `/v1/shelves/{}`.
pub(super) fn path_of(template: &str) -> (String, Vec<Vec<String>>, String) {
    let (mut path, mut shape) = (String::new(), String::new());
    let mut names: Vec<Vec<String>> = Vec::new();
    for part in template.split('{') {
        let Some((variable, rest)) = part.split_once('}') else {
            path.push_str(part);
            shape.push_str(part);
            continue;
        };
        let (variable, pattern) = pattern_of(variable);
        let mut own = Vec::new();
        let mut before = "";
        for (at, segment) in pattern.split('/').enumerate() {
            if at > 0 {
                path.push('/');
                shape.push('/');
            }
            if segment.starts_with('*') {
                let wanted = if before.is_empty() { variable.to_owned() } else { one_of(before) };
                let name = unlike(wanted, names.iter().flatten().chain(&own));
                path.extend(["{", &name, "}"]);
                shape.push_str("{}");
                own.push(name);
            } else {
                path.push_str(segment);
                shape.push_str(segment);
            }
            before = segment.trim_matches('*');
        }
        path.push_str(rest);
        shape.push_str(rest);
        names.push(own);
    }
    (path, names, shape)
}

/// The pattern of each variable of a template.
pub(super) fn patterns(template: &str) -> impl Iterator<Item = &str> {
    let variables = template.split('{').filter_map(|part| part.split_once('}'));
    variables.map(|(variable, _)| pattern_of(variable).1)
}

/// The name and the pattern of a variable.
fn pattern_of(variable: &str) -> (&str, &str) {
    variable.split_once('=').unwrap_or((variable, "*"))
}

/// One of many: `shelves` → `shelf`.
fn one_of(many: &str) -> String {
    for (many_end, one_end) in [("ies", "y"), ("ves", "f"), ("sses", "ss"), ("xes", "x"), ("s", "")]
    {
        if let Some(stem) = many.strip_suffix(many_end) {
            return format!("{stem}{one_end}");
        }
    }
    many.to_owned()
}

/// `name`, or with a number behind it if another has that name.
fn unlike<'n>(name: String, others: impl Iterator<Item = &'n String> + Clone) -> String {
    let is_free = |name: &String| others.clone().all(|other| other != name);
    let numbered = (2..).map(|number| format!("{name}_{number}"));
    std::iter::once(name.clone()).chain(numbered).find(is_free).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_several_segments_become_what_they_are_made_of() {
        let table: [(&str, &str, &[&[&str]]); 8] = [
            ("/users/{id}", "/users/{id}", &[&["id"]]),
            ("/users/{user.id=*}", "/users/{user.id}", &[&["user.id"]]),
            ("/v1/{name=books/*}", "/v1/books/{book}", &[&["book"]]),
            ("/v1/{name=shelves/*}:publish", "/v1/shelves/{shelf}:publish", &[&["shelf"]]),
            (
                "/v1/{name=shelves/*/books/*}/pages/{page}",
                "/v1/shelves/{shelf}/books/{book}/pages/{page}",
                &[&["shelf", "book"], &["page"]],
            ),
            ("/v1/{path=**}", "/v1/{path}", &[&["path"]]),
            ("/v1/{name=a/*/a/*}", "/v1/a/{a}/a/{a_2}", &[&["a", "a_2"]]),
            ("/v1/{name=settings}/{id}", "/v1/settings/{id}", &[&[], &["id"]]),
        ];
        for (template, path, names) in table {
            let (found, found_names, _) = path_of(template);
            assert_eq!((found.as_str(), found_names), (path, owned(names)), "{template}");
        }
        assert_eq!(path_of("/v1/{name=books/*}").2, "/v1/books/{}");
    }

    fn owned(names: &[&[&str]]) -> Vec<Vec<String>> {
        names.iter().map(|names| names.iter().map(|name| (*name).to_owned()).collect()).collect()
    }
}
