//! What a profile is and what may change in it.

use auth::UserId;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::CustomerError;

/// A person with accounts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Customer {
    pub(crate) id: UserId,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) address: String,
    /// An https URL; empty for none.
    pub(crate) profile_picture: String,
    /// E.164; empty for none.
    pub(crate) phone: String,
    pub(crate) banking_details: BankingDetails,
    pub(crate) is_active: bool,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// The bank account that a customer's money is paid to, as its JSON is stored.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BankingDetails {
    pub(crate) agency: String,
    pub(crate) account_number: String,
    pub(crate) account_type: AccountType,
}

/// Kind of bank account.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum AccountType {
    Checking,
    Savings,
    Salary,
    Payment,
}

/// New values of the fields that an owner may change.
#[derive(Debug, Default)]
pub(crate) struct Proposal {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) profile_picture: String,
    pub(crate) phone: String,
    pub(crate) banking_details: Option<BankingDetails>,
}

impl Proposal {
    /// Whether a writable field has a value.
    fn has(&self, path: &str) -> bool {
        match path {
            "name" => !self.name.is_empty(),
            "address" => !self.address.is_empty(),
            "profile_picture" => !self.profile_picture.is_empty(),
            "phone" => !self.phone.is_empty(),
            _ => self.banking_details.is_some(),
        }
    }
}

/// What an update changes; `None` keeps what is stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Changes {
    pub(crate) name: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) profile_picture: Option<String>,
    pub(crate) phone: Option<String>,
    pub(crate) banking_details: Option<BankingDetails>,
}

/// Paths of an update mask that name a field the owner may change.
const WRITABLE: [&str; 5] = ["name", "address", "profile_picture", "phone", "banking_details"];
/// Paths of an update mask that name a field nobody may change here.
const OUTPUT_ONLY: [&str; 5] = ["id", "email", "is_active", "created_at", "updated_at"];

impl Changes {
    /// Takes from `proposal` what the update mask `paths` names.
    ///
    /// - No path: every writable field that is not empty.
    /// - `*` alone: every writable field, empty or not.
    /// - Otherwise the fields named; an empty one is cleared.
    ///
    /// Name and bank details cannot be cleared.
    pub(crate) fn select(proposal: &Proposal, paths: &[String]) -> Result<Self, CustomerError> {
        let paths: Vec<&str> = match paths {
            [] => WRITABLE.into_iter().filter(|path| proposal.has(path)).collect(),
            [all] if all == "*" => WRITABLE.to_vec(),
            paths => paths.iter().map(String::as_str).collect(),
        };
        let mut changes = Self::default();
        for path in paths {
            changes.take(proposal, path)?;
        }
        Ok(changes)
    }

    /// Whether nothing changes.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn take(&mut self, proposal: &Proposal, path: &str) -> Result<(), CustomerError> {
        let refused = |rule| CustomerError::invalid(&field(path), rule);
        let text = |text: &str| checked_text(&field(path), text).map(Some);
        match path {
            "name" => self.name = Some(checked_name(&field(path), &proposal.name)?),
            "address" => self.address = text(&proposal.address)?,
            "profile_picture" => self.profile_picture = text(&proposal.profile_picture)?,
            "phone" => self.phone = text(&proposal.phone)?,
            "banking_details" => {
                let details = proposal.banking_details.clone();
                self.banking_details = Some(details.ok_or_else(|| refused("must not be empty"))?);
            }
            path if OUTPUT_ONLY.contains(&path) => return Err(refused("is output only")),
            _ => return Err(refused("is not a field of a customer")),
        }
        Ok(())
    }
}

/// A name without blanks around it.
pub(crate) fn checked_name(field: &str, name: &str) -> Result<String, CustomerError> {
    match checked_text(field, name)? {
        name if name.is_empty() => Err(CustomerError::invalid(field, "must not be empty")),
        name => Ok(name),
    }
}

/// A text without blanks around it.
pub(crate) fn checked_text(field: &str, text: &str) -> Result<String, CustomerError> {
    // PostgreSQL cannot store it.
    if text.contains('\0') {
        return Err(CustomerError::invalid(field, "must not contain NUL"));
    }
    Ok(text.trim().to_owned())
}

