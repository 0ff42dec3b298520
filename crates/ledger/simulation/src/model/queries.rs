//! What can be asked about the past, answered by adding up.

use index::Subject;
use proof::{
    Account, AccountId, AccountState, Entry, ExternalId, Hash, Kind, TenantId, Timestamp,
    TransferId,
};
use sha2::{Digest, Sha256};

use super::{Balances, Fact, Model, Name, Standing};
use crate::request::Pairs;

impl Model {
    /// Number of a tenant that was seen.
    pub(crate) fn tenant_number(&self, id: TenantId) -> Option<u32> {
        match self.fact(Name::Tenant(id))?.entry {
            Entry::Tenant(proof::Tenant { number, .. }) => Some(number),
            _ => None,
        }
    }

    /// All accounts as they are, in the order of their creation.
    pub(crate) fn states(&self) -> Vec<AccountState> {
        self.accounts().map(|account| self.state(account)).collect()
    }

    /// The root of the tree over all of them.
    pub(crate) fn states_root(&self) -> Hash {
        let leaf = |state: AccountState| {
            Sha256::new_with_prefix([0]).chain_update(state.leaf()).finalize().into()
        };
        root(&self.states().into_iter().map(leaf).collect::<Vec<_>>())
    }

    fn state(&self, account: &Account) -> AccountState {
        let balances = self.balances(account.tenant, account.id);
        let [debits_pending, debits_posted, credits_pending, credits_posted] =
            balances.map(|balance| u64::try_from(balance).expect("no balance is negative"));
        let Standing { is_closed, overdraft } = self.standing(account.tenant, account.id);
        let Account { tenant, id, ledger, code, limit, .. } = *account;
        AccountState {
            tenant,
            id,
            ledger,
            code,
            limit,
            is_closed,
            overdraft,
            debits_pending,
            debits_posted,
            credits_pending,
            credits_posted,
        }
    }

    /// How many accounts were created before that one, if it is among the first `length` facts.
    pub(crate) fn row_of(&self, tenant: u32, id: AccountId, length: usize) -> Option<u32> {
        let place = *self.places.get(&Name::Account(tenant, id))?;
        let is_account = |fact: &&Fact| matches!(fact.entry, Entry::Account(_));
        let row = self.facts[..place].iter().filter(is_account).count();
        (place < length).then(|| u32::try_from(row).expect("few accounts"))
    }

    /// The last amendment of an account among the first `length` facts: its place, whether the
    /// account is closed since then, and its overdraft.
    pub(crate) fn amended(
        &self,
        tenant: u32,
        id: AccountId,
        length: usize,
    ) -> Option<(u64, bool, u64)> {
        let last =
            self.facts[..length].iter().enumerate().rev().find_map(|(place, fact)| {
                match fact.entry {
                    Entry::Amendment(it) if (it.tenant, it.account) == (tenant, id) => {
                        Some((place, it))
                    }
                    _ => None,
                }
            });
        last.map(|(place, it)| (place as u64, it.is_closed, it.overdraft))
    }

    fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.facts.iter().filter_map(|fact| match &fact.entry {
            Entry::Account(account) => Some(account),
            _ => None,
        })
    }

    /// Number of the entry that is the transfer of that id.
    pub(crate) fn number_of(&self, tenant: u32, id: TransferId) -> Option<usize> {
        self.places.get(&Name::Transfer(tenant, id)).copied()
    }

    /// How many facts there were at a time.
    pub(crate) fn length_at(&self, time: Timestamp) -> usize {
        self.facts.iter().take_while(|fact| fact.entry.created_at() <= time).count()
    }

    /// What an account has, kept up to date fact by fact.
    pub(crate) fn balances(&self, tenant: u32, account: AccountId) -> Balances {
        self.balances.get(&(tenant, account)).copied().unwrap_or_default()
    }

    /// What an account had after the first `length` facts.
    pub(crate) fn balances_after(
        &self,
        tenant: u32,
        account: AccountId,
        length: usize,
    ) -> Balances {
        let history = self.history(tenant, account);
        let before = history.into_iter().rev().find(|(number, _)| *number < length);
        before.map_or([0; 4], |(_, balances)| balances)
    }

    /// Debits and credits of the first `length` facts that are in effect at a time, however late
    /// they were recorded.
    pub(crate) fn effective_balances(
        &self,
        tenant: u32,
        account: AccountId,
        at: Timestamp,
        length: usize,
    ) -> [i128; 2] {
        let mut balances = [0; 2];
        for fact in &self.facts[..length] {
            let Entry::Transfer(transfer) = &fact.entry else { continue };
            let is_posted = matches!(transfer.kind, Kind::Plain | Kind::PostPending);
            if transfer.tenant == tenant && is_posted && transfer.effective_at <= at {
                let amount = i128::from(transfer.amount);
                balances[0] += if transfer.debit == account { amount } else { 0 };
                balances[1] += if transfer.credit == account { amount } else { 0 };
            }
        }
        balances
    }

    /// Every fact that changed the balances of an account, with what it had after it.
    pub(crate) fn history(&self, tenant: u32, account: AccountId) -> Vec<(usize, Balances)> {
        let mut balances = [0; 4];
        let mut history = Vec::new();
        for place in 0..self.facts.len() {
            let Some(change) = self.change(place) else { continue };
            let sides = [(0, change.debit), (2, change.credit)];
            if change.tenant != tenant || sides.iter().all(|(_, named)| *named != account) {
                continue;
            }
            for (side, _) in sides.iter().filter(|(_, named)| *named == account) {
                balances[*side] += change.pending;
                balances[side + 1] += change.posted;
            }
            history.push((place, balances));
        }
        history
    }

    /// Transfers or accounts with an external id, or with some metadata, in order.
    pub(crate) fn referring(
        &self,
        tenant: u32,
        subject: Subject,
        external_id: Option<ExternalId>,
        metadata: &Pairs,
    ) -> Vec<usize> {
        let mut found = Vec::new();
        for (place, fact) in self.facts.iter().enumerate() {
            let (of, own) = match (&fact.entry, subject) {
                (Entry::Transfer(it), Subject::Transfer) => (it.tenant, it.external_id),
                (Entry::Account(it), Subject::Account) => (it.tenant, it.external_id),
                _ => continue,
            };
            if of == tenant
                && external_id.is_none_or(|id| own == id)
                && metadata.iter().all(|pair| fact.metadata.contains(pair))
            {
                found.push(place);
            }
        }
        found
    }

    /// The root of the tree of RFC 6962 over the first `length` facts, by its definition.
    pub(crate) fn root(&self, length: usize) -> Hash {
        let leaves: Vec<_> = self.facts[..length].iter().map(leaf).collect();
        root(&leaves)
    }
}

/// Bytes of the extension of an entry with this metadata.
pub(crate) fn extension(metadata: &Pairs) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in metadata {
        for text in [key, value] {
            bytes.push(u8::try_from(text.len()).expect("what is recorded is short"));
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// Its length, as entries say it.
pub(super) fn extension_length(metadata: &Pairs) -> u16 {
    u16::try_from(extension(metadata).len()).expect("what is recorded is short")
}

fn leaf(fact: &Fact) -> Hash {
    let hash = Sha256::new_with_prefix([0]).chain_update(fact.entry.encode());
    hash.chain_update(extension(&fact.metadata)).finalize().into()
}

fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            let hash = Sha256::new_with_prefix([1]).chain_update(root(left));
            hash.chain_update(root(right)).finalize().into()
        }
    }
}
