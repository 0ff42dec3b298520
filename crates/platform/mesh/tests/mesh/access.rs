//! Who may call what: services by certificate, users by token.

use std::sync::{Arc, Mutex};

use auth::{Role, TenantId, UserId};
use mesh::{Context, Service};
use tonic::{Code, Request, Status};
use uuid::Uuid;

use crate::world::*;

/// B-44: the contract of a method names its callers; everybody else is refused.
#[tokio::test]
async fn only_the_callers_of_the_contract_are_admitted() {
    let world = World::new(&["accounts", "identity", "payments", "engineer"]);
    let reached = Count::default();
    let counted = reached.clone();
    let accounts = Accounts::new(move |_| {
        counted.up();
        async { Ok(()) }
    });
    let served = serve(&world.join("accounts"), Service::new("accounts").mount(accounts)).await;

    let identity = world.caller("identity", "accounts", &[served.address]);
    let mut client = AccountsClient::new(identity.channel("accounts"));
    client.open_account(OpenAccountRequest::default()).await.unwrap();
    assert_eq!(reached.get(), 1);

    for other in ["payments", "engineer"] {
        let other = world.caller(other, "accounts", &[served.address]);
        let mut client = AccountsClient::new(other.channel("accounts"));
        let refusal = client.open_account(OpenAccountRequest::default()).await.unwrap_err();
        assert_eq!(refusal.code(), Code::PermissionDenied);
        assert_eq!(reason(&refusal), "CALLER_NOT_ALLOWED");
    }
    assert_eq!(reached.get(), 1, "a refused call never reaches the handler");
}

#[tokio::test]
async fn what_no_contract_describes_is_refused() {
    let world = World::new(&["accounts", "engineer"]);
    let foreign = Foreign::new(|_| async { Ok(()) });
    let accounts = Accounts::new(|_| async { Ok(()) });
    let service = Service::new("accounts").mount(foreign).mount(accounts);
    let served = serve(&world.join("accounts"), service).await;
    let engineer = world.caller("engineer", "accounts", &[served.address]);

    for path in ["/somebody.elses.v1.Service/Call", "/malha.accounts.v1.AccountsService/Steal"] {
        let mut grpc = tonic::client::Grpc::new(engineer.channel("accounts"));
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<OpenAccountRequest, OpenAccountRequest>::default();
        let request = Request::new(OpenAccountRequest::default());
        let refusal = grpc.unary(request, path.parse().unwrap(), codec).await.unwrap_err();
        assert_eq!(
            (refusal.code(), reason(&refusal).as_str()),
            (Code::Unimplemented, "METHOD_UNKNOWN")
        );
    }
}

/// L-64, T-44: the service verifies the user's token itself, whatever the gateway did.
#[tokio::test]
async fn a_token_is_verified_again_by_the_service_itself() {
    let world = World::new(&["accounts", "gateway"]);
    let users = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&users);
    let accounts = Accounts::new(move |_| {
        let user = Context::principal().map(|principal| principal.user);
        seen.lock().unwrap().push(user.unwrap());
        async { Ok(()) }
    });
    let served = serve(&world.join("accounts"), Service::new("accounts").mount(accounts)).await;
    let gateway = world.caller("gateway", "accounts", &[served.address]);
    let balance = async |context: Context| {
        let mut client = AccountsClient::new(gateway.channel("accounts"));
        context.scope(client.get_balance(GetBalanceRequest::default())).await
    };

    let user = UserId::random();
    let good = claims(user, TenantId::DEFAULT, &[Role::Customer]);
    balance(world.user(&good)).await.unwrap();
    assert_eq!(*users.lock().unwrap(), [user]);

    let mut other_audience = good.clone();
    other_audience.aud = "another-bank".to_owned();
    let mut expired = good.clone();
    expired.exp -= 3600;
    let stranger = World::new(&[]);
    let table = [
        (world.user(&other_audience), "TOKEN_UNTRUSTED"),
        (world.user(&expired), "TOKEN_EXPIRED"),
        (stranger.user(&good), "TOKEN_UNTRUSTED"),
        (Context { token: Some("rubbish".into()), ..world.customer() }, "TOKEN_MALFORMED"),
        (Context { token: None, ..world.customer() }, "TOKEN_MISSING"),
    ];
    for (context, expected) in table {
        let refusal = balance(context).await.unwrap_err();
        assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::Unauthenticated, expected));
    }
    assert_eq!(users.lock().unwrap().len(), 1);
}

