//! Which language a reader gets.

/// The first of `wanted`, then `default`, that is among `known`; each is looked for whole and then
/// with its last part cut off, again and again: `pt-BR`, `pt`. Case does not matter. The first of
/// `known` where none is.
pub(super) fn resolve<'k>(known: &[&'k str], wanted: &str, default: &str) -> Option<&'k str> {
    let chain = prefixes(wanted).chain(prefixes(default));
    let find = |tag: &str| known.iter().find(|it| it.eq_ignore_ascii_case(tag));
    chain.into_iter().find_map(find).or(known.first()).copied()
}

fn prefixes(tag: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(tag), |tag| tag.rsplit_once('-').map(|(prefix, _)| prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_looked_for_from_the_special_to_the_general() {
        for (known, wanted, default, found) in [
            (&["pt-BR", "pt", "en"][..], "pt-BR", "en", Some("pt-BR")),
            (&["pt", "en"], "pt-BR", "en", Some("pt")),
            (&["pt", "en"], "PT-br", "en", Some("pt")),
            (&["pt", "en"], "fr-CA", "en", Some("en")),
            (&["pt", "en"], "fr", "en-GB", Some("en")),
            (&["pt", "en"], "", "pt-BR", Some("pt")),
            (&["pt", "en"], "ptx", "en", Some("en")),
            (&["zh", "zh-Hant"], "zh-Hant-TW", "zh", Some("zh-Hant")),
            (&["pt", "en"], "fr", "de", Some("pt")),
            (&[], "pt", "en", None),
        ] {
            assert_eq!(resolve(known, wanted, default), found, "{known:?} {wanted} {default}");
        }
    }
}
