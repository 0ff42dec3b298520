//! Fills templates in.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value};

use super::{LAYOUT, Source, TEMPLATES, Template, Texts, filters, locale};
use crate::domain::Variables;
use crate::error::NotificationError;

/// What every template may use without being given it.
const RESERVED: [&str; 5] = ["brand", "locale", "name", "title", "zone"];

/// All templates, compiled.
pub(crate) struct Library {
    environment: Environment<'static>,
    /// What each template must be given.
    variables: BTreeMap<&'static str, BTreeSet<String>>,
    locale: String,
}

/// Who reads.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'r> {
    /// Language tag that is wanted.
    pub(crate) locale: &'r str,
    pub(crate) zone: &'r TimeZone,
    /// What to call the reader; may be empty.
    pub(crate) name: &'r str,
}

/// A template, filled in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Filled {
    /// The language that it is in.
    pub(crate) locale: &'static str,
    pub(crate) title: String,
    pub(crate) short: String,
    pub(crate) text: String,
    pub(crate) html: String,
}

impl Library {
    /// Compiles the templates, for a bank of that name and its language.
    pub(crate) fn new(brand: &str, locale: &str) -> Result<Self, Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_filter("money", filters::money);
        environment.add_filter("moment", filters::moment);
        environment.add_global("brand", brand);
        environment.add_template(LAYOUT.0, LAYOUT.1)?;
        let mut variables = BTreeMap::new();
        for template in TEMPLATES {
            let mut needed = BTreeSet::new();
            for (name, text) in template.texts.iter().flat_map(Texts::sources) {
                environment.add_template(name, text)?;
                needed.extend(environment.get_template(name)?.undeclared_variables(false));
            }
            needed.retain(|name| !RESERVED.contains(&name.as_str()));
            variables.insert(template.name, needed);
        }
        Ok(Self { environment, variables, locale: locale.to_owned() })
    }

    /// What `template` must be given.
    pub(crate) fn variables(&self, template: &Template) -> impl Iterator<Item = &str> {
        self.variables.get(template.name).into_iter().flatten().map(String::as_str)
    }

    /// The language of the installation.
    pub(crate) fn locale(&self) -> &str {
        &self.locale
    }

    /// Fills `template` in. Values are text and stay text, whatever they look like; in HTML they are
    /// escaped, and their control characters are blanks everywhere.
    ///
    /// # Errors
    /// `InvalidField`, when a variable is missing, unknown, or not what the template takes it for.
    pub(crate) fn fill(
        &self,
        template: &Template,
        variables: &Variables,
        reader: &Reader<'_>,
    ) -> Result<Filled, NotificationError> {
        self.check(template, variables)?;
        let texts = self.texts(template, reader.locale)?;
        let zone = reader.zone.iana_name().unwrap_or("UTC");
        let own = [("locale", texts.locale), ("name", reader.name), ("zone", zone)];
        let given = variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut values: BTreeMap<_, _> =
            given.chain(own).map(|(name, value)| (name, Value::from(plain(value)))).collect();
        let title = plain(&self.render(texts.title, &values)?);
        values.insert("title", Value::from(title.as_str()));
        Ok(Filled {
            locale: texts.locale,
            short: self.render(texts.short, &values)?,
            text: self.render(texts.text, &values)?,
            html: self.render(texts.html, &values)?,
            title,
        })
    }

    fn check(&self, template: &Template, given: &Variables) -> Result<(), NotificationError> {
        let needed: BTreeSet<_> = self.variables(template).collect();
        let unknown = given.keys().find(|name| !needed.contains(name.as_str()));
        if let Some(name) = unknown {
            let rule = "is not a variable of the template";
            return Err(NotificationError::invalid(format!("variables.{name}"), rule));
        }
        match needed.into_iter().find(|name| !given.contains_key(*name)) {
            Some(name) => {
                Err(NotificationError::invalid(format!("variables.{name}"), "is required"))
            }
            None => Ok(()),
        }
    }

    fn texts(
        &self,
        template: &Template,
        wanted: &str,
    ) -> Result<&'static Texts, NotificationError> {
        let known: Vec<_> = template.texts.iter().map(|texts| texts.locale).collect();
        let found = locale::resolve(&known, wanted, &self.locale);
        let texts = template.texts.iter().find(|texts| Some(texts.locale) == found);
        texts.ok_or(NotificationError::UnknownTemplate)
    }

    fn render(
        &self,
        (name, _): Source,
        values: &BTreeMap<&str, Value>,
    ) -> Result<String, NotificationError> {
        let template = self.environment.get_template(name)?;
        Ok(template.render(Value::from(values.clone()))?)
    }
}

impl Texts {
    fn sources(&self) -> [Source; 4] {
        [self.title, self.short, self.text, self.html]
    }
}

impl From<Error> for NotificationError {
    /// All variables are there: what is left is a value that a filter refuses, or our own mistake.
    fn from(error: Error) -> Self {
        match (error.kind(), error.detail()) {
            (ErrorKind::InvalidOperation, Some(detail)) => {
                Self::invalid("variables", detail.to_owned())
            }
            _ => Self::Template(error),
        }
    }
}

