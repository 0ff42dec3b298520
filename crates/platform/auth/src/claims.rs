//! What a token says, and what the mesh makes of it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contracts::policy::Role;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{InvalidId, TenantId, UserId};

/// Issuer of every access token.
pub const ISSUER: &str = "malha";

/// Audience of every access token.
pub const AUDIENCE: &str = "malha";

/// Claims of an access token (RFC 7519), as signed. Times are seconds since the Unix epoch.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Claims {
    /// Who signed the token: [`ISSUER`].
    pub iss: String,
    /// Whom the token is for: [`AUDIENCE`].
    pub aud: String,
    /// The user.
    pub sub: UserId,
    /// The user's tenant.
    pub tenant: TenantId,
    /// What the user may do; names without their prefix, such as `CUSTOMER`.
    #[serde(with = "role_names")]
    pub roles: Vec<Role>,
    /// When the token was signed.
    pub iat: i64,
    /// The token counts from here on.
    pub nbf: i64,
    /// The token no longer counts from here on.
    pub exp: i64,
    /// Id of this token.
    pub jti: Uuid,
}

impl Claims {
    /// Claims of a new token that counts from `now` for `time_to_live`.
    pub fn new(
        user: UserId,
        tenant: TenantId,
        roles: Vec<Role>,
        now: DateTime<Utc>,
        time_to_live: Duration,
    ) -> Self {
        let now = now.timestamp();
        let seconds = i64::try_from(time_to_live.as_secs()).unwrap_or(i64::MAX);
        Self {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: user,
            tenant,
            roles,
            iat: now,
            nbf: now,
            exp: now.saturating_add(seconds),
            jti: Uuid::new_v4(),
        }
    }
}

/// A user whose token was verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Principal {
    /// The user.
    pub user: UserId,
    /// The tenant in which the user acts.
    pub tenant: TenantId,
    /// What the user may do.
    pub roles: Vec<Role>,
}

impl Principal {
    /// The user that a request names: `me` is this one, anything else a UUID.
    pub fn named(&self, user: &str) -> Result<UserId, InvalidId> {
        if user == "me" { Ok(self.user) } else { user.parse() }
    }

    /// Whether the user works for the bank: any role but CUSTOMER.
    pub fn is_staff(&self) -> bool {
        self.has_any(&[Role::Admin, Role::Operator, Role::Analyst, Role::Viewer])
    }

    /// Whether the user holds at least one of `roles`.
    pub fn has_any(&self, roles: &[Role]) -> bool {
        self.roles.iter().any(|role| roles.contains(role))
    }

    /// Whether the user may read what `owner` owns: its own, or anybody's for staff.
    pub fn may_read(&self, owner: UserId) -> bool {
        self.user == owner || self.is_staff()
    }

    /// Whether the user may change what `owner` owns: its own, or anybody's for OPERATOR and ADMIN.
    pub fn may_write(&self, owner: UserId) -> bool {
        self.user == owner || self.has_any(&[Role::Operator, Role::Admin])
    }
}

impl From<&Claims> for Principal {
    fn from(claims: &Claims) -> Self {
        Self { user: claims.sub, tenant: claims.tenant, roles: claims.roles.clone() }
    }
}

/// Name of a role in tokens and tables: `CUSTOMER` for `ROLE_CUSTOMER`.
pub fn role_name(role: Role) -> &'static str {
    let name = role.as_str_name();
    name.strip_prefix("ROLE_").unwrap_or(name)
}

/// The role with that name in tokens and tables; `UNSPECIFIED` is none.
pub fn role_from_name(name: &str) -> Option<Role> {
    [Role::Admin, Role::Operator, Role::Analyst, Role::Viewer, Role::Customer]
        .into_iter()
        .find(|role| role_name(*role) == name)
}

/// Roles as a list of names. A name that this build does not know grants nothing.
mod role_names {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Role, role_from_name, role_name};

    pub(super) fn serialize<S: Serializer>(roles: &[Role], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(roles.iter().map(|role| role_name(*role)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Role>, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        Ok(names.iter().filter_map(|name| role_from_name(name)).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn principal(user: UserId, roles: &[Role]) -> Principal {
        Principal { user, tenant: TenantId::DEFAULT, roles: roles.to_vec() }
    }

    /// L-64, T-45.
    #[test]
    fn owners_and_staff_reach_what_their_roles_allow() {
        let (owner, other) = (UserId::random(), UserId::random());
        let table = [
            (owner, Role::Customer, true, true),
            (other, Role::Customer, false, false),
            (other, Role::Viewer, true, false),
            (other, Role::Analyst, true, false),
            (other, Role::Operator, true, true),
            (other, Role::Admin, true, true),
            (other, Role::Unspecified, false, false),
        ];
        for (user, role, reads, writes) in table {
            let principal = principal(user, &[role]);
            assert_eq!(principal.may_read(owner), reads, "{role:?} reads");
            assert_eq!(principal.may_write(owner), writes, "{role:?} writes");
        }
    }

    #[test]
    fn me_names_the_caller() {
        let (user, other) = (UserId::random(), UserId::random());
        let principal = principal(user, &[Role::Customer]);

        assert_eq!(principal.named("me"), Ok(user));
        assert_eq!(principal.named(&other.to_string()), Ok(other));
        assert_eq!(principal.named("ME"), Err(InvalidId));
    }

    #[test]
    fn role_names_carry_no_prefix_and_unknown_ones_grant_nothing() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let ttl = Duration::from_mins(15);
        let claims =
            Claims::new(UserId::random(), TenantId::DEFAULT, vec![Role::Customer], now, ttl);

        let mut json = serde_json::to_value(&claims).unwrap();
        assert_eq!(json["roles"], serde_json::json!(["CUSTOMER"]));
        assert_eq!(json["exp"], 1_800_000_900);

        json["roles"] = serde_json::json!(["CUSTOMER", "EMPEROR", "UNSPECIFIED", "ROLE_ADMIN"]);
        assert_eq!(serde_json::from_value::<Claims>(json).unwrap(), claims);
    }
}
