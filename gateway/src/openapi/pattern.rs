//! A text that fits a regular expression.

use regex_syntax::hir::{Class, Hir, HirKind};

/// The plainest text that fits `pattern`; `None` when that takes more than following it.
pub(super) fn text(pattern: &str) -> Option<String> {
    let mut text = String::new();
    write(&regex_syntax::parse(pattern).ok()?, &mut text)?;
    // Anchors inside and the like may want something else.
    fits(pattern, &text).then_some(text)
}

/// Whether `text` holds what `pattern` wants.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}

fn write(hir: &Hir, text: &mut String) -> Option<()> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(class) => text.push(member(class)?),
        HirKind::Repetition(repetition) => {
            for _ in 0..repetition.min {
                write(&repetition.sub, text)?;
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, text)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| write(part, text))?,
        HirKind::Alternation(choices) => write(choices.first()?, text)?,
    }
    Some(())
}

/// A letter or digit of the class if it has one.
fn member(class: &Class) -> Option<char> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class.ranges().iter().map(|it| (it.start(), it.end())).collect(),
        Class::Bytes(class) => {
            class.ranges().iter().map(|it| (char::from(it.start()), char::from(it.end()))).collect()
        }
    };
    let is_in = |wanted: &char| ranges.iter().any(|(from, to)| (from..=to).contains(&wanted));
    ['a', 'A', '1', '0', '-', '_'].into_iter().find(is_in).or(Some(ranges.first()?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_text_fits_each_pattern() {
        let table = [
            ("^[0-9]{4}(-[0-9X])?$", Some("1111")),
            ("^(me|[0-9a-f-]{36})$", Some("me")),
            ("^[^:]+:", Some("a:")),
            ("^[A-Z]{3}$", Some("AAA")),
            ("x*y+", Some("y")),
            (r"\bword\b", Some("word")),
            ("a$b", None),
            ("(", None),
        ];
        for (pattern, expected) in table {
            assert_eq!(text(pattern).as_deref(), expected, "{pattern}");
        }
    }
}
