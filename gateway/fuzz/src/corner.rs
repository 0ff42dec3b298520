//! The transcoder's own test contract.

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;
use transcoder::{MessagePlan, Schema, Settings};

use crate::compiled::compile;

/// The contract with every corner of the transcoder.
pub static CORNER: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let contract = compile("transcoder/tests/proto", "corner.proto");
    DescriptorPool::decode(contract.as_slice()).expect("the contract decodes")
});

/// Plans of that contract.
pub static SCHEMA: LazyLock<Schema> =
    LazyLock::new(|| Schema::new(&CORNER, &(), Settings::default()));

/// The plan of the message that has a field of every kind.
pub fn everything() -> MessagePlan {
    SCHEMA.message("malha.corner.v1.Everything").expect("the contract has it")
}
