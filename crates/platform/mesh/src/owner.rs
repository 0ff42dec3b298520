//! Whose data a call may reach: its owner's and, for staff, everybody's (L-64).
//!
//! `target` is the id of a user, or `me` for the caller. The answer for somebody else's id is the
//! same whether or not that user exists.

use auth::{Principal, UserId};
use tonic::{Code, Status};

use crate::error::mesh_status;
use crate::wire::not_an_id;

/// The user that `target` names, if `principal` may read what is that user's.
///
/// # Errors
/// `INVALID_ARGUMENT`, reason `INVALID_FIELD`, with `field` as its violation, for what is no id;
/// `PERMISSION_DENIED`, reason `NOT_OWNER`, for somebody else's.
pub fn readable(principal: &Principal, field: &str, target: &str) -> Result<UserId, Status> {
    reach(principal, field, target, Principal::may_read)
}

/// The user that `target` names, if `principal` may change what is that user's.
///
/// # Errors
/// As those of [`readable`].
pub fn writable(principal: &Principal, field: &str, target: &str) -> Result<UserId, Status> {
    reach(principal, field, target, Principal::may_write)
}

fn reach(
    principal: &Principal,
    field: &str,
    target: &str,
    may: fn(&Principal, UserId) -> bool,
) -> Result<UserId, Status> {
    let user = principal.named(target).map_err(|_| not_an_id(field))?;
    if may(principal, user) {
        return Ok(user);
    }
    Err(mesh_status(Code::PermissionDenied, "NOT_OWNER", "this belongs to somebody else"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use auth::{Role, TenantId};
    use tonic_types::StatusExt;

    use super::*;
    use crate::error::reason;

    fn principal(user: UserId, role: Role) -> Principal {
        Principal { user, tenant: TenantId::DEFAULT, roles: vec![role] }
    }

    /// L-25, L-28, L-64, T-45: a customer reaches only what is its own; staff read everything,
    /// operators and administrators change it.
    #[test]
    fn roles_decide_whose_data_is_reached() {
        let (owner, other) = (UserId::random(), UserId::random());
        for (user, role, reads, writes) in [
            (owner, Role::Customer, true, true),
            (owner, Role::Viewer, true, true),
            (other, Role::Customer, false, false),
            (other, Role::Viewer, true, false),
            (other, Role::Analyst, true, false),
            (other, Role::Operator, true, true),
            (other, Role::Admin, true, true),
        ] {
            let (principal, target) = (principal(user, role), owner.to_string());
            for (reached, may) in [
                (readable(&principal, "id", &target), reads),
                (writable(&principal, "id", &target), writes),
            ] {
                match reached {
                    Ok(reached) => assert!(may && reached == owner, "{user} {role:?}"),
                    Err(status) => {
                        assert!(!may, "{user} {role:?}");
                        assert_eq!(status.code(), Code::PermissionDenied);
                        assert_eq!(reason(&status).as_deref(), Some("NOT_OWNER"));
                    }
                }
            }
        }
    }

    #[test]
    fn me_is_the_caller_and_dashes_alone_are_nobody() {
        let user = UserId::random();
        let principal = principal(user, Role::Customer);
        for reach in [readable, writable] {
            assert_eq!(reach(&principal, "user_id", "me").unwrap(), user);

            let status = reach(&principal, "user_id", &"-".repeat(36)).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument);
            assert_eq!(reason(&status).as_deref(), Some("INVALID_FIELD"));
            let violations = status.get_details_bad_request().unwrap().field_violations;
            assert_eq!(violations[0].field, "user_id");
        }
    }
}
