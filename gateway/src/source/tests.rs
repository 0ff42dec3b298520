#![allow(clippy::unwrap_used)]

use std::fs;

use testkit::greeter;

use super::*;

fn of_file(path: PathBuf) -> Follower {
    let source = Source::File(DescriptorFile::new(path));
    let settings = Settings { upstreams: vec!["one".to_owned()], ..Settings::default() };
    Follower { source, settings, check: Duration::from_millis(10) }
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
    let following = tokio::spawn(follower.follow(Arc::clone(&sites)));
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

#[test]
fn files_of_one_name_that_differ_are_refused() {
    let shown = |upstream: &str, service: &str, file: &[u8]| Reflected {
        upstream: upstream.to_owned(),
        services: [service.to_owned()].into(),
        files: [("a.proto".to_owned(), file.to_vec())].into(),
    };
    let file = prost_types::FileDescriptorProto {
        name: Some("a.proto".to_owned()),
        ..prost_types::FileDescriptorProto::default()
    };
    let file = prost::Message::encode_to_vec(&file);

    let same = reflection::merge(&[shown("one", "a.A", &file), shown("two", "a.A", &file)]);
    assert!(same.unwrap().offers.is_empty(), "two offer it: a policy has to say which is meant");
    let unlike = [shown("one", "a.A", &file), shown("two", "a.B", b"")];
    let fault = reflection::merge(&unlike).unwrap_err().to_string();
    assert!(fault.contains("`one` and `two`") && fault.contains("a.proto"), "{fault}");
}
