//! Typed lookups of the policies that stand beside methods, fields and enums.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, ExtensionDescriptor, FieldDescriptor,
    MethodDescriptor, Value,
};

pub use crate::options::v1::{Access, EnumPolicy, FieldPolicy};
pub use crate::r#type::v1::Role;

use crate::options::v1::MethodPolicy as WireMethodPolicy;

/// Longest time of a method whose policy names none.
const DEADLINE_DEFAULT: Duration = Duration::from_secs(5);

/// Caller name that admits every service of the mesh.
const ANY_CALLER: &str = "*";

/// The mesh service that speaks for people.
const EDGE: &str = "gateway";

/// Policy of one method, ready to be enforced.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the contract")]
pub struct MethodPolicy {
    /// Whose authority a call needs.
    pub access: Access,
    /// Roles of which the user must hold one; empty admits every authenticated user.
    pub roles: Vec<Role>,
    /// Mesh services that may call the method.
    callers: Vec<String>,
    /// Rate-limit class at the edge.
    pub rate_limit: String,
    /// Whether the method honours an idempotency key.
    pub idempotency_key: bool,
    /// Longest time the method may take.
    pub deadline: Duration,
    /// HTTP status of success.
    pub success_status: u16,
    /// Whether a call whose outcome is unknown may be sent again.
    pub retry_safe: bool,
    /// Scopes that the user's token must hold.
    pub scopes: Vec<String>,
    /// When the edge sends a second copy of an unanswered call.
    pub hedge_after: Option<Duration>,
    /// Whether answers of a GET carry an `ETag`.
    pub conditional: bool,
    /// Headers of an HTTP request that travel to the service; a `*` at the end stands for any rest.
    pub request_headers: Vec<String>,
    /// Whether the caller sends a stream of messages.
    pub client_streaming: bool,
}

impl MethodPolicy {
    /// Whether the mesh service `caller` may call the method.
    pub fn admits_caller(&self, caller: &str) -> bool {
        self.callers.iter().any(|allowed| allowed == ANY_CALLER || allowed == caller)
    }

    /// Whether the mesh service `caller` may call the method for a user alone, who then must hold
    /// one of `roles`.
    pub fn demands_user(&self, caller: &str) -> bool {
        match self.access {
            Access::Authenticated => true,
            Access::UserOrService => caller == EDGE,
            Access::Unspecified | Access::Public | Access::Internal => false,
        }
    }

    /// Whether the method may have a route at the edge.
    pub fn admits_route(&self) -> bool {
        match self.access {
            Access::Public | Access::Authenticated | Access::UserOrService => true,
            Access::Unspecified | Access::Internal => false,
        }
    }

    /// Whether a user with `roles` may call the method.
    pub fn admits_roles(&self, roles: &[Role]) -> bool {
        self.roles.is_empty() || self.roles.iter().any(|role| roles.contains(role))
    }
}

impl From<WireMethodPolicy> for MethodPolicy {
    fn from(wire: WireMethodPolicy) -> Self {
        let rate_limit =
            if wire.rate_limit.is_empty() { "default".to_owned() } else { wire.rate_limit.clone() };
        Self {
            access: wire.access(),
            roles: wire.roles().collect(),
            rate_limit,
            idempotency_key: wire.idempotency_key,
            deadline: wire
                .deadline
                .and_then(|deadline| deadline.try_into().ok())
                .unwrap_or(DEADLINE_DEFAULT),
            success_status: match wire.success_status {
                0 => 200,
                status => u16::try_from(status).unwrap_or(200),
            },
            retry_safe: wire.retry_safe,
            scopes: wire.scopes,
            hedge_after: wire
                .hedge_after
                .and_then(|after| Duration::try_from(after).ok())
                .filter(|after| wire.retry_safe && !after.is_zero()),
            conditional: wire.conditional,
            request_headers: wire.request_headers,
            client_streaming: false,
            callers: wire.callers,
        }
    }
}