/// One line without control characters.
fn plain(text: &str) -> String {
    let blank = |it: char| if it.is_control() { ' ' } else { it };
    text.chars().map(blank).collect::<String>().trim().to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn library() -> Library {
        Library::new("Malha", "pt-BR").unwrap()
    }

    fn variables(template: &Template, library: &Library) -> Variables {
        let value = |name: &str| match name {
            "amount" => "1234.50",
            "currency" => "BRL",
            name if name.ends_with("_at") || name == "until" => "2026-06-11T12:00:00Z",
            _ => "x",
        };
        library.variables(template).map(|name| (name.into(), value(name).into())).collect()
    }

    fn fill(name: &str, given: &[(&str, &str)], locale: &str) -> Result<Filled, NotificationError> {
        let library = library();
        let template = Template::find(name)?;
        let given = given.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let zone = TimeZone::get("America/Sao_Paulo").unwrap();
        library.fill(template, &given.collect(), &Reader { locale, zone: &zone, name: "Ana" })
    }

    /// Every template in every language: filled in, and nothing is left open.
    #[test]
    fn every_text_can_be_written() {
        let library = library();
        for template in TEMPLATES {
            let given = variables(template, &library);
            for texts in template.texts {
                for name in ["Ana", ""] {
                    let reader = Reader { locale: texts.locale, zone: &TimeZone::UTC, name };
                    let filled = library.fill(template, &given, &reader).unwrap();
                    assert_eq!(filled.locale, texts.locale);
                    let Filled { title, short, text, html, .. } = filled;
                    for part in [&title, &short, &text, &html] {
                        assert!(!part.trim().is_empty() && !part.contains("{{"), "{part}");
                    }
                    assert!(html.contains("Malha") && html.starts_with("<!DOCTYPE html>"));
                    assert!(!text.contains(", ,") && !html.contains(", ,"), "{text}");
                }
            }
            assert!(template.texts.iter().any(|texts| texts.locale == "pt"), "{}", template.name);
            assert!(template.texts.iter().any(|texts| texts.locale == "en"), "{}", template.name);
        }
        assert!(TEMPLATES.is_sorted_by_key(|template| template.name));
    }

    #[test]
    fn a_reader_gets_its_language_or_the_nearest() {
        let given = [("transaction_id", "t"), ("amount", "1234.50"), ("currency", "BRL")];
        let given = [&given[..], &[("completed_at", "2026-06-11T02:05:00Z")]].concat();
        for (locale, title, short) in [
            ("pt-BR", "Transferência recebida", "Você recebeu R$ 1.234,50."),
            ("pt", "Transferência recebida", "Você recebeu R$ 1.234,50."),
            ("en-GB", "Transfer received", "You received R$1,234.50."),
            ("fr", "Transferência recebida", "Você recebeu R$ 1.234,50."),
        ] {
            let filled = fill("transfer-received", &given, locale).unwrap();
            assert_eq!((filled.title.as_str(), filled.short.as_str()), (title, short), "{locale}");
        }
        let filled = fill("transfer-received", &given, "pt").unwrap();
        assert!(filled.text.contains("Olá, Ana,") && filled.text.contains("10/06/2026 às 23:05"));
    }

    #[test]
    fn what_is_missing_unknown_or_wrong_is_named() {
        let full = [
            ("transaction_id", "t"),
            ("amount", "10.00"),
            ("currency", "BRL"),
            ("completed_at", "2026-06-11T02:05:00Z"),
        ];
        assert!(fill("transfer-sent", &full, "pt").is_ok());
        let with = |name, value| {
            let others = full.iter().filter(|(other, _)| *other != name);
            others.copied().chain([(name, value)]).collect::<Vec<_>>()
        };
        for (given, field) in [
            (full[1..].to_vec(), "variables.transaction_id"),
            (with("ammount", "1"), "variables.ammount"),
            (with("brand", "Other"), "variables.brand"),
            (with("title", "Other"), "variables.title"),
            (with("amount", "ten"), "variables"),
            (with("currency", "XYZ"), "variables"),
            (with("completed_at", "soon"), "variables"),
        ] {
            match fill("transfer-sent", &given, "pt") {
                Err(NotificationError::InvalidField { field: found, .. }) => {
                    assert_eq!(found, field);
                }
                other => panic!("{field}: {other:?}"),
            }
        }
        assert!(matches!(fill("nothing", &[], "pt"), Err(NotificationError::UnknownTemplate)));
    }

    /// A value that looks like a template, like HTML or like a header is text.
    #[test]
    fn what_looks_like_a_template_stays_text() {
        let attack = "{{ 7*7 }}{% include 'layout.html' %}<script>alert(1)</script>&\"'";
        let header = "x\r\nBcc: mallory@example.com\u{0}";
        let given = [("headline", header), ("message", attack)];
        let filled = fill("announcement", &given, "en").unwrap();

        assert_eq!(filled.title, "x  Bcc: mallory@example.com");
        assert_eq!(filled.short, attack);
        assert!(filled.text.contains(attack));
        assert!(!filled.html.contains("<script>") && !filled.html.contains("49"));
        assert!(filled.html.contains("{{ 7*7 }}{% include"));
        assert!(
            filled.html.contains("&lt;script&gt;alert(1)&lt;&#x2f;script&gt;&amp;&quot;&#x27;")
        );
    }
}
