#![allow(clippy::unwrap_used)]

use super::*;

fn method(service: &str, method: &str) -> MethodDescriptor {
    let service = contracts::pool().get_service_by_name(service).unwrap();
    service.methods().find(|it| it.name() == method).unwrap()
}

fn rules(text: &str) -> Vec<Rule> {
    #[derive(serde::Deserialize)]
    struct File {
        policies: Vec<Rule>,
    }
    toml::from_str::<File>(text).unwrap().policies
}

fn reverse() -> MethodDescriptor {
    method("malha.payments.v1.PaymentsService", "ReverseTransaction")
}

/// A method of a third party: it says nothing of itself.
fn greet() -> MethodDescriptor {
    crate::corner::greeter()
        .services()
        .flat_map(|s| s.methods().collect::<Vec<_>>())
        .next()
        .unwrap()
}

#[test]
fn patterns_match_whole_names() {
    let table = [
        ("*", "a.B/C", true),
        ("a.B/C", "a.B/C", true),
        ("a.B/C", "a.B/Cd", false),
        ("a.*", "a.b.C/D", true),
        ("a.*", "ab.C/D", false),
        ("*/Get*", "a.B/GetThing", true),
        ("*/Get*", "a.B/ForgetThing", false),
        ("*Get*Thing", "a.B/GetGetThing", true),
        ("*Get*Thing", "a.B/GetGetThin", false),
        ("", "a.B/C", false),
    ];
    for (methods, name, fits) in table {
        let rule = Rule { methods: methods.to_owned(), ..Rule::default() };
        assert_eq!(rule.matches(name), fits, "{methods} {name}");
    }
}

#[test]
fn a_method_of_which_nobody_speaks_needs_a_token() {
    let decision = decide(&greet(), &[]).unwrap();

    assert_eq!(decision.policy.access, Access::Authenticated);
    assert!(decision.policy.admits::<&str, &str>(&[], &[]), "but no role");
    assert!(!decision.policy.retry_safe && decision.upstream.is_none());
}

#[test]
fn options_of_the_contract_become_roles_by_name() {
    let policy = decide(&reverse(), &[]).unwrap().policy;

    assert_eq!(policy.roles, ["OPERATOR", "ADMIN"]);
    assert!(policy.admits::<_, &str>(&["CUSTOMER", "ADMIN"], &[]));
    assert!(!policy.admits::<_, &str>(&["CUSTOMER"], &[]));
    assert_eq!(policy.deadline, Some(Duration::from_secs(5)));
}

#[test]
fn later_rules_win_where_they_speak() {
    let rules = rules(
        r#"
        [[policies]]
        methods = "*"
        deadline = "2s"
        scopes = ["read"]
        upstream = "all"
        [[policies]]
        methods = "malha.payments.v1.*"
        scopes = ["pay", "reverse"]
        success_status = 202
        [[policies]]
        methods = "nobody/*"
        access = "public"
        "#,
    );
    let Decision { policy, upstream } = decide(&reverse(), &rules).unwrap();

    assert_eq!(policy.scopes, ["pay", "reverse"]);
    assert_eq!(policy.deadline, Some(Duration::from_secs(2)));
    assert_eq!(policy.success_status, StatusCode::ACCEPTED);
    assert_eq!(policy.access, Access::Authenticated);
    assert_eq!(policy.roles, ["OPERATOR", "ADMIN"], "of the contract");
    assert_eq!(upstream.as_deref(), Some("all"));
    assert!(!policy.admits(&["ADMIN"], &["pay"]), "all scopes are needed");
    assert!(policy.admits(&["ADMIN"], &["reverse", "pay"]));
}

#[test]
fn no_rule_opens_what_the_contract_keeps_inside() {
    let watch = contracts::pool()
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .find(|method| {
            let policy = options::of_method(method).unwrap();
            policy.access == options::Access::Internal
        })
        .unwrap();
    let rules = rules("[[policies]]\nmethods = '*'\naccess = 'public'");

    assert_eq!(decide(&watch, &rules).unwrap().policy.access, Access::Internal);
    assert_eq!(decide(&greet(), &rules).unwrap().policy.access, Access::Public);
}

#[test]
fn contradictions_are_refused() {
    let table = [
        ("access = 'public'\nroles = ['ADMIN']", "public"),
        ("hedge_after = '10ms'", "retry_safe"),
        ("success_status = 404", "success_status"),
        ("deadline = '0s'", "deadline"),
        ("retry_safe = true\nhedge_after = '0s'", "hedge_after"),
        ("request_headers = ['X-Trace']", "`X-Trace`"),
        ("request_headers = ['x-*', 'a b']", "`a b`"),
    ];
    for (text, named) in table {
        let rules = rules(&format!("[[policies]]\nmethods = '*'\n{text}"));
        let fault = decide(&greet(), &rules).unwrap_err();
        assert!(fault.contains(named), "{fault}");
    }
}

/// A rule for many methods says nothing of their streams; one for a stream is refused.
#[test]
fn what_no_stream_can_be_is_refused_where_one_is_named() {
    let stream = crate::corner::greeter()
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .find(MethodDescriptor::is_server_streaming)
        .unwrap();
    for said in
        ["retry_safe = true\nhedge_after = '1s'", "conditional = true", "idempotency_key = true"]
    {
        let all = rules(&format!("[[policies]]\nmethods = '*'\n{said}"));
        decide(&stream, &all).unwrap();
        let one = rules(&format!("[[policies]]\nmethods = '{}'\n{said}", name(&stream)));
        assert!(decide(&stream, &one).unwrap_err().starts_with("it streams"), "{said}");
    }
}
