//! The statuses of the contract, read from the contract itself: their numbers, their order, and
//! which of them are final.

use std::sync::LazyLock;

const PROTO: &str = include_str!("../../../../../proto/malha/ledger/v1/ledger.proto");

/// Statuses of account creation.
pub(crate) static ACCOUNT: LazyLock<Statuses> =
    LazyLock::new(|| Statuses::read("CreateAccountStatus"));
/// Statuses of changes of accounts.
pub(crate) static AMENDMENT: LazyLock<Statuses> =
    LazyLock::new(|| Statuses::read("UpdateAccountStatus"));
/// Statuses of transfer creation.
pub(crate) static TRANSFER: LazyLock<Statuses> =
    LazyLock::new(|| Statuses::read("CreateTransferStatus"));

/// A status, by its name without what all names of its kind begin with.
pub(crate) type Status = &'static str;

/// Statuses in order of precedence.
pub(crate) struct Statuses(Vec<(Status, u16, bool)>);

impl Statuses {
    fn read(name: &str) -> Self {
        let start = PROTO.find(&format!("enum {name} {{")).expect("the contract has that enum");
        let body = &PROTO[start..start + PROTO[start..].find("\n}").expect("it ends")];
        let prefix = prefix(name);
        let (mut statuses, mut is_final) = (Vec::new(), false);
        for line in body.lines().skip(1).map(str::trim) {
            if line.starts_with("//") {
                is_final = line.ends_with("Final.");
            } else if let Some((name, number)) =
                line.strip_prefix(&prefix).and_then(|line| line.split_once(" = "))
            {
                let number = number.trim_end_matches(';').parse().expect("a number");
                statuses.push((name, number, is_final));
            }
        }
        Self(statuses)
    }

    /// The one that comes first among those that apply.
    pub(crate) fn first(&self, applying: &[Status], none: Status) -> Status {
        applying.iter().copied().min_by_key(|status| self.place(status)).unwrap_or(none)
    }

    /// Its number.
    pub(crate) fn number(&self, status: Status) -> u16 {
        self.0[self.place(status)].1
    }

    /// The status of a number.
    pub(crate) fn name(&self, number: u16) -> Status {
        self.0.iter().find(|(_, own, _)| *own == number).map_or("no status", |(name, _, _)| name)
    }

    /// Whether a refusal with it is for good.
    pub(crate) fn is_final(&self, status: Status) -> bool {
        self.0[self.place(status)].2
    }

    /// All that can be answered, in order of precedence.
    pub(crate) fn names(&self) -> impl Iterator<Item = Status> {
        self.0.iter().filter(|(_, number, _)| *number > 0).map(|(name, _, _)| *name)
    }

    fn place(&self, status: Status) -> usize {
        let place = self.0.iter().position(|(name, _, _)| *name == status);
        place.unwrap_or_else(|| panic!("the contract has no status {status}"))
    }
}

/// `CreateTransferStatus` as its values begin: `CREATE_TRANSFER_STATUS_`.
fn prefix(name: &str) -> String {
    let mut prefix = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !prefix.is_empty() {
            prefix.push('_');
        }
        prefix.push(letter.to_ascii_uppercase());
    }
    prefix + "_"
}