/// T-45: roles are those of the contract.
#[tokio::test]
async fn a_user_without_any_role_of_the_contract_is_refused() {
    let world = World::new(&["identity", "gateway"]);
    let identity = Identity::new(|_| async { Ok(()) });
    let served = serve(&world.join("identity"), Service::new("identity").mount(identity)).await;
    let gateway = world.caller("gateway", "identity", &[served.address]);
    let set_roles = async |roles: &[Role]| {
        let claims = claims(UserId::random(), TenantId::DEFAULT, roles);
        let mut client = IdentityClient::new(gateway.channel("identity"));
        let request = contracts::identity::v1::SetRolesRequest::default();
        world.user(&claims).scope(client.set_roles(request)).await
    };

    set_roles(&[Role::Viewer, Role::Admin]).await.unwrap();
    for roles in [&[Role::Operator, Role::Customer][..], &[]] {
        let refusal = set_roles(roles).await.unwrap_err();
        assert_eq!(
            (refusal.code(), reason(&refusal).as_str()),
            (Code::PermissionDenied, "ROLE_MISSING")
        );
    }
}

/// B-44, T-45: people come through the gateway, with a token and a role; services by themselves.
#[tokio::test]
async fn a_method_of_users_and_services_demands_a_user_of_the_gateway_alone() {
    let world = World::new(&["ledger", "gateway", "payments", "accounts"]);
    let ledger = Ledger::new(|_| async { Ok(()) });
    let served = serve(&world.join("ledger"), Service::new("ledger").mount(ledger)).await;
    let create = async |caller: &str, context: Context| {
        let caller = world.caller(caller, "ledger", &[served.address]);
        let mut client = LedgerClient::new(caller.channel("ledger"));
        let answer = client.create_transfers(CreateTransfersRequest::default());
        context.scope(answer).await.map_err(|refusal| (refusal.code(), reason(&refusal)))
    };
    let nobody = || Context::system(TenantId::DEFAULT);
    let user = |roles: &[Role]| world.user(&claims(UserId::random(), TenantId::DEFAULT, roles));
    let refused = |code, reason: &str| Err((code, reason.to_owned()));

    for (caller, context, expected) in [
        ("payments", nobody(), Ok(())),
        ("payments", user(&[Role::Customer]), Ok(())),
        ("gateway", user(&[Role::Operator]), Ok(())),
        ("gateway", nobody(), refused(Code::Unauthenticated, "TOKEN_MISSING")),
        ("gateway", user(&[Role::Viewer]), refused(Code::PermissionDenied, "ROLE_MISSING")),
        ("gateway", user(&[Role::Customer]), refused(Code::PermissionDenied, "ROLE_MISSING")),
        ("accounts", nobody(), refused(Code::PermissionDenied, "CALLER_NOT_ALLOWED")),
    ] {
        let answer = create(caller, context).await.map(drop);
        assert_eq!(answer, expected, "{caller}");
    }
}

#[tokio::test]
async fn a_public_method_is_served_whatever_token_is_shown() {
    let world = World::new(&["identity", "gateway"]);
    let identity = Identity::new(|seen| {
        let context = seen.context.unwrap();
        assert!(context.principal.is_none() && context.token.is_none());
        async { Ok(()) }
    });
    let served = serve(&world.join("identity"), Service::new("identity").mount(identity)).await;
    let gateway = world.caller("gateway", "identity", &[served.address]);

    let mut client = IdentityClient::new(gateway.channel("identity"));
    let stale = Context { token: Some("stale".into()), ..world.customer() };
    stale.scope(client.login(LoginRequest::default())).await.unwrap();
}

