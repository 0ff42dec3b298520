# Thin names for `cargo xtask`; `just` lists them.

_default:
    @just --list

# Install what is missing, build, and run the whole mesh.
dev *arguments:
    cargo xtask dev {{ arguments }}

# Install what the tests need, then run all of them.
test:
    cargo xtask test

# Formatting, lints and contracts.
check:
    cargo xtask check

# Kill every process at random under load, and count the money.
crash rounds="20":
    cargo xtask crash --rounds {{ rounds }}

# A benchmark beside its peer.
bench name="edge":
    cargo xtask bench {{ name }}

# The numbered promises with their tests.
promises:
    cargo xtask promises
