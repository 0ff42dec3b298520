//! Compares what the ledger says with what the model says.

use anyhow::{Context, Result, ensure};
use index::{Balances, Direction, Numbers, Reference, Side, Subject};
use proof::{
    AccountId, AccountProof, ConsistencyProof, Entry, ExternalId, HEADER_BYTES, Leaves, TenantId,
    Timestamp, TransferProof, consistency_proof, inclusion_proof,
};
use rand::RngExt;

use crate::disk::Written;
use crate::generator::{ACCOUNTS, EXTERNALS, TENANTS};
use crate::model::extension;
use crate::simulation::Simulation;
use crate::world::World;

impl Simulation<'_> {
    /// A complete block has the entries that the model recorded, byte for byte.
    pub(crate) fn check_block(&self, written: &Written) -> Result<()> {
        let payload = &written.bytes[HEADER_BYTES..];
        let block = proof::Block::new(written.header.clone(), payload)?;
        let first = usize::try_from(block.header.first)?;
        let facts = &self.model.facts()[first..];
        for (place, ((entry, bytes), fact)) in block.iter().zip(facts).enumerate() {
            let is_same = *entry == fact.entry.encode() && bytes == extension(&fact.metadata);
            ensure!(is_same, "entry {} is {:?}, not {fact:?}", first + place, Entry::decode(entry));
        }
        Ok(())
    }

    /// Compares all that is durable.
    pub(crate) fn check_all(&mut self, world: &World) -> Result<()> {
        let durable = world.reader.durable();
        let length = usize::try_from(durable)?;
        ensure!(length == self.model.facts().len(), "{length} entries are durable");
        let mut number = 0;
        while number < durable {
            let entries = world.reader.entries(number, 1_000)?;
            for (number, entry, bytes) in entries.iter() {
                let fact = &self.model.facts()[usize::try_from(number)?];
                let is_same = *entry == fact.entry.encode() && bytes == extension(&fact.metadata);
                ensure!(is_same, "entry {number} is {:?}, not {fact:?}", Entry::decode(entry));
            }
            number += entries.entries().len() as u64;
        }
        let states: Vec<_> = world.snapshot().states().collect();
        ensure!(states == self.model.states(), "the accounts are other than the model's");
        ensure!(world.index.covers() == durable, "the index has {}", world.index.covers());
        if let (Some(head), Some(last)) = (world.reader.head(), self.written.last()) {
            ensure!(
                head.root == self.model.root(length),
                "the root over {length} entries is wrong"
            );
            head.signed_head(&last.key).verify(&last.key).context("the head is not signed")?;
        }
        for _ in 0..4 {
            self.check_some(world)?;
        }
        Ok(())
    }

    /// Asks a few questions.
    pub(crate) fn check_some(&mut self, world: &World) -> Result<()> {
        let durable = world.reader.durable();
        if durable == 0 {
            return Ok(());
        }
        self.check_transfer(world, durable)?;
        self.check_account(world, durable)?;
        self.check_references(world, durable)?;
        self.check_consistency(world)?;
        self.check_state(world, durable)?;
        self.report.questions += 5;
        Ok(())
    }

    /// A transfer is found by its id, and proved.
    fn check_transfer(&mut self, world: &World, durable: u64) -> Result<()> {
        let (tenant, id) = self.generator.known_transfer();
        let number = world.lookup.tenant(tenant);
        ensure!(number == self.model.tenant_number(tenant), "{tenant:?} is number {number:?}");
        let Some(tenant) = number else { return Ok(()) };
        let mut found = None;
        let candidates = world.lookup.transfers(tenant, id).into_iter();
        for number in candidates.filter(|number| *number < durable) {
            let (entry, metadata) = read(world, number)?;
            match entry {
                Entry::Transfer(it) if (it.tenant, it.id) == (tenant, id) => {
                    found = Some((number, it, metadata));
                }
                _ => {}
            }
        }
        let expected = self.model.number_of(tenant, id).map(|number| number as u64);
        let expected = expected.filter(|number| *number < durable);
        ensure!(found.as_ref().map(|found| found.0) == expected, "{id:?} is {found:?}");
        let Some((number, transfer, metadata)) = found else { return Ok(()) };
        let last = self.written.last().context("something is durable")?;
        let tree = world.nodes.over(|number| world.reader.leaf(number));
        let path = inclusion_proof(&tree, number, durable)?;
        let head = last.header.signed_head(&last.key);
        let metadata = proof::Metadata::decode(&metadata)?;
        let proof = TransferProof { number, transfer, metadata, path, head };
        proof.verify(&last.key).context("a transfer is not proved")
    }

    /// The present and the past of an account are what adding up gives.
    fn check_account(&mut self, world: &World, durable: u64) -> Result<()> {
        let id = TenantId::from(self.generator.one_of(&TENANTS));
        let account = AccountId::from(self.generator.random.random_range(ACCOUNTS));
        let Some(tenant) = world.lookup.tenant(id) else { return Ok(()) };
        let mut found = None;
        let candidates = world.lookup.accounts(tenant, account).into_iter();
        for (row, number) in candidates.filter(|(_, number)| *number < durable) {
            let (entry, _) = read(world, number)?;
            if matches!(entry, Entry::Account(it) if (it.tenant, it.id) == (tenant, account)) {
                found = Some(row);
            }
        }
        let length = usize::try_from(durable)?;
        let expected = self.model.row_of(tenant, account, length);
        ensure!(found == expected, "{account:?} is in row {found:?}, not {expected:?}");
        let Some(row) = found else { return Ok(()) };
        self.check_balances(world, durable, tenant, account, row)?;
        self.check_history(world, durable, tenant, account, row)
    }

    fn check_balances(
        &mut self,
        world: &World,
        durable: u64,
        tenant: u32,
        account: AccountId,
        row: u32,
    ) -> Result<()> {
        let (index, length) = (world.index.reader(), usize::try_from(durable)?);
        let time = self.some_time(length);
        let created = world.reader.number_at(time)?;
        let expected = self.model.length_at(time).min(length);
        ensure!(created == expected as u64, "{created} entries until {time:?}, not {expected}");
        for before in [expected, length] {
            let balances = numbers(index.balances(row, before as u64)?);
            let expected = self.model.balances_after(tenant, account, before);
            ensure!(balances == expected, "{account:?} had {balances:?}, not {expected:?}");
            let amended = index.amended(row, before as u64)?;
            let amended = amended.map(|it| (it.number, it.is_closed, it.overdraft));
            ensure!(amended == self.model.amended(tenant, account, before), "it was {amended:?}");
        }
        let expected = self.model.effective_balances(tenant, account, time, length);
        for (side, expected) in [Side::Debit, Side::Credit].into_iter().zip(expected) {
            let posted = index.effective_posted(row, side, created, time, durable)?;
            ensure!(
                i128::from(posted) == expected,
                "{side:?} of {account:?} in effect at {time:?}: {posted}, not {expected}"
            );
        }
        Ok(())
    }

    /// Pages in both directions.
    fn check_history(
        &mut self,
        world: &World,
        durable: u64,
        tenant: u32,
        account: AccountId,
        row: u32,
    ) -> Result<()> {
        let length = usize::try_from(durable)?;
        let mut expected = self.model.history(tenant, account);
        expected.retain(|(number, _)| *number < length);
        let direction = self.generator.one_of(&[Direction::Ascending, Direction::Descending]);
        if direction == Direction::Descending {
            expected.reverse();
        }
        let mut expected = expected.into_iter();
        let size = self.generator.random.random_range(1..200);
        let mut range = 0..durable;
        for _ in 0..3 {
            let mut last = None;
            for change in world.index.reader().history(row, range.clone(), direction)?.take(size) {
                let change = change?;
                let given = (usize::try_from(change.number)?, numbers(change.balances));
                let expected = expected.next();
                ensure!(Some(given) == expected, "{account:?}: {given:?}, not {expected:?}");
                last = Some(change.number);
            }
            let Some(last) = last else {
                ensure!(expected.len() == 0, "{account:?}: there are no more pages");
                break;
            };
            match direction {
                Direction::Ascending => range.start = last + 1,
                Direction::Descending => range.end = last,
            }
        }
        Ok(())
    }

    /// Transfers and accounts are found by external id, by metadata, and by both.
    fn check_references(&mut self, world: &World, durable: u64) -> Result<()> {
        let id = TenantId::from(self.generator.one_of(&TENANTS));
        let Some(tenant) = world.lookup.tenant(id) else { return Ok(()) };
        let subject =
            self.generator.one_of(&[Subject::Transfer, Subject::Transfer, Subject::Account]);
        let external = ExternalId::from(self.generator.random.random_range(EXTERNALS));
        let pair = self.generator.pair();
        let by_external = Reference::ExternalId(subject, external);
        let by_pair = Reference::Pair(subject, &pair.0, &pair.1);
        let direction = self.generator.one_of(&[Direction::Ascending, Direction::Descending]);
        let index = world.index.reader();
        let one = |reference| index.referring(tenant, reference, 0..durable, direction);
        let pairs = vec![pair.clone()];
        for (found, external, metadata) in [
            (one(by_external), Some(external), Vec::new()),
            (one(by_pair), None, pairs.clone()),
            (Numbers::and(one(by_external), [one(by_pair)]), Some(external), pairs),
        ] {
            let mut expected = self.model.referring(tenant, subject, external, &metadata);
            expected.retain(|number| (*number as u64) < durable);
            if direction == Direction::Descending {
                expected.reverse();
            }
            let found = found.map(|number| Ok(usize::try_from(number?)?));
            let found = found.collect::<Result<Vec<_>>>()?;
            ensure!(found == expected, "{external:?}, {metadata:?}: {found:?}, not {expected:?}");
        }
        Ok(())
    }

    /// What was once signed is still there.
    fn check_consistency(&mut self, world: &World) -> Result<()> {
        let place = self.generator.random.random_range(0..self.written.len());
        let (old, new) = (&self.written[place], &self.written[self.written.len() - 1]);
        let tree = world.nodes.over(|number| world.reader.leaf(number));
        let path = consistency_proof(&tree, old.header.end(), new.header.end())?;
        let (from, head) = (old.header.end(), new.header.signed_head(&new.key));
        let proof = ConsistencyProof { from, path, head };
        proof.verify(&old.header.head(), &new.key).context("the heads are not consistent")
    }

    /// The state of an account at the newest checkpoint is proved.
    fn check_state(&mut self, world: &World, durable: u64) -> Result<()> {
        let Some(checked) = self.checkpoint.as_ref().filter(|it| it.number < durable) else {
            return Ok(());
        };
        if checked.states.is_empty() {
            return Ok(());
        }
        let row = self.generator.random.random_range(0..checked.states.len());
        let new = &self.written[self.written.len() - 1];
        let tree = world.nodes.over(|number| world.reader.leaf(number));
        let state_path =
            inclusion_proof(&Leaves(&checked.leaves), row as u64, checked.leaves.len() as u64);
        let proof = AccountProof {
            state: checked.states[row],
            row: u32::try_from(row)?,
            state_path: state_path.unwrap_or_else(|never| match never {}),
            checkpoint: checked.checkpoint,
            number: checked.number,
            path: inclusion_proof(&tree, checked.number, new.header.end())?,
            head: new.header.signed_head(&new.key),
        };
        proof.verify(&new.key).context("an account is not proved")
    }

    /// A time about which something can be asked.
    fn some_time(&mut self, length: usize) -> Timestamp {
        let number = self.generator.random.random_range(0..length);
        let time = self.model.facts()[number].entry.created_at().nanos();
        Timestamp::from_nanos(time - self.generator.random.random_range(0..3) / 2)
    }
}

fn read(world: &World, number: u64) -> Result<(Entry, Vec<u8>)> {
    let mut extension = Vec::new();
    let entry = world.reader.entry(number, &mut extension)?;
    Ok((Entry::decode(&entry)?, extension))
}

fn numbers(balances: Balances) -> [i128; 4] {
    let (debits, credits) = (balances.debits, balances.credits);
    [debits.pending, debits.posted, credits.pending, credits.posted].map(i128::from)
}
