//! What an account is, how its number is written, and what its ledger balances mean.

use std::fmt;

use auth::UserId;
use chrono::{DateTime, Utc};
use money::{Currency, Money};
use uuid::Uuid;

use crate::error::AccountError;

/// One account of a user in one currency.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Account {
    /// Also the id of its ledger account.
    pub(crate) id: Uuid,
    pub(crate) owner: UserId,
    pub(crate) currency: Currency,
    pub(crate) agency: String,
    pub(crate) number: AccountNumber,
    /// When the ledger was first known to hold it; until then nobody sees the account.
    pub(crate) opened_at: Option<DateTime<Utc>>,
}

/// Number of an account: 8 digits, printed with a modulo-11 check digit as `12345678-9`.
///
/// The check digit reveals one wrong digit and two that changed places.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct AccountNumber(pub(crate) u32);

impl AccountNumber {
    /// Digits are weighted 2, 3, … 9 from the right; 10 is written `X`.
    fn check_digit(self) -> char {
        let weighted = (2..=9).scan(self.0, |rest, weight| {
            let digit = *rest % 10;
            *rest /= 10;
            Some(digit * weight)
        });
        match (11 - weighted.sum::<u32>() % 11) % 11 {
            10 => 'X',
            digit => char::from_digit(digit, 10).unwrap_or('X'),
        }
    }
}

impl fmt::Display for AccountNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08}-{}", self.0, self.check_digit())
    }
}

/// Balances of a customer's ledger account, in minor units.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Balances {
    /// Debits on hold.
    pub(crate) debits_pending: u64,
    /// Debits for good.
    pub(crate) debits_posted: u64,
    /// Credits for good.
    pub(crate) credits_posted: u64,
}

impl Balances {
    /// What was credited less what was debited for good.
    pub(crate) fn posted(self, currency: Currency) -> Result<Money, AccountError> {
        let minor = i128::from(self.credits_posted) - i128::from(self.debits_posted);
        money(minor, currency)
    }

    /// What the owner can spend: the posted balance less its holds.
    pub(crate) fn available(self, currency: Currency) -> Result<Money, AccountError> {
        let minor = i128::from(self.credits_posted)
            - i128::from(self.debits_posted)
            - i128::from(self.debits_pending);
        money(minor, currency)
    }
}

/// One movement of a statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Movement {
    /// The transaction that caused it.
    pub(crate) transaction: Uuid,
    /// Negative for money that left.
    pub(crate) amount: Money,
    /// Posted balance after it.
    pub(crate) balance: Money,
    pub(crate) at: DateTime<Utc>,
}

/// An amount of the ledger as money.
pub(crate) fn money(minor: i128, currency: Currency) -> Result<Money, AccountError> {
    let minor = i64::try_from(minor).map_err(|_| AccountError::LedgerInconsistent)?;
    Ok(Money::new(minor, currency))
}

/// Binds the ledger's page token to the account whose history it is of.
pub(crate) fn seal_page_token(account: Uuid, ledger_token: &str) -> String {
    match ledger_token {
        "" => String::new(),
        token => format!("{}.{token}", account.simple()),
    }
}

/// The ledger's token inside a page token of `account`; empty for the first page.
pub(crate) fn open_page_token(account: Uuid, token: &str) -> Result<String, AccountError> {
    if token.is_empty() {
        return Ok(String::new());
    }
    match token.split_once('.') {
        Some((owner, ledger_token)) if owner == account.simple().to_string() => {
            Ok(ledger_token.to_owned())
        }
        _ => Err(AccountError::InvalidPageToken),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// L-26: `12345678-9`, with a modulo-11 digit. The last two are worked out by hand:
    /// 1·9+2·8+3·7+4·6+5·5+6·4+7·3+8·2 = 156 = 14·11 + 2, and 11 - 2 = 9.
    #[test]
    fn account_numbers_carry_their_check_digit() {
        for (number, text) in [
            (1, "00000001-9"),
            (2, "00000002-7"),
            (6, "00000006-X"),
            (11, "00000011-6"),
            (99_999_999, "99999999-0"),
            (12_345_678, "12345678-9"),
        ] {
            assert_eq!(AccountNumber(number).to_string(), text);
        }
    }

    proptest! {
        /// L-26: one wrong digit never passes for another account.
        #[test]
        fn a_wrong_digit_changes_the_check_digit(
            number in 0_u32..100_000_000,
            place in 0_u32..8,
            digit in 0_u32..10,
        ) {
            let weight = 10_u32.pow(place);
            let wrong = number - number / weight % 10 * weight + digit * weight;
            prop_assume!(wrong != number);

            prop_assert_ne!(
                AccountNumber(wrong).check_digit(),
                AccountNumber(number).check_digit()
            );
        }

        /// L-26: two digits that changed places never pass for another account.
        #[test]
        fn swapped_digits_change_the_check_digit(
            number in 0_u32..100_000_000,
            (left, right) in (0_usize..8, 0_usize..8),
        ) {
            let mut digits = format!("{number:08}").into_bytes();
            digits.swap(left, right);
            let swapped = String::from_utf8(digits).unwrap().parse().unwrap();
            prop_assume!(swapped != number);

            prop_assert_ne!(
                AccountNumber(swapped).check_digit(),
                AccountNumber(number).check_digit()
            );
        }

        /// B-13, L-28: what can be spent and what is on hold make up the posted balance.
        #[test]
        fn available_and_held_money_make_up_the_posted_balance(
            credits_posted in 0..=i64::MAX as u64,
            debits_posted in 0..=i64::MAX as u64,
            debits_pending in 0..=i64::MAX as u64,
        ) {
            let balances = Balances { debits_pending, debits_posted, credits_posted };
            let posted = balances.posted(Currency::BRL).unwrap();
            if let Ok(available) = balances.available(Currency::BRL) {
                let held = money(i128::from(debits_pending), Currency::BRL).unwrap();
                prop_assert_eq!(available.checked_add(held), Ok(posted));
            }
        }
    }

    #[test]
    fn page_tokens_serve_only_the_account_that_they_are_of() {
        let (account, other) = (Uuid::now_v7(), Uuid::now_v7());
        let token = seal_page_token(account, "position.7");

        assert_eq!(open_page_token(account, &token).unwrap(), "position.7");
        assert_eq!(open_page_token(account, "").unwrap(), "");
        assert_eq!(seal_page_token(account, ""), "");
        for (account, token) in [(other, token.as_str()), (account, "position.7"), (account, "x")] {
            assert!(matches!(open_page_token(account, token), Err(AccountError::InvalidPageToken)));
        }
    }
}