/// Policy of the method at a gRPC path such as `/malha.payments.v1.PaymentsService/GetTransaction`,
/// or `None` for methods that are not ours, such as health and reflection.
pub fn method(path: &str) -> Option<&'static MethodPolicy> {
    POLICIES.get(path)
}

/// gRPC paths of all methods that have a policy.
pub fn paths() -> impl Iterator<Item = &'static str> {
    POLICIES.keys().map(String::as_str)
}

static POLICIES: LazyLock<HashMap<String, MethodPolicy>> = LazyLock::new(|| {
    let methods =
        crate::pool().services().flat_map(|service| service.methods().collect::<Vec<_>>());
    methods.filter_map(|method| Some((grpc_path(&method), of_method(&method)?))).collect()
});

/// gRPC path of a method: `/package.Service/Method`.
pub fn grpc_path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// Policy written on `method`, of whatever descriptor pool.
pub fn of_method(method: &MethodDescriptor) -> Option<MethodPolicy> {
    let pool = method.parent_pool();
    let wire: WireMethodPolicy = read(pool, "malha.options.v1.method", &method.options())?;
    Some(MethodPolicy { client_streaming: method.is_client_streaming(), ..wire.into() })
}

/// Policy written on `field`; all off when there is none.
pub fn of_field(field: &FieldDescriptor) -> FieldPolicy {
    read(field.parent_pool(), "malha.options.v1.field", &field.options()).unwrap_or_default()
}

/// Policy written on `enumeration`; all off when there is none.
pub fn of_enum(enumeration: &EnumDescriptor) -> EnumPolicy {
    let pool = enumeration.parent_pool();
    read(pool, "malha.options.v1.enumeration", &enumeration.options()).unwrap_or_default()
}

