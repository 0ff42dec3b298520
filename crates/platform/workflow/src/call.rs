//! What a step is told beside the state.

use std::fmt;

use auth::TenantId;
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// The key under which an effect happens once, however often it is asked for.
///
/// It is the same in every attempt and every process: `<workflow id>/<step>`, and `/undo` behind it for
/// the compensation. Calls over the mesh made in a step carry it as their idempotency key already.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Key(String);

impl Key {
    pub(crate) fn of_step(workflow: Uuid, step: &str) -> Self {
        Self(format!("{workflow}/{step}"))
    }

    pub(crate) fn of_undo(workflow: Uuid, step: &str) -> Self {
        Self(format!("{workflow}/{step}/undo"))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key as an id, for callees whose ids are the caller's, such as the ledger: 122 bits of its
    /// SHA-256 (UUID version 8).
    pub fn id(&self) -> Uuid {
        let digest = Sha256::digest(&self.0);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Builder::from_custom_bytes(bytes).into_uuid()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One attempt at a step or a compensation.
#[derive(Clone, Debug)]
pub struct Call {
    pub(crate) tenant: TenantId,
    pub(crate) workflow: Uuid,
    pub(crate) step: &'static str,
    pub(crate) is_undo: bool,
    pub(crate) attempt: u32,
}

impl Call {
    /// Whose data the step may touch.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The workflow.
    pub fn workflow(&self) -> Uuid {
        self.workflow
    }

    /// Name of the step.
    pub fn step(&self) -> &'static str {
        self.step
    }

    /// The key of this effect.
    pub fn key(&self) -> Key {
        if self.is_undo { Key::of_undo(self.workflow, self.step) } else { self.step_key() }
    }

    /// The key of the step itself, in its compensation too: under it was done what is to be undone.
    pub fn step_key(&self) -> Key {
        Key::of_step(self.workflow, self.step)
    }

    /// Counts from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_same_in_every_attempt_and_differ_in_all_else() {
        let workflow = Uuid::from_u128(7);
        let call = |step, is_undo, attempt| Call {
            tenant: TenantId::from(Uuid::nil()),
            workflow,
            step,
            is_undo,
            attempt,
        };
        let key = call("reserve", false, 1).key();
        assert_eq!(key.as_str(), "00000000-0000-0000-0000-000000000007/reserve");
        assert_eq!(key, call("reserve", false, 9).key());
        assert_eq!(key, call("reserve", true, 1).step_key());
        assert_eq!(key.id(), call("reserve", false, 2).key().id());
        for other in [call("reserve", true, 1), call("release", false, 1)] {
            assert_ne!(key, other.key());
            assert_ne!(key.id(), other.key().id());
        }
    }
}
