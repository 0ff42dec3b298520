#![allow(clippy::unwrap_used)]

use std::fs;

use testkit::greeter;

use super::*;

fn of_file(path: PathBuf) -> Follower {
    let source = Source::File(DescriptorFile::new(path));
    let settings = Settings { upstreams: vec!["one".to_owned()], ..Settings::default() };
    let contract = Contract::default();
    let brief = Duration::from_millis(10);
    Follower { source, settings, check: brief, calls_within: brief, contract, is_new: false }
}

/// Upstreams of nobody, without a mesh.
fn nowhere() -> Upstreams {
    Upstreams::new(&upstream::Config::default(), None, std::num::NonZeroUsize::MIN).unwrap()
}

fn has(site: &Site, method: &str) -> bool {
    site.rpc(&format!("/greeter.v1.GreeterService/{method}")).is_some()
}

async fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    for _ in 0..500 {
        if is_true() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen");
}

#[tokio::test]
async fn a_changed_file_changes_the_site_and_a_broken_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("greeter.binpb");
    fs::write(&path, greeter::descriptors()).unwrap();
    let mut follower = of_file(path.clone());
    let sites: Sites = Arc::new(arc_swap::ArcSwap::from_pointee(follower.first().await.unwrap()));
    let (_nobody, orders) = mpsc::channel(1);
    let following = tokio::spawn(follower.follow(Arc::clone(&sites), nowhere(), orders));
    let first = sites.load_full();
    assert!(has(&first, "SayHello"));

    fs::write(&path, b"no descriptors at all").unwrap();
    sleep(Duration::from_millis(150)).await;
    assert!(Arc::ptr_eq(&first, &sites.load_full()), "the old site stays");

    fs::write(&path, b"").unwrap();
    sleep(Duration::from_millis(150)).await;
    assert!(Arc::ptr_eq(&first, &sites.load_full()), "nothing takes no place");

    fs::remove_file(&path).unwrap();
    sleep(Duration::from_millis(100)).await;
    assert!(Arc::ptr_eq(&first, &sites.load_full()), "without a file, too");

    fs::write(&path, greeter::renamed("SayHello", "Greet")).unwrap();
    until("the reload", || has(&sites.load(), "Greet")).await;
    assert!(!has(&sites.load(), "SayHello"));
    assert!(has(&first, "SayHello"), "requests that have it end with it");
    following.abort();
}

/// Settings of two upstreams, where a policy has to say which of them offers `methods`.
fn of_two(methods: &str) -> Config {
    let (methods, upstream) = (methods.to_owned(), Some("one".to_owned()));
    let one = upstream::UpstreamConfig {
        endpoints: vec!["http://127.0.0.1:1".to_owned()],
        ..upstream::UpstreamConfig::default()
    };
    Config {
        upstreams: [("one".to_owned(), one.clone()), ("two".to_owned(), one)].into(),
        policies: vec![crate::Rule { methods, upstream, ..crate::Rule::default() }],
        ..Config::alone()
    }
}

/// K-40: contracts and the policies that they need come one after the other, in either order.
#[tokio::test]
async fn contracts_and_policies_that_need_each_other_are_served_once_both_are_there() {
    let other = greeter::PROTO.replace("package greeter.v1", "package other.v1");
    let other = greeter::compile("other.proto", &other);
    let (old, new) = (of_two("greeter.v1.*"), of_two("other.v1.*"));
    for looks_between in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.binpb");
        fs::write(&path, greeter::descriptors()).unwrap();
        let mut follower = of_file(path.clone());
        follower.settings.rules = old.policies.clone();
        follower.settings.upstreams = old.upstreams.keys().cloned().collect();
        let sites: Sites =
            Arc::new(arc_swap::ArcSwap::from_pointee(follower.first().await.unwrap()));
        let upstreams = nowhere();

        follower.obey(&new, &sites, &upstreams).await.unwrap_err();
        fs::write(&path, &other).unwrap();
        if looks_between {
            let refused = follower.next().await.err().unwrap().to_string();
            assert!(refused.contains("no policy names its upstream"), "{refused}");
        }
        assert!(has(&sites.load(), "SayHello"), "the old site stays");

        follower.obey(&new, &sites, &upstreams).await.unwrap();
        assert!(sites.load().rpc("/other.v1.GreeterService/SayHello").is_some());
        assert!(!has(&sites.load(), "SayHello"));
        assert!(follower.next().await.unwrap().is_none(), "nothing is left to do");
    }
}

