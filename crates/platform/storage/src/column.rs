//! Columns as values.

use sqlx::Row;
use sqlx::postgres::PgRow;

/// Reads a column that holds one of a few names.
///
/// # Errors
/// When the column is not there, is no text, or holds another name.
pub fn named<T: Copy>(
    row: &PgRow,
    column: &str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<T, sqlx::Error> {
    one_of(column, row.try_get(column)?, all, name)
}

/// Reads one of a few names, which came from this column.
///
/// # Errors
/// When it is none of them.
pub fn one_of<T: Copy>(
    column: &str,
    text: &str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<T, sqlx::Error> {
    let found = all.iter().copied().find(|one| name(*one) == text);
    found.ok_or_else(|| sqlx::Error::Decode(format!("{column} is none that we know").into()))
}
