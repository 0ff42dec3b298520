//! Fuzzing of the gateway: any bytes for whatever reads what clients and services send.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::install::{self, NIGHTLY};
use crate::run::{root, run_with};

/// Where the targets are.
const FOLDER: &str = "gateway/fuzz";

/// Of a whole edge every run takes other turns: to weigh how often each is taken costs more than the
/// run itself, and teaches nothing.
const NOISY: [&str; 3] = ["-entropic=0", "-use_counters=0", "-use_cmp=0"];

/// Largest piece of memory that an input may cost, and the most that a run may have.
const BOUNDS: [&str; 2] = ["-malloc_limit_mb=64", "-rss_limit_mb=1024"];

/// How long, and what.
#[derive(Args)]
pub(crate) struct Fuzz {
    /// Minutes for all targets together. Default: 1.
    #[arg(long, conflicts_with = "seconds")]
    minutes: Option<u64>,
    /// The same in seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// What is fuzzed, one after the other. Default: all.
    targets: Vec<Target>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Target {
    /// Requests with any headers to a whole edge.
    Headers,
    /// Any bytes as JSON.
    Json,
    /// Any text as a template, a path and a query.
    Path,
    /// Any bytes as a message.
    Wire,
}

impl Fuzz {
    /// A minute for all.
    pub(crate) fn briefly() -> Self {
        Self { minutes: Some(1), seconds: None, targets: Vec::new() }
    }

    /// Fuzzes; whatever is found is an error, and is kept for a test.
    pub(crate) fn run(&self) -> Result<()> {
        install::cargo_fuzz()?;
        // What is fuzzed is what is shipped: the same versions of everything.
        fs::copy(root().join("Cargo.lock"), root().join(FOLDER).join("Cargo.lock"))?;
        cargo_fuzz("build", &[])?;
        let all = Target::value_variants();
        let targets = if self.targets.is_empty() { all } else { &self.targets };
        let seconds = self.seconds.or(self.minutes.map(|minutes| minutes * 60)).unwrap_or(60);
        let each = Duration::from_secs(seconds) / u32::try_from(targets.len())?;
        let found: Vec<_> = targets
            .iter()
            .filter_map(|target| target.run(each).err())
            .map(|error| format!("{error:#}"))
            .collect();
        if !found.is_empty() {
            bail!("{}", found.join("\n"));
        }
        Ok(())
    }
}

impl Target {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn run(self, time: Duration) -> Result<()> {
        let name = self.name();
        eprintln!("fuzzing {name} for {} s", time.as_secs());
        let (corpus, found) = (kept("corpus", &name)?, kept("found", &name)?);
        let here = |place: &str| format!("{FOLDER}/{place}");
        let mut arguments = vec![name.clone(), corpus];
        let seeds = here(&format!("seeds/{name}"));
        arguments.extend(root().join(&seeds).exists().then_some(seeds));
        arguments.push("--".to_owned());
        arguments.extend(BOUNDS.map(str::to_owned));
        arguments.push(format!("-max_total_time={}", time.as_secs().max(1)));
        arguments.push(format!("-artifact_prefix={found}/"));
        // What only the end of a process would free is no leak of an input.
        arguments.extend(["-timeout=25", "-detect_leaks=0", "-verbosity=0"].map(str::to_owned));
        if matches!(self, Self::Headers) {
            arguments.extend(NOISY.map(str::to_owned));
        }
        let words = here(&format!("{name}.dict"));
        if root().join(&words).exists() {
            arguments.push(format!("-dict={words}"));
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        cargo_fuzz("run", &arguments)
            .with_context(|| format!("fuzzing `{name}` found something, kept in {found}"))
    }
}

/// A folder outside of the clone, so that the next run goes on where this one ends.
fn kept(what: &str, target: &str) -> Result<String> {
    let folder = install::cache()?.join("fuzz").join(what).join(target);
    fs::create_dir_all(&folder)?;
    Ok(folder.to_string_lossy().into_owned())
}

fn cargo_fuzz(command: &str, arguments: &[&str]) -> Result<()> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let target = target.join("fuzz").to_string_lossy().into_owned();
    let options = ["fuzz", command, "--fuzz-dir", FOLDER, "--target-dir", &target];
    let words = options.into_iter().chain(arguments.iter().copied());
    run_with(install::cargo_fuzz_binary()?, words, &[("RUSTUP_TOOLCHAIN", NIGHTLY)])
}
