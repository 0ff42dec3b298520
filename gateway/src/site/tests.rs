#![allow(clippy::unwrap_used)]

use http::StatusCode;

use super::*;
use crate::corner;
use crate::site::Endpoint;

fn rules(text: &str) -> Vec<Rule> {
    #[derive(serde::Deserialize)]
    struct File {
        policies: Vec<Rule>,
    }
    toml::from_str::<File>(text).unwrap().policies
}

/// A site of the greeter, with these upstreams and rules.
fn greeter(upstreams: &[&str], rules: Vec<Rule>) -> Result<Site, SiteError> {
    let contract = Contract { pool: corner::greeter().clone(), offers: BTreeMap::new() };
    let upstreams = upstreams.iter().map(|&name| name.to_owned()).collect();
    Site::build(&contract, &Settings { rules, upstreams, ..Settings::default() })
}

fn found(site: &Site, verb: &Method, path: &str) -> Arc<Rpc> {
    match site.find(verb, path).unwrap().value {
        Endpoint::Route(route) => Arc::clone(&route.rpc),
        Endpoint::Page(page) => panic!("{page:?}"),
    }
}

#[test]
fn streams_have_routes_and_a_web_socket_begins_as_a_get() {
    let site = greeter(&["one"], Vec::new()).unwrap();
    let table = [
        (Method::GET, "/v1/hello/ana", Streaming::None),
        (Method::GET, "/v1/hellos/ana", Streaming::Server),
        (Method::POST, "/v1/hellos:collect", Streaming::Client),
        (Method::POST, "/v1/chat", Streaming::Both),
        (Method::GET, "/v1/chat", Streaming::Both),
    ];
    for (verb, path, streaming) in table {
        assert_eq!(found(&site, &verb, path).streaming, streaming, "{verb} {path}");
    }
    assert_eq!(site.allow("/v1/hellos:collect").unwrap(), "OPTIONS, POST");
}

#[test]
fn a_method_without_a_route_is_at_its_grpc_path() {
    let site = greeter(&["one"], Vec::new()).unwrap();

    let path = "/greeter.v1.GreeterService/SayGoodbye";
    assert_eq!(found(&site, &Method::POST, path).grpc_path, path);
    let annotated = site.find(&Method::POST, "/greeter.v1.GreeterService/SayHello").err().unwrap();
    assert_eq!(annotated.status, StatusCode::NOT_FOUND, "what has a route has that alone");
}

#[test]
fn every_method_is_found_by_its_grpc_path() {
    let site = greeter(&["one"], Vec::new()).unwrap();

    let hello = site.rpc("/greeter.v1.GreeterService/SayHello").unwrap();
    assert_eq!(&*hello.upstream, "one");
    assert_eq!(hello.policy.access, Access::Authenticated);
    assert!(site.rpc("/greeter.v1.GreeterService/SayNothing").is_none());
}

#[test]
fn what_is_internal_is_nowhere() {
    let rules = rules("[[policies]]\nmethods = '*/SayHello*'\naccess = 'internal'");
    let site = greeter(&["one"], rules).unwrap();

    assert!(site.rpc("/greeter.v1.GreeterService/SayHello").is_none());
    let missing = site.find(&Method::GET, "/v1/hello/ana").err().unwrap();
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(site.rpc("/greeter.v1.GreeterService/Chat").is_some());
    let malha = Site::of(contracts::pool(), &[]).unwrap();
    for method in contracts::pool().services().flat_map(|s| s.methods().collect::<Vec<_>>()) {
        let policy = contracts::policy::of_method(&method).unwrap();
        let offered = malha.rpc(&contracts::policy::grpc_path(&method)).is_some();
        assert_eq!(offered, policy.admits_route(), "{}", method.full_name());
    }
}

#[test]
fn upstreams_are_those_that_rules_or_the_upstreams_name_or_the_only_one() {
    let named = "[[policies]]\nmethods = 'greeter.*'\nupstream = 'two'";
    let site = greeter(&["one", "two"], rules(named)).unwrap();
    assert_eq!(site.upstreams().into_iter().collect::<Vec<_>>(), ["two"]);

    let offers = BTreeMap::from([("greeter.v1.GreeterService".to_owned(), "two".to_owned())]);
    let contract = Contract { pool: corner::greeter().clone(), offers };
    let upstreams = vec!["one".to_owned(), "two".to_owned()];
    let settings = Settings { upstreams, ..Settings::default() };
    let site = Site::build(&contract, &settings).unwrap();
    assert_eq!(site.upstreams().into_iter().collect::<Vec<_>>(), ["two"]);
}

#[test]
fn a_site_that_cannot_be_names_the_method_and_the_fault() {
    let refused = |upstreams: &[&str], text: &str| {
        let rules = if text.is_empty() { Vec::new() } else { rules(text) };
        greeter(upstreams, rules).err().unwrap().to_string()
    };
    let nobody = refused(&["one", "two"], "");
    assert!(nobody.starts_with("greeter.v1.GreeterService.SayHello: "), "{nobody}");
    assert!(nobody.contains("there are several"), "{nobody}");
    let unknown = refused(&["one"], "[[policies]]\nmethods = '*'\nupstream = 'three'");
    assert!(unknown.contains("no upstream `three`"), "{unknown}");
    let odd = refused(&["one"], "[[policies]]\nmethods = '*/Chat'\nhedge_after = '1s'");
    assert!(odd.contains("Chat") && odd.contains("retry_safe"), "{odd}");
}

#[test]
fn services_of_grpc_itself_are_not_offered() {
    let pool = DescriptorPool::decode(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET).unwrap();
    assert!(pool.services().len() > 0);

    let site = Site::of(&pool, &[]).unwrap();
    assert!(site.rpcs.is_empty());
}
