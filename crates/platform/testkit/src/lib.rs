//! testkit: its place in the house; the code follows.
