//! Running other programs, at the root of the workspace.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Root of the workspace, as cargo tells whoever it runs: the place where this program was built may
/// be another checkout that shared a build folder.
pub(crate) fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(PathBuf::new, PathBuf::from).join("..")
}

/// Runs a program to its end; its failure is an error.
pub(crate) fn run<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = S>,
) -> Result<()> {
    run_with(program, arguments, &[])
}

/// [`run`] with further environment variables.
pub(crate) fn run_with<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = S>,
    environment: &[(&str, &str)],
) -> Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).envs(environment.iter().copied()).current_dir(root());
    let shown = shown(&command);
    let status = command.status().with_context(|| format!("cannot run `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed: {status}");
    }
    Ok(())
}

/// What a program prints.
pub(crate) fn output<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = S>,
) -> Result<Vec<u8>> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root()).stderr(Stdio::inherit());
    let shown = shown(&command);
    let output = command.output().with_context(|| format!("cannot run `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` failed: {}", output.status);
    }
    Ok(output.stdout)
}

/// Whether a program runs and succeeds, silently.
pub(crate) fn succeeds<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = S>,
) -> bool {
    let status = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// Runs cargo.
pub(crate) fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<()> {
    run("cargo", arguments)
}

/// Builds `malha`, then becomes it, so that signals reach it alone.
pub(crate) fn malha<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<()> {
    use std::os::unix::process::CommandExt;

    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "--package", "malha", "--"]).args(arguments);
    Err(command.exec()).context("cannot run `malha`")
}

fn shown(command: &Command) -> String {
    let arguments = command.get_args().map(OsStr::to_string_lossy);
    let words = std::iter::once(command.get_program().to_string_lossy()).chain(arguments);
    words.collect::<Vec<_>>().join(" ")
}
