//! The contract of a third party, for tests.

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

/// The contract of the greeter, which knows nothing of Malha.
pub(crate) fn greeter() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        DescriptorPool::decode(testkit::greeter::descriptors().as_slice()).unwrap()
    });
    &POOL
}
