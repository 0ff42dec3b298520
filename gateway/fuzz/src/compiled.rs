//! Contracts of the tests, compiled.

use std::path::PathBuf;

/// The descriptor set of a file below `gateway` or of our contracts, with its imports.
pub(crate) fn compile(folder: &str, file: &str) -> Vec<u8> {
    let gateway = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = [gateway.join(folder), gateway.join("../proto")];
    let mut compiler = protox::Compiler::new(folders).expect("the folders are there");
    compiler.include_imports(true).open_file(file).expect("the contract compiles");
    compiler.encode_file_descriptor_set()
}