/// L-08, L-71: what belongs to a request reaches the last hop.
#[tokio::test]
async fn context_arrives_at_the_second_hop() {
    let world = World::new(&["ledger", "accounts", "gateway"]);
    let seen: Arc<Mutex<Option<Seen>>> = Arc::default();
    let last = Arc::clone(&seen);
    let ledger = Ledger::new(move |call| {
        *last.lock().unwrap() = Some(call);
        async { Ok(()) }
    });
    let ledger = serve(&world.join("ledger"), Service::new("ledger").mount(ledger)).await;
    let middle = world.caller("accounts", "ledger", &[ledger.address]);
    let onward = middle.channel("ledger");
    let accounts = Accounts::new(move |_| {
        let mut client = LedgerClient::new(onward.clone());
        async move { client.lookup_accounts(LookupAccountsRequest::default()).await.map(drop) }
    });
    let accounts = serve(&middle, Service::new("accounts").mount(accounts)).await;
    let gateway = world.caller("gateway", "accounts", &[accounts.address]);

    let tenant = TenantId::from(Uuid::now_v7());
    let user = UserId::random();
    let mut context = world.user(&claims(user, tenant, &[Role::Customer]));
    context.correlation_id = "from-the-edge".into();
    context.idempotency_key = Some("key-1".into());
    let mut client = AccountsClient::new(gateway.channel("accounts"));
    let edge = tracing::info_span!("edge");
    let call = context.scope(client.get_balance(GetBalanceRequest::default()));
    tracing::Instrument::instrument(call, edge.clone()).await.unwrap();

    let call = seen.lock().unwrap().take().unwrap();
    let arrived = call.context.as_ref().unwrap();
    assert_eq!(arrived.tenant, tenant, "the token's tenant, not the one that the context claims");
    assert_eq!(arrived.principal.as_ref().unwrap().user, user);
    assert_eq!(&*arrived.correlation_id, "from-the-edge");
    assert_eq!(arrived.idempotency_key.as_deref(), Some("key-1"));
    let mut headers = http::HeaderMap::new();
    edge.in_scope(|| telemetry::inject(&mut headers));
    let trace = |parent: &str| parent.split('-').nth(1).unwrap().to_owned();
    let expected = trace(headers["traceparent"].to_str().unwrap());
    assert_eq!(trace(call.header("traceparent").unwrap()), expected, "one trace");
}

#[tokio::test]
async fn a_call_without_a_user_carries_its_tenant() {
    let world = World::new(&["accounts", "identity"]);
    let tenant = TenantId::from(Uuid::now_v7());
    let accounts = Accounts::new(move |seen| {
        let context = seen.context.unwrap();
        assert!(!context.correlation_id.is_empty());
        let answer = if context.tenant == tenant { Ok(()) } else { Err(Status::not_found("")) };
        async { answer }
    });
    let served = serve(&world.join("accounts"), Service::new("accounts").mount(accounts)).await;
    let identity = world.caller("identity", "accounts", &[served.address]);
    let mut client = AccountsClient::new(identity.channel("accounts"));

    let request = || OpenAccountRequest::default();
    Context::system(tenant).scope(client.open_account(request())).await.unwrap();

    let nobody = client.open_account(request()).await.unwrap_err();
    assert_eq!(nobody.code(), Code::NotFound, "without a context it is the default tenant");

    let mut malformed = Request::new(request());
    malformed.metadata_mut().insert("x-malha-tenant", "not-a-uuid".parse().unwrap());
    let refusal = client.open_account(malformed).await.unwrap_err();
    assert_eq!(
        (refusal.code(), reason(&refusal).as_str()),
        (Code::InvalidArgument, "TENANT_INVALID")
    );
}
