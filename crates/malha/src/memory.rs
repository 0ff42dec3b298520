//! Memory that is free goes back to the system.

use std::time::Duration;

/// How often it is looked for.
const PAUSE: Duration = Duration::from_secs(1);

/// Gives it back, as long as this is run. The allocator does so by itself only while the process
/// allocates: one that comes to rest would keep what its last load took.
pub(crate) async fn give_back() {
    loop {
        tokio::time::sleep(PAUSE).await;
        collect();
    }
}

#[expect(unsafe_code, reason = "a call into the allocator, which is written in C")]
fn collect() {
    // SAFETY: it may be called by any thread at any time.
    unsafe { libmimalloc_sys::mi_collect(false) };
}
