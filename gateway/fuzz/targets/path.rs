//! Any text as a template, as a path and as a query.

#![no_main]

use std::sync::LazyLock;

use gateway_fuzz::{CORNER, SCHEMA};
use http::Method;
use libfuzzer_sys::fuzz_target;
use transcoder::{HttpRule, Input, Request, Router, Template};

static ROUTER: LazyLock<Router<Request>> = LazyLock::new(|| {
    let mut router = Router::default();
    for method in CORNER.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        for rule in HttpRule::of(&method).expect("the contract has rules") {
            let template = Template::parse(&rule.template).expect("its templates are right");
            let request = Request::new(&SCHEMA, &method, &rule).expect("its rules are right");
            assert!(router.insert(&template, rule.verb, request).is_ok());
        }
    }
    router
});

fuzz_target!(|target: &str| {
    if let Ok(template) = Template::parse(target) {
        let mut router = Router::default();
        assert!(router.insert(&template, None, ()).is_ok());
        // A template without variables, verbs and wildcards fits itself.
        if !target.contains(['{', '*', ':', '%']) {
            assert!(router.find(&Method::GET, target).is_ok());
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    for method in [Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::PUT] {
        let Ok(found) = ROUTER.find(&method, path) else { continue };
        let input = Input { path: &found.captures, query, content_type: "", body: b"" };
        let _ = found.value.encode(&input, &mut Vec::new());
    }
});
