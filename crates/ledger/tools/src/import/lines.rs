//! Reading files of lines in batches.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use csv::{ReaderBuilder, StringRecord, StringRecordsIntoIter, Trim};
use engine::BATCH_ITEMS_MAX;
use proof::Metadata;

/// What a line says.
pub(super) struct Item<T> {
    /// Where it begins in the file, 1 for the first line.
    pub(super) line: u64,
    pub(super) what: T,
    pub(super) metadata: Metadata,
    /// Accepted only together with the next.
    pub(super) is_linked: bool,
}

/// What can be read from a line.
pub(super) trait Read: Sized {
    /// Names of all columns; those that have to be there first.
    const COLUMNS: &[&str];
    /// How many have to be there.
    const REQUIRED: usize;

    /// Reads the fields of a line.
    fn read(fields: &Fields<'_>) -> Result<(Self, Metadata, bool), Wrong>;
}

/// What is wrong with a line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}, line {line}, column {column}: {rule}", file.display())]
pub(super) struct Fault {
    file: PathBuf,
    line: u64,
    column: &'static str,
    rule: String,
}

/// What is wrong with a field: the name of its column, and what it has to be.
pub(super) type Wrong = (&'static str, String);

/// The fields of a line.
pub(super) struct Fields<'a> {
    record: &'a StringRecord,
    /// Where the field of each column of [`Read::COLUMNS`] is.
    places: &'a [(&'static str, Option<usize>)],
}

impl<'a> Fields<'a> {
    /// The field of that column; empty when there is none.
    pub(super) fn get(&self, column: &str) -> &'a str {
        let place = self.places.iter().find(|(name, _)| *name == column);
        place.and_then(|(_, place)| self.record.get((*place)?)).unwrap_or_default()
    }
}

/// Batches of what the lines of a file say. A linked group is never in two.
pub(super) struct Items<T> {
    file: PathBuf,
    records: StringRecordsIntoIter<File>,
    places: Vec<(&'static str, Option<usize>)>,
    /// Of a group that the last batch had no room for.
    left: Vec<Item<T>>,
}

impl<T: Read> Items<T> {
    /// Opens a file and reads the names of its columns.
    pub(super) fn open(file: &Path) -> Result<Self> {
        let name = file.display();
        let opened = File::open(file).with_context(|| format!("{name} cannot be opened"))?;
        let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(opened);
        let header = reader.headers().with_context(|| format!("{name}, line 1"))?;
        for (place, column) in header.iter().enumerate() {
            if !T::COLUMNS.contains(&column) {
                let known = T::COLUMNS.join(", ");
                bail!("{name}, line 1: the column `{column}` is none of {known}");
            }
            if header.iter().take(place).any(|other| other == column) {
                bail!("{name}, line 1: the column `{column}` is there twice");
            }
        }
        let place = |column: &&'static str| (*column, header.iter().position(|it| it == *column));
        let places: Vec<_> = T::COLUMNS.iter().map(place).collect();
        let missing = places[..T::REQUIRED].iter().find(|(_, place)| place.is_none());
        if let Some((missing, _)) = missing {
            bail!("{name}, line 1: the column `{missing}` is missing");
        }
        let records = reader.into_records();
        Ok(Self { file: file.to_owned(), records, places, left: Vec::new() })
    }

    fn batch(&mut self) -> Result<Vec<Item<T>>> {
        let mut batch = std::mem::take(&mut self.left);
        while batch.len() < BATCH_ITEMS_MAX {
            match self.records.next() {
                Some(record) => {
                    let record = record.with_context(|| self.file.display().to_string())?;
                    batch.push(self.item(&record)?);
                }
                None => return Ok(batch),
            }
        }
        // A group goes on in the next batch as a whole.
        let end = batch.iter().rposition(|item| !item.is_linked).map_or(0, |last| last + 1);
        if end == 0 {
            let rule = format!("a linked group has at most {BATCH_ITEMS_MAX} lines");
            return Err(self.fault(batch[0].line, ("linked", rule)).into());
        }
        self.left = batch.split_off(end);
        Ok(batch)
    }

    fn item(&self, record: &StringRecord) -> Result<Item<T>, Fault> {
        let line = record.position().map_or(0, csv::Position::line);
        let read = T::read(&Fields { record, places: &self.places });
        let (what, metadata, is_linked) = read.map_err(|wrong| self.fault(line, wrong))?;
        Ok(Item { line, what, metadata, is_linked })
    }

    fn fault(&self, line: u64, (column, rule): Wrong) -> Fault {
        Fault { file: self.file.clone(), line, column, rule }
    }
}

impl<T: Read> Iterator for Items<T> {
    type Item = Result<Vec<Item<T>>>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batch();
        if batch.as_ref().is_ok_and(Vec::is_empty) { None } else { Some(batch) }
    }
}
