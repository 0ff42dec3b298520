//! Threads whose work can wait.

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Of 99: niceness 5, and so a third of the share of a thread with niceness 0.
const SMALLER_SHARE: u8 = 35;

/// Lets the other threads of the machine go before this one from now on: whoever wakes takes its
/// processor at once, rather than when its time is up.
pub fn give_way() {
    set(NormalThreadSchedulePolicy::Idle, ThreadPriority::Min);
}

/// Leaves more of the processors to others than to this thread from now on, but not all: for work
/// that holds much memory until it is done.
pub fn take_turns() {
    let share = ThreadPriorityValue::try_from(SMALLER_SHARE);
    set(
        NormalThreadSchedulePolicy::Batch,
        share.map_or(ThreadPriority::Min, ThreadPriority::Crossplatform),
    );
}

fn set(policy: NormalThreadSchedulePolicy, priority: ThreadPriority) {
    let policy = ThreadSchedulePolicy::Normal(policy);
    // Where the system refuses, the others are slower, no more.
    let _ = set_thread_priority_and_policy(thread_native_id(), priority, policy);
}

#[cfg(test)]
mod tests {
    use thread_priority::thread_schedule_policy;

    use super::*;

    #[test]
    fn a_thread_that_gives_way_is_idle_to_the_system() {
        give_way();

        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        assert_eq!(thread_schedule_policy().unwrap(), idle);
    }

    #[test]
    fn a_thread_that_takes_turns_has_a_smaller_share() {
        take_turns();

        let batch = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
        assert_eq!(thread_schedule_policy().unwrap(), batch);
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        assert_eq!(fields.split(' ').nth(16), Some("5"), "{stat}");
    }
}
