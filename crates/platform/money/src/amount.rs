use std::fmt;

use rust_decimal::Decimal;

use crate::Currency;

/// An amount in the minor unit of its currency: BRL centavos, JPY yen.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

/// Why a text or a sum is no amount of money.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MoneyError {
    /// The text is not digits with an optional sign and decimal point.
    #[error("an amount is written as digits with an optional decimal point, such as 100.50")]
    Malformed,
    /// The text has an exponent, as `1e2`.
    #[error("an amount is written without an exponent")]
    Exponent,
    /// There are more decimals than the currency has.
    #[error("{currency} has {} decimal places", .currency.exponent())]
    TooManyDecimals {
        /// The currency.
        currency: Currency,
    },
    /// The amount passes 2^63 minor units.
    #[error("the amount is too large")]
    OutOfRange,
    /// The amounts are of different currencies.
    #[error("the amounts are of different currencies")]
    CurrencyMismatch,
}

impl Money {
    /// An amount of `minor` units.
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Reads a decimal digit by digit: `100`, `100.5`, `-0.01`.
    ///
    /// Takes what a JSON number can look like but for exponents; more decimals than the
    /// currency has are refused even when they are zeros.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let Some((negative, whole, decimals)) = split(text) else {
            return Err(why_not(text));
        };
        let places = currency.exponent() as usize;
        if decimals.len() > places {
            return Err(MoneyError::TooManyDecimals { currency });
        }
        let padding = std::iter::repeat_n(b'0', places - decimals.len());
        // Counted away from zero on the side of the sign, so that the least i64 is reached.
        let mut minor: i64 = 0;
        for digit in whole.bytes().chain(decimals.bytes()).chain(padding) {
            let digit = i64::from(digit - b'0');
            let signed = if negative { -digit } else { digit };
            minor = minor
                .checked_mul(10)
                .and_then(|minor| minor.checked_add(signed))
                .ok_or(MoneyError::OutOfRange)?;
        }
        Ok(Self { minor, currency })
    }

    /// Reads an exact decimal, such as a NUMERIC column.
    pub fn from_decimal(decimal: Decimal, currency: Currency) -> Result<Self, MoneyError> {
        let decimal = decimal.normalize();
        let missing = currency
            .exponent()
            .checked_sub(decimal.scale())
            .ok_or(MoneyError::TooManyDecimals { currency })?;
        let minor = decimal
            .mantissa()
            .checked_mul(10_i128.pow(missing))
            .and_then(|minor| i64::try_from(minor).ok())
            .ok_or(MoneyError::OutOfRange)?;
        Ok(Self { minor, currency })
    }

    /// The amount as a decimal with all places of its currency.
    pub fn to_decimal(self) -> Decimal {
        Decimal::new(self.minor, self.currency.exponent())
    }

    /// Minor units, negative for a debt.
    pub const fn minor(self) -> i64 {
        self.minor
    }

    /// The currency.
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Adds an amount of the same currency.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_add)
    }

    /// Subtracts an amount of the same currency.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_sub)
    }

    /// Turns the sign.
    pub fn checked_neg(self) -> Result<Self, MoneyError> {
        let minor = self.minor.checked_neg().ok_or(MoneyError::OutOfRange)?;
        Ok(Self { minor, ..self })
    }

    fn combine(
        self,
        other: Self,
        operation: fn(i64, i64) -> Option<i64>,
    ) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::CurrencyMismatch);
        }
        let minor = operation(self.minor, other.minor).ok_or(MoneyError::OutOfRange)?;
        Ok(Self { minor, ..self })
    }
}

impl fmt::Display for Money {
    /// Prints a decimal with all places of the currency, without its code: `100.50`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.minor < 0 { "-" } else { "" };
        let unit = 10_u64.pow(self.currency.exponent());
        let (whole, rest) = (self.minor.unsigned_abs() / unit, self.minor.unsigned_abs() % unit);
        match self.currency.exponent() as usize {
            0 => write!(f, "{sign}{whole}"),
            places => write!(f, "{sign}{whole}.{rest:0places$}"),
        }
    }
}

/// Sign, whole digits and decimals of a plain decimal.
fn split(text: &str) -> Option<(bool, &str, &str)> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, decimals) = match digits.split_once('.') {
        Some((whole, decimals)) if is_number(decimals) => (whole, decimals),
        Some(_) => return None,
        None => (digits, ""),
    };
    is_number(whole).then_some((text.len() > digits.len(), whole, decimals))
}

