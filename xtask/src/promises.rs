//! The numbered promises of `docs/requirements/`, each with the tests that name it.
//!
//! A test names a promise, such as `L-37`, in the comment right above it; what the comment at the
//! head of a file names counts for every test in the file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::run::root;

/// Prefix of the ids of each source.
const SOURCES: [char; 5] = ['L', 'K', 'B', 'T', 'C'];

/// Prints each promise with its tests or `open`, then the totals.
pub(crate) fn list(open_only: bool) -> Result<()> {
    let promises = promises()?;
    let tests = tests()?;
    let mut proved = 0;
    for (id, text) in &promises {
        match tests.get(id) {
            Some(_) if open_only => proved += 1,
            Some(names) => {
                proved += 1;
                println!("{id:6} {text}\n       {}", names.join("\n       "));
            }
            None => println!("{id:6} open  {text}"),
        }
    }
    println!(
        "{proved} of {} promises are named by tests, {} are open",
        promises.len(),
        promises.len() - proved
    );
    Ok(())
}

/// Id and short text of every promise, in the order of the documents.
fn promises() -> Result<Vec<(String, String)>> {
    let folder = root().join("docs/requirements");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    files.sort();
    let mut found = Vec::new();
    for file in files {
        for line in fs::read_to_string(&file)?.lines().filter(|line| line.starts_with("- ")) {
            found.extend(promises_of(line));
        }
    }
    Ok(found)
}

/// One line may hold several: `- K-08 [svc] Ledger. K-09 [svc] Payments.`
fn promises_of(line: &str) -> Vec<(String, String)> {
    let starts: Vec<usize> = ids(line)
        .filter(|(at, id)| line[at + id.len()..].starts_with(" [") || is_listed(line, *at, id))
        .map(|(at, _)| at)
        .collect();
    let ends = starts.iter().skip(1).copied().chain([line.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(&start, end)| {
            let (id, text) = line[start..end].split_once(' ').unwrap_or((&line[start..end], ""));
            (id.to_owned(), shortened(text.trim()))
        })
        .collect()
}

/// Whether an id without a tag opens a promise of its own, as in `B-08 [svc] JWT. B-09 biometrics.`
fn is_listed(line: &str, at: usize, id: &str) -> bool {
    line[..at].ends_with(". ") && line[at + id.len()..].starts_with(' ')
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Tests by the promise they name, as `path::function`.
fn tests() -> Result<BTreeMap<String, Vec<String>>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut files = Vec::new();
    for folder in ["crates", "gateway", "bench"] {
        rust_files(&root().join(folder), &mut files)?;
    }
    files.sort();
    for file in files {
        let name = file.strip_prefix(root()).unwrap_or(&file).display().to_string();
        for (id, function) in tests_of(&fs::read_to_string(&file)?) {
            let names = found.entry(id).or_default();
            let test = format!("{name}::{function}");
            if !names.contains(&test) {
                names.push(test);
            }
        }
    }
    Ok(found)
}

/// Promise and function of each test in a file.
fn tests_of(source: &str) -> Vec<(String, String)> {
    let heads = source.lines().filter(|line| line.starts_with("//!"));
    let of_file: Vec<&str> = heads.flat_map(|line| ids(line).map(|(_, id)| id)).collect();
    let mut found = Vec::new();
    let mut named: Vec<String> = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim).filter(|line| !line.starts_with("//!")) {
        if line.starts_with("//") {
            named.extend(ids(line).map(|(_, id)| id.to_owned()));
        } else if line.starts_with("#[") {
            is_test |= line.contains("test");
        } else if let Some(function) = function_name(line) {
            if is_test {
                named.extend(of_file.iter().map(|&id| id.to_owned()));
                found.extend(named.drain(..).map(|id| (id, function.to_owned())));
            }
            named.clear();
            is_test = false;
        } else if !line.is_empty() && !is_test {
            named.clear();
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ")?.split(['(', '<']).next()
}

/// Every `L-37`-like id in a text, with its place.
fn ids(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.char_indices().filter_map(move |(at, letter)| {
        let inside_word = text[..at].chars().next_back().is_some_and(char::is_alphanumeric);
        if inside_word || !SOURCES.contains(&letter) {
            return None;
        }
        let digits = text[at + 1..].strip_prefix('-')?;
        let count = digits.chars().take_while(char::is_ascii_digit).count();
        (count == 2).then(|| (at, &text[at..at + 4]))
    })
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_may_hold_several_promises() {
        let found = promises_of("- K-08 [svc] Ledger Service. K-09 [svc] Payment, see K-26.");
        let ids: Vec<_> = found.iter().map(|(id, _)| id.as_str()).collect();

        assert_eq!(ids, ["K-08", "K-09"]);
        assert_eq!(found[0].1, "[svc] Ledger Service.");
    }

    #[test]
    fn promises_at_the_head_count_for_every_test() {
        let source =
            "//! Sessions: L-14.\n#[test]\nfn one() {}\n#[test]\nfn two() {}\nfn helper() {}";

        let expected = [("L-14", "one"), ("L-14", "two")];
        assert_eq!(tests_of(source), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn promises_count_for_the_test_that_follows_alone() {
        let source = "
            /// Proves L-12 and T-08.
            #[test]
            fn registers() {}

            // L-99 is only mentioned.
            fn helper() {}

            #[tokio::test]
            async fn other() {}
        ";

        let expected = [("L-12", "registers"), ("T-08", "registers")];
        assert_eq!(tests_of(source), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn every_promise_has_an_id_of_its_own() {
        let ids: Vec<_> = promises().unwrap().into_iter().map(|(id, _)| id).collect();
        let mut unique = ids.clone();
        unique.sort();
        unique.dedup();

        assert_eq!(ids.len(), unique.len());
        assert!(ids.len() > 300, "{}", ids.len());
    }
}