/// Reads the option `extension`, of whatever descriptor pool.
pub(crate) fn read<T: prost::Message + Default>(
    pool: &DescriptorPool,
    extension: &str,
    options: &DynamicMessage,
) -> Option<T> {
    let extension: ExtensionDescriptor = pool.get_extension_by_name(extension)?;
    if !options.has_extension(&extension) {
        return None;
    }
    match &*options.get_extension(&extension) {
        Value::Message(message) => message.transcode_to().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use prost_types::method_options::IdempotencyLevel;

    use super::*;

    #[test]
    fn every_method_states_its_access_callers_and_deadline() {
        for service in crate::pool().services() {
            for method in service.methods() {
                let path = grpc_path(&method);
                let options: WireMethodPolicy =
                    read(crate::pool(), "malha.options.v1.method", &method.options())
                        .unwrap_or_else(|| panic!("{path} has no policy"));
                assert_ne!(options.access(), Access::Unspecified, "{path}");
                assert!(!options.callers.is_empty(), "{path} admits nobody");
                assert!(options.deadline.is_some(), "{path} has no deadline");
            }
        }
    }

    #[test]
    fn only_methods_for_the_edge_have_a_route() {
        let http = crate::pool().get_extension_by_name("google.api.http").unwrap();
        for method in crate::pool().services().flat_map(|s| s.methods().collect::<Vec<_>>()) {
            let policy = of_method(&method).unwrap();
            let has_route = method.options().has_extension(&http);
            if has_route {
                assert!(policy.admits_route(), "{}", method.full_name());
                assert!(policy.admits_caller(EDGE), "{}", method.full_name());
            }
            if policy.access == Access::UserOrService {
                assert!(has_route, "{} has no users", method.full_name());
            }
        }
    }

    #[test]
    fn register_answers_created_to_anybody_at_the_gateway() {
        let policy = method("/malha.identity.v1.IdentityService/Register").unwrap();

        assert_eq!(policy.access, Access::Public);
        assert_eq!(policy.success_status, 201);
        assert!(policy.admits_caller("gateway"));
        assert!(!policy.admits_caller("ledger"));
        assert_eq!(policy.rate_limit, "auth");
    }

    /// Payments moves money by its certificate, people by their token and role.
    #[test]
    fn a_user_or_a_service_may_create_transfers() {
        let policy = method("/malha.ledger.v1.LedgerService/CreateTransfers").unwrap();

        assert!(policy.demands_user("gateway") && !policy.demands_user("payments"));
        assert!(policy.admits_caller("payments") && !policy.admits_caller("accounts"));
        assert!(policy.admits_roles(&[Role::Operator]) && !policy.admits_roles(&[Role::Customer]));
    }

    /// Services may be called without a user, so who may be is named: roles, too.
    #[test]
    fn a_method_of_users_and_services_names_its_roles() {
        for method in crate::pool().services().flat_map(|s| s.methods().collect::<Vec<_>>()) {
            let policy = of_method(&method).unwrap();
            if policy.access == Access::UserOrService {
                assert!(!policy.roles.is_empty(), "{}", method.full_name());
            }
        }
    }

    #[test]
    fn roles_admit_any_of_those_named() {
        let policy = method("/malha.payments.v1.PaymentsService/ReverseTransaction").unwrap();

        assert!(policy.admits_roles(&[Role::Customer, Role::Operator]));
        assert!(!policy.admits_roles(&[Role::Customer]));
        assert_eq!(policy.deadline, Duration::from_secs(5));
    }

    /// `malha.type.v1.Role`: analysts and viewers change nothing.
    #[test]
    fn who_only_reads_may_call_nothing_that_writes() {
        let http = crate::pool().get_extension_by_name("google.api.http").unwrap();
        for method in crate::pool().services().flat_map(|s| s.methods().collect::<Vec<_>>()) {
            let policy = of_method(&method).unwrap();
            let options = method.options();
            let rule = options.get_extension(&http);
            let reads = rule.as_message().is_some_and(|rule| rule.has_field_by_name("get"));
            if policy.demands_user(EDGE) && !reads {
                let admitted = policy.admits_roles(&[Role::Viewer, Role::Analyst]);
                assert!(!admitted, "{}", method.full_name());
            }
        }
    }

    /// K-35: a POST or PATCH that changes something takes a key. Not the calls whose answer is a
    /// secret, which must not be kept, nor those of other systems, whose keys are not for us.
    #[test]
    fn whatever_writes_takes_an_idempotency_key() {
        const OTHERS: [&str; 5] = [
            "malha.identity.v1.IdentityService.Login",
            "malha.identity.v1.IdentityService.Refresh",
            "malha.webhooks.v1.WebhooksService.CreateEndpoint",
            "malha.webhooks.v1.WebhooksService.RotateSecret",
            "malha.webhooks.v1.WebhooksService.ReceiveWebhook",
        ];
        let http = crate::pool().get_extension_by_name("google.api.http").unwrap();
        for method in crate::pool().services().flat_map(|s| s.methods().collect::<Vec<_>>()) {
            let options = method.options();
            let rule = options.get_extension(&http);
            let posts = rule.as_message().is_some_and(|rule| {
                rule.has_field_by_name("post") || rule.has_field_by_name("patch")
            });
            let level = options.get_field_by_name("idempotency_level").unwrap();
            let reads = level.as_enum_number() == Some(IdempotencyLevel::NoSideEffects as i32);
            let streams = method.is_client_streaming() || method.is_server_streaming();
            let takes = posts && !reads && !streams && !OTHERS.contains(&method.full_name());
            let policy = of_method(&method).unwrap();
            assert_eq!(policy.idempotency_key, takes, "{}", method.full_name());
        }
    }

    #[test]
    fn fields_and_enums_carry_their_json_policy() {
        let balance =
            crate::pool().get_message_by_name("malha.accounts.v1.GetBalanceResponse").unwrap();
        let policy = of_field(&balance.get_field_by_name("balance").unwrap());
        assert!(policy.json_number && policy.always_print && !policy.sensitive);

        let status = crate::pool().get_enum_by_name("malha.payments.v1.TransactionStatus").unwrap();
        assert!(of_enum(&status).json_unprefixed);
    }
}
