//! What the fuzz targets share: the transcoder's own test contracts.

use std::path::PathBuf;
use std::sync::LazyLock;

use prost_reflect::DescriptorPool;
use transcoder::{MessagePlan, Schema, Settings};

/// The contract with every corner of the transcoder.
pub static CORNER: LazyLock<DescriptorPool> = LazyLock::new(|| compile("corner.proto"));

/// Plans of that contract.
pub static SCHEMA: LazyLock<Schema> =
    LazyLock::new(|| Schema::new(&CORNER, &(), Settings::default()));

fn compile(file: &str) -> DescriptorPool {
    let gateway = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = [gateway.join("transcoder/tests/proto"), gateway.join("../proto")];
    let mut compiler = protox::Compiler::new(folders).expect("the folders are there");
    compiler.include_imports(true).open_file(file).expect("the contract compiles");
    DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice())
        .expect("the contract decodes")
}

/// The plan of the message that has a field of every kind.
pub fn everything() -> MessagePlan {
    SCHEMA.message("malha.corner.v1.Everything").expect("the contract has it")
}