fn why_not(text: &str) -> MoneyError {
    match text.split_once(['e', 'E']) {
        Some((mantissa, power)) if split(mantissa).is_some() && !power.is_empty() => {
            MoneyError::Exponent
        }
        _ => MoneyError::Malformed,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BRL: Currency = Currency::BRL;

    fn currency(code: &str) -> Currency {
        Currency::from_code(code).unwrap()
    }

    #[test]
    fn decimals_are_read_exactly() {
        for (text, code, minor) in [
            ("100.50", "BRL", 10_050),
            ("100.5", "BRL", 10_050),
            ("100", "BRL", 10_000),
            ("0.01", "BRL", 1),
            ("007", "BRL", 700),
            ("-0.00", "BRL", 0),
            ("-0.01", "BRL", -1),
            ("0.1", "KWD", 100),
            ("12", "JPY", 12),
            ("92233720368547758.07", "BRL", i64::MAX),
            ("-92233720368547758.08", "BRL", i64::MIN),
        ] {
            let money = Money::parse(text, currency(code)).unwrap();
            assert_eq!(money, Money::new(minor, currency(code)), "{text} {code}");
        }
    }

    #[test]
    fn what_is_no_exact_amount_is_refused() {
        let too_many = |currency| MoneyError::TooManyDecimals { currency };
        for (text, code, refusal) in [
            ("", "BRL", MoneyError::Malformed),
            ("-", "BRL", MoneyError::Malformed),
            (".5", "BRL", MoneyError::Malformed),
            ("5.", "BRL", MoneyError::Malformed),
            ("+5", "BRL", MoneyError::Malformed),
            ("--5", "BRL", MoneyError::Malformed),
            (" 5", "BRL", MoneyError::Malformed),
            ("1,50", "BRL", MoneyError::Malformed),
            ("1.2.3", "BRL", MoneyError::Malformed),
            ("1.-5", "BRL", MoneyError::Malformed),
            ("١", "BRL", MoneyError::Malformed),
            ("NaN", "BRL", MoneyError::Malformed),
            ("e2", "BRL", MoneyError::Malformed),
            ("1e", "BRL", MoneyError::Malformed),
            ("1e2", "BRL", MoneyError::Exponent),
            ("-1.5E+2", "BRL", MoneyError::Exponent),
            ("1.05e-2", "BRL", MoneyError::Exponent),
            ("0.001", "BRL", too_many(BRL)),
            ("1.000", "BRL", too_many(BRL)),
            ("1.0", "JPY", too_many(currency("JPY"))),
            ("92233720368547758.08", "BRL", MoneyError::OutOfRange),
            ("-92233720368547758.09", "BRL", MoneyError::OutOfRange),
            ("99999999999999999999", "JPY", MoneyError::OutOfRange),
        ] {
            assert_eq!(Money::parse(text, currency(code)), Err(refusal), "{text} {code}");
        }
    }

    #[test]
    fn all_places_are_printed() {
        for (minor, code, text) in [
            (10_050, "BRL", "100.50"),
            (0, "BRL", "0.00"),
            (-1, "BRL", "-0.01"),
            (7, "JPY", "7"),
            (1, "CLF", "0.0001"),
            (i64::MIN, "BRL", "-92233720368547758.08"),
        ] {
            assert_eq!(Money::new(minor, currency(code)).to_string(), text);
        }
    }

    #[test]
    fn arithmetic_refuses_other_currencies_and_overflow() {
        let most = Money::new(i64::MAX, BRL);
        let least = Money::new(i64::MIN, BRL);
        let one = Money::new(1, BRL);
        let dollar = Money::new(1, currency("USD"));

        assert_eq!(one.checked_add(one), Ok(Money::new(2, BRL)));
        assert_eq!(one.checked_sub(most), Ok(Money::new(-i64::MAX + 1, BRL)));
        assert_eq!(one.checked_neg(), Ok(Money::new(-1, BRL)));
        assert_eq!(one.checked_add(dollar), Err(MoneyError::CurrencyMismatch));
        assert_eq!(one.checked_sub(dollar), Err(MoneyError::CurrencyMismatch));
        assert_eq!(most.checked_add(one), Err(MoneyError::OutOfRange));
        assert_eq!(least.checked_sub(one), Err(MoneyError::OutOfRange));
        assert_eq!(least.checked_neg(), Err(MoneyError::OutOfRange));
    }

    #[test]
    fn decimals_of_a_column_lose_nothing() {
        let stored: Decimal = "100.5000".parse().unwrap();
        assert_eq!(Money::from_decimal(stored, BRL), Ok(Money::new(10_050, BRL)));

        let finer: Decimal = "0.001".parse().unwrap();
        assert_eq!(
            Money::from_decimal(finer, BRL),
            Err(MoneyError::TooManyDecimals { currency: BRL })
        );
        assert_eq!(Money::from_decimal(Decimal::MAX, BRL), Err(MoneyError::OutOfRange));
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(
            minor: i64,
            code in prop::sample::select(vec!["BRL", "JPY", "KWD", "CLF"]),
        ) {
            let money = Money::new(minor, currency(code));

            prop_assert_eq!(Money::parse(&money.to_string(), money.currency()), Ok(money));
            prop_assert_eq!(Money::from_decimal(money.to_decimal(), money.currency()), Ok(money));
            prop_assert_eq!(money.to_decimal().to_string(), money.to_string());
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = Money::parse(&text, BRL);
        }

        #[test]
        fn what_was_added_is_taken_away(a: i64, b: i64) {
            let (a, b) = (Money::new(a, BRL), Money::new(b, BRL));
            if let Ok(sum) = a.checked_add(b) {
                prop_assert_eq!(sum.checked_sub(b), Ok(a));
            }
        }
    }
}