/// Contracts that an order has read are served without it, where it is wrong in itself.
#[tokio::test]
async fn contracts_that_a_refused_order_has_read_are_served_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("greeter.binpb");
    fs::write(&path, greeter::descriptors()).unwrap();
    let mut follower = of_file(path.clone());
    let sites: Sites = Arc::new(arc_swap::ArcSwap::from_pointee(follower.first().await.unwrap()));

    fs::write(&path, greeter::renamed("SayHello", "Greet")).unwrap();
    follower.obey(&of_two("nobody.v1.*"), &sites, &nowhere()).await.unwrap_err();
    let site = follower.next().await.unwrap().unwrap();
    assert!(has(&site, "Greet"));
}

#[tokio::test]
async fn a_file_that_is_not_there_or_no_set_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("greeter.binpb");
    let missing = of_file(path.clone()).first().await.err().unwrap().to_string();
    assert!(missing.contains("greeter.binpb"), "{missing}");

    fs::write(&path, b"\x0a\xffjunk").unwrap();
    assert!(of_file(path.clone()).first().await.is_err());
    fs::write(&path, b"").unwrap();
    let empty = of_file(path).first().await.err().unwrap();
    assert!(matches!(empty, ContractError::Empty), "it decodes, but to nothing");
}

/// A rule of messages that cannot be compiled would fail every request.
#[tokio::test]
async fn a_rule_that_does_not_compile_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.binpb");
    let text = r#"
        syntax = "proto3";
        package a;
        import "buf/validate/validate.proto";
        message Below {
            option (buf.validate.message).cel = {id: "odd", message: "no", expression: "this.x =>"};
            int32 x = 1;
        }
        message In { Below below = 1; }
        service A { rpc Go(In) returns (In); }
    "#;
    for (text, refused) in [(text, true), (&text.replace("this.x =>", "this.x > 0"), false)] {
        fs::write(&path, greeter::compile("rules.proto", text)).unwrap();
        let built = of_file(path.clone()).first().await;
        assert_eq!(built.is_err(), refused);
        if let Err(error) = built {
            assert!(error.to_string().starts_with("the rules of a.Below: "), "{error}");
        }
    }
}

/// A policy that speaks of nobody, or of a class that is not there, does not protect what it was
/// written for.
#[tokio::test]
async fn policies_that_name_what_is_not_there_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("greeter.binpb");
    fs::write(&path, greeter::descriptors()).unwrap();
    let started = async |methods: &str, class: &str| {
        let mut follower = of_file(path.clone());
        let (methods, class) = (methods.to_owned(), Some(class.to_owned()));
        let rule = crate::Rule { methods, rate_limit: class, ..crate::Rule::default() };
        follower.settings.rules = vec![rule];
        follower.first().await.map(|_| ()).map_err(|error| error.to_string())
    };
    started("greeter.v1.*", "default").await.unwrap();
    let idle = started("greeter.v1.Greter/*", "default").await.unwrap_err();
    let said = "gateway.policies[0].methods: `greeter.v1.Greter/*` fits no method of the contracts";
    assert_eq!(idle, said);
    let unknown = started("*", "defualt").await.unwrap_err();
    assert!(unknown.ends_with("there is no class `defualt` in gateway.rate_limits.classes"));
}

/// An option that says something, but not who may call, is no reason to hide a method.
#[tokio::test]
async fn a_method_whose_options_name_no_access_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.binpb");
    let text = r#"
        syntax = "proto3";
        package a;
        import "malha/options/v1/options.proto";
        message In {}
        service A {
            rpc Go(In) returns (In) { option (malha.options.v1.method) = {idempotency_key: true}; }
        }
    "#;
    fs::write(&path, greeter::compile("half.proto", text)).unwrap();
    let error = of_file(path).first().await.err().unwrap().to_string();
    assert_eq!(error, "a.A.Go: its option malha.options.v1.method names no access");
}
