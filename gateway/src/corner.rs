//! The test contract of `tests/proto`, with every corner of the transcoder.

use std::path::PathBuf;
use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MessageDescriptor};

/// The test contract with its imports.
pub(crate) fn pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        let gateway = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap());
        let folders = [gateway.join("tests/proto"), gateway.join("../proto")];
        let mut compiler = protox::Compiler::new(folders).unwrap();
        compiler.include_imports(true).open_file("corner.proto").unwrap();
        DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).unwrap()
    });
    &POOL
}

/// A message of the test contract.
pub(crate) fn message(name: &str) -> MessageDescriptor {
    pool().get_message_by_name(&format!("malha.corner.v1.{name}")).unwrap()
}
