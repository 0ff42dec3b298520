//! Installing what the machine lacks, where that is possible: as root, with apt or npm.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::run::{run, run_with, succeeds};

/// Newest version of buf that the contracts were checked with.
const BUF: &str = "@bufbuild/buf@1.75.0";

/// PostgreSQL's server binaries, 15 or newer.
pub(crate) fn postgresql() -> Result<()> {
    if has_postgresql() {
        return Ok(());
    }
    eprintln!("installing PostgreSQL");
    apt(&["postgresql"])
        .context("Malha needs PostgreSQL 15 or newer; install the package `postgresql`")?;
    if !has_postgresql() {
        bail!("PostgreSQL 15 or newer is needed, but this system's package is older");
    }
    Ok(())
}

/// The load generator of the benchmarks.
pub(crate) fn wrk() -> Result<()> {
    if succeeds("sh", ["-c", "command -v wrk"]) {
        return Ok(());
    }
    eprintln!("installing wrk");
    apt(&["wrk"]).context("the benchmarks need wrk; install the package `wrk`")
}

/// The buf binary, of PATH or of npm.
pub(crate) fn buf() -> Result<PathBuf> {
    if succeeds("buf", ["--version"]) {
        return Ok(PathBuf::from("buf"));
    }
    if !succeeds("npm", ["--version"]) {
        eprintln!("installing npm");
        apt(&["npm"])
            .context("the contract checks need buf; install `buf`, or `npm` to fetch it")?;
    }
    let folder = home()?.join(".cache/malha/buf");
    let binary = folder.join("bin/buf");
    if !binary.exists() {
        eprintln!("installing {BUF}");
        let prefix = folder.to_string_lossy();
        run("npm", ["install", "--silent", "--global", "--prefix", &prefix, BUF])?;
    }
    Ok(binary)
}

fn has_postgresql() -> bool {
    let packaged = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let new_enough = packaged.filter(|entry| {
        let version = entry.file_name().to_string_lossy().parse::<u32>();
        version.is_ok_and(|version| version >= 15) && entry.path().join("bin/initdb").exists()
    });
    new_enough.count() > 0 || succeeds("initdb", ["--version"])
}

fn apt(packages: &[&str]) -> Result<()> {
    let is_root = succeeds("sh", ["-c", "test \"$(id -u)\" = 0"]);
    if !is_root || !succeeds("apt-get", ["--version"]) {
        bail!("only root can install packages, and only where there is apt");
    }
    let quiet = [("DEBIAN_FRONTEND", "noninteractive")];
    run_with("apt-get", ["update", "--quiet=2"], &quiet)?;
    let words = ["install", "--quiet=2", "--yes", "--no-install-recommends"];
    run_with("apt-get", words.iter().chain(packages), &quiet)
}

fn home() -> Result<PathBuf> {
    std::env::home_dir().context("no home folder to keep tools in")
}
