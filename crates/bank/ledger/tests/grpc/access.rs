//! Who may call.

use contracts::ledger::v1 as pb;
use mesh::Context;
use testkit::{Role, TenantId, UserId};
use tonic::{Code, Response, Status};

use crate::support::*;

/// Ways to call the ledger.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Creates accounts.
    Open,
    /// Moves money.
    Move,
    /// Reads a balance.
    Read,
    /// Reads the head.
    Audit,
    /// Follows the changes.
    Watch,
}

async fn attempt(client: &mut Client, kind: Kind) -> Result<(), Status> {
    match kind {
        Kind::Open => {
            let accounts = vec![account(9)];
            client.create_accounts(pb::CreateAccountsRequest { accounts }).await.map(drop)
        }
        Kind::Move => {
            let transfers = vec![transfer(10, 1)];
            let request = pb::CreateTransfersRequest { transfers, ..Default::default() };
            client.create_transfers(request).await.map(drop)
        }
        Kind::Read => {
            let request = pb::GetBalanceRequest { account_id: uuid(1), as_of: None };
            client.get_balance(request).await.map(drop)
        }
        Kind::Audit => client.get_head(pb::GetHeadRequest {}).await.map(drop),
        Kind::Watch => {
            client.watch(pb::WatchRequest { after: 0 }).await.map(Response::into_inner).map(drop)
        }
    }
}

/// B-44, T-45: people call through the gateway, with a token and a role; the services that the
/// contract names call by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn users_come_with_a_role_through_the_gateway_and_services_by_themselves() {
    let (served, _) = opened().await;
    let nobody = || Context::system(TenantId::DEFAULT);
    let user = |role| served.kit.user_context(UserId::random(), &[role]);
    let all = [Kind::Open, Kind::Move, Kind::Read, Kind::Audit, Kind::Watch];
    let by_users = [Kind::Open, Kind::Move, Kind::Read, Kind::Audit];
    let (denied, unknown) = (Code::PermissionDenied, Code::Unauthenticated);
    // Caller, for whom, what it may do, and the refusal of what of `by_users` it may not.
    for (caller, context, admitted, refusal) in [
        ("payments", nobody(), &[Kind::Open, Kind::Move, Kind::Read, Kind::Watch][..], denied),
        (
            "payments",
            user(Role::Customer),
            &[Kind::Open, Kind::Move, Kind::Read, Kind::Watch],
            denied,
        ),
        ("accounts", nobody(), &[Kind::Open, Kind::Read], denied),
        ("engineer", nobody(), &[Kind::Read, Kind::Audit, Kind::Watch], denied),
        ("identity", nobody(), &[], denied),
        ("gateway", nobody(), &[], unknown),
        ("gateway", user(Role::Admin), &by_users, denied),
        ("gateway", user(Role::Operator), &by_users, denied),
        ("gateway", user(Role::Analyst), &[Kind::Read, Kind::Audit], denied),
        ("gateway", user(Role::Viewer), &[Kind::Read, Kind::Audit], denied),
        ("gateway", user(Role::Customer), &[], denied),
    ] {
        let mut client = served.client(caller);
        for kind in all {
            let answer = context.clone().scope(attempt(&mut client, kind)).await;
            let code = answer.err().map(|status| status.code());
            let expected = match kind {
                _ if admitted.contains(&kind) => None,
                Kind::Watch => Some(denied),
                _ => Some(refusal),
            };
            assert_eq!(code, expected, "{caller} {kind:?} {:?}", context.principal);
        }
    }
}
