//! Finds the programs of PostgreSQL.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ClusterError;

/// Oldest major version that we run on.
pub(super) const MAJOR_MIN: u32 = 15;

/// A folder with `initdb` and `postgres` of one major version.
#[derive(Debug, PartialEq)]
pub(super) struct Installation {
    bin: PathBuf,
    major: u32,
}

impl Installation {
    /// The version that wrote `data`; for new data the newest.
    pub(super) fn find(data: &Path) -> Result<Self, ClusterError> {
        let written_by = fs::read_to_string(data.join("PG_VERSION"))
            .ok()
            .and_then(|text| text.trim().parse().ok());
        let installed = folders().into_iter().filter_map(Self::inspect);
        choose(installed, written_by).ok_or(match written_by {
            Some(major) => ClusterError::VersionMissing { data: data.to_owned(), major },
            None => ClusterError::NotInstalled,
        })
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    fn inspect(bin: PathBuf) -> Option<Self> {
        if !bin.join("initdb").exists() {
            return None;
        }
        let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
        let major = major_of(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { bin, major })
    }
}

fn choose(
    installed: impl Iterator<Item = Installation>,
    written_by: Option<u32>,
) -> Option<Installation> {
    installed
        .filter(|found| written_by.map_or(found.major >= MAJOR_MIN, |major| found.major == major))
        .max_by_key(|found| found.major)
}

/// Where packages put the programs: on Debian and its kin, outside `PATH` in a folder per version.
fn folders() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = env::split_paths(&path).collect();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        folders.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    folders
}

/// Reads `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL)")?.1.trim_start();
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(majors: &[u32]) -> impl Iterator<Item = Installation> {
        majors.iter().map(|&major| Installation { bin: PathBuf::from(format!("/{major}")), major })
    }

    #[test]
    fn the_version_is_read_from_a_release_a_package_and_a_beta() {
        assert_eq!(major_of("postgres (PostgreSQL) 17.2\n"), Some(17));
        assert_eq!(major_of("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_of("sh: postgres: not found"), None);
    }

    #[test]
    fn new_data_take_the_newest_version_and_old_data_their_own() {
        assert_eq!(choose(installed(&[14, 17, 15]), None), installed(&[17]).next());
        assert_eq!(choose(installed(&[14, 17, 15]), Some(15)), installed(&[15]).next());
        assert_eq!(choose(installed(&[14, 17]), Some(15)), None);
        assert_eq!(choose(installed(&[13, 14]), None), None);
    }
}
