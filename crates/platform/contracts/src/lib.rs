//! The contracts of `proto/`, compiled: messages, clients, servers, rules and policies.
//!
//! Every message with `buf.validate` rules implements [`Validate`]; what a method or field
//! asks for beyond its types is read with [`policy`].

pub mod codec;
pub mod events;
pub mod policy;

#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::pedantic,
    clippy::all,
    rustdoc::all
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/contracts.rs"));
    include!(concat!(env!("OUT_DIR"), "/validate_impl.rs"));
}

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

pub use generated::google;
pub use generated::malha::*;
pub use prost_protovalidate::{Validate, ValidationError};

/// All contracts with their imports, comments and options: an encoded
/// `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// [`DESCRIPTOR_SET`], decoded.
pub fn pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        #[expect(clippy::expect_used, reason = "the build script encoded these bytes")]
        DescriptorPool::decode(DESCRIPTOR_SET).expect("the compiled descriptor set decodes")
    });
    &POOL
}
