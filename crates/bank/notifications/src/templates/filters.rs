//! Amounts and times as a reader writes them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use minijinja::{Error, ErrorKind, State};
use money::{Currency, Money};

/// `{{ amount | money(currency) }}`: a decimal with all places of its currency, as the reader's
/// language writes it.
pub(super) fn money(state: &State, amount: String, currency: String) -> Result<String, Error> {
    let invalid = || Error::new(ErrorKind::InvalidOperation, "an amount or its currency is none");
    let currency = Currency::from_code(&currency).ok_or_else(invalid)?;
    let amount = Money::parse(&amount, currency).map_err(|_| invalid())?.to_string();
    let (whole, places) = amount.split_once('.').unwrap_or((&amount, ""));
    let (group, point) = if is_english(state) { (',', ".") } else { ('.', ",") };
    let point = if places.is_empty() { "" } else { point };
    let number = format!("{}{point}{places}", grouped(whole, group));
    Ok(match (currency.code(), is_english(state)) {
        ("BRL", true) => format!("R${number}"),
        ("BRL", false) => format!("R$ {number}"),
        (code, _) => format!("{code} {number}"),
    })
}

/// `{{ completed_at | moment }}`: an RFC 3339 time on the clock of the reader's wall.
pub(super) fn moment(state: &State, at: String) -> Result<String, Error> {
    let invalid = || Error::new(ErrorKind::InvalidOperation, "a time is no RFC 3339 time");
    let at: Timestamp = at.parse().map_err(|_| invalid())?;
    let zone = state.lookup("zone").and_then(|zone| TimeZone::get(zone.as_str()?).ok());
    let wall = at.to_zoned(zone.unwrap_or(TimeZone::UTC));
    let form = if is_english(state) { "%-d %b %Y at %H:%M" } else { "%d/%m/%Y às %H:%M" };
    Ok(wall.strftime(form).to_string())
}

fn is_english(state: &State) -> bool {
    let locale = state.lookup("locale");
    locale.as_ref().and_then(|locale| locale.as_str()).is_some_and(|tag| tag.starts_with("en"))
}

/// Digits, perhaps after a sign, in groups of three.
fn grouped(digits: &str, separator: char) -> String {
    let mut text = String::with_capacity(digits.len() * 2);
    for (place, digit) in digits.char_indices() {
        let left = digits.len() - place;
        if place > 0 && left.is_multiple_of(3) && !text.ends_with('-') {
            text.push(separator);
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use minijinja::{Environment, context};

    use super::*;

    fn shown(template: &str, locale: &str, zone: &str) -> Result<String, Error> {
        let mut environment = Environment::new();
        environment.add_filter("money", money);
        environment.add_filter("moment", moment);
        environment.render_str(template, context! { locale, zone })
    }

    #[test]
    fn amounts_are_written_as_the_language_does() {
        for (amount, code, pt, en) in [
            ("1234567.5", "BRL", "R$ 1.234.567,50", "R$1,234,567.50"),
            ("0.01", "BRL", "R$ 0,01", "R$0.01"),
            ("100", "BRL", "R$ 100,00", "R$100.00"),
            ("1000", "USD", "USD 1.000,00", "USD 1,000.00"),
            ("123456", "JPY", "JPY 123.456", "JPY 123,456"),
            ("-1234.5", "BRL", "R$ -1.234,50", "R$-1,234.50"),
        ] {
            let template = format!("{{{{ '{amount}' | money('{code}') }}}}");
            assert_eq!(shown(&template, "pt-BR", "UTC").unwrap(), pt);
            assert_eq!(shown(&template, "en", "UTC").unwrap(), en);
        }
        for wrong in ["'1,5' | money('BRL')", "'1' | money('XYZ')", "'1.001' | money('BRL')"] {
            assert!(shown(&format!("{{{{ {wrong} }}}}"), "pt", "UTC").is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_those_of_the_readers_wall() {
        let template = "{{ '2026-06-11T02:05:00Z' | moment }}";
        for (locale, zone, text) in [
            ("pt", "America/Sao_Paulo", "10/06/2026 às 23:05"),
            ("pt-PT", "Europe/Lisbon", "11/06/2026 às 03:05"),
            ("en-GB", "Europe/London", "11 Jun 2026 at 03:05"),
            ("en", "America/New_York", "10 Jun 2026 at 22:05"),
        ] {
            assert_eq!(shown(template, locale, zone).unwrap(), text);
        }
        assert!(shown("{{ 'yesterday' | moment }}", "pt", "UTC").is_err());
    }
}