/// Path in the request of the field that `path` of a mask names.
fn field(path: &str) -> String {
    format!("customer.{path}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn details() -> BankingDetails {
        BankingDetails {
            agency: "0001".into(),
            account_number: "00000001-9".into(),
            account_type: AccountType::Checking,
        }
    }

    fn select(proposal: &Proposal, paths: &[&str]) -> Result<Changes, CustomerError> {
        let paths: Vec<String> = paths.iter().map(|&path| path.to_owned()).collect();
        Changes::select(proposal, &paths)
    }

    /// L-25: an update changes what its mask names, and nothing else.
    #[test]
    fn a_mask_takes_the_fields_that_it_names() {
        let text = |text: &str| Some(text.to_owned());
        let full = Proposal {
            name: " Ana ".into(),
            address: "Rua A".into(),
            profile_picture: "https://example.com/a.png".into(),
            phone: "+5511987654321".into(),
            banking_details: Some(details()),
        };
        let everything = Changes {
            name: text("Ana"),
            address: text("Rua A"),
            profile_picture: text("https://example.com/a.png"),
            phone: text("+5511987654321"),
            banking_details: Some(details()),
        };
        let named = Proposal { name: "Ana".into(), ..Proposal::default() };
        let only_name = Changes { name: text("Ana"), ..Changes::default() };
        let cleared = Changes { address: text(""), ..only_name.clone() };
        for (proposal, paths, changes) in [
            (&full, &[][..], &everything),
            (&full, &["*"][..], &everything),
            (&full, &["name"][..], &only_name),
            (&full, &["name", "name"][..], &only_name),
            (&named, &[][..], &only_name),
            (&named, &["name", "address"][..], &cleared),
            (&Proposal::default(), &[][..], &Changes::default()),
        ] {
            assert_eq!(select(proposal, paths).unwrap(), *changes, "{paths:?}");
        }
        assert!(select(&Proposal::default(), &[]).unwrap().is_empty());
        assert!(!select(&named, &["address"]).unwrap().is_empty());
    }

    /// L-25: what is missing, unknown or output only is refused by its name.
    #[test]
    fn a_mask_that_cannot_be_applied_is_refused_by_field() {
        let named = Proposal { name: "Ana".into(), ..Proposal::default() };
        let nul = Proposal { address: "Rua\0A".into(), ..Proposal::default() };
        let blank = Proposal { name: " \t".into(), ..Proposal::default() };
        for (proposal, paths, expected, broken) in [
            (&blank, &["name"][..], "customer.name", "must not be empty"),
            (&blank, &["*"][..], "customer.name", "must not be empty"),
            (&nul, &[][..], "customer.address", "must not contain NUL"),
            (&nul, &["address"][..], "customer.address", "must not contain NUL"),
            (&named, &["*"][..], "customer.banking_details", "must not be empty"),
            (&named, &["banking_details"][..], "customer.banking_details", "must not be empty"),
            (&named, &["email"][..], "customer.email", "is output only"),
            (&named, &["name", "is_active"][..], "customer.is_active", "is output only"),
            (&named, &["nickname"][..], "customer.nickname", "is not a field of a customer"),
            (
                &named,
                &["banking_details.agency"][..],
                "customer.banking_details.agency",
                "is not a field of a customer",
            ),
            (&named, &["*", "name"][..], "customer.*", "is not a field of a customer"),
            (&named, &[""][..], "customer.", "is not a field of a customer"),
        ] {
            match select(proposal, paths) {
                Err(CustomerError::InvalidField { field, rule }) => {
                    assert_eq!((field.as_str(), rule), (expected, broken), "{paths:?}");
                }
                other => panic!("{paths:?}: {other:?}"),
            }
        }
    }

    /// L-26, L-31: bank details are kept as `{agency, accountNumber, accountType}`.
    #[test]
    fn bank_details_are_stored_under_the_names_of_the_document() {
        let json = serde_json::to_value(details()).unwrap();

        assert_eq!(
            json,
            serde_json::json!({
                "agency": "0001", "accountNumber": "00000001-9", "accountType": "CHECKING"
            })
        );
        assert_eq!(serde_json::from_value::<BankingDetails>(json).unwrap(), details());
    }
}
