//! What several upstreams show, as one contract.

use std::collections::{BTreeMap, BTreeSet};

use prost::encoding::{DecodeContext, decode_key, skip_field, string};
use prost::{DecodeError, Message};
use prost_types::FileDescriptorProto;

use super::reflection::Reflected;
use super::{ContractError, pool_of};
use crate::site::Contract;

/// Numbers of fields of a `FileDescriptorProto`.
const NAME: u32 = 1;
const DEPENDENCY: u32 = 3;

/// A file and all that it imports, by name, as they were encoded.
type Whole<'f> = BTreeMap<&'f str, &'f [u8]>;

/// Merges what upstreams show. A file that is another than one of the same name elsewhere goes by the
/// name of its upstream too: `service.proto` is a name that many have. Who shows the same file as one
/// before shares its new name.
pub(super) fn merge<'r>(
    all: impl IntoIterator<Item = &'r Reflected>,
) -> Result<Contract, ContractError> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut offers = BTreeMap::new();
    let mut offered_twice = Vec::new();
    let mut new_names: BTreeMap<(&str, Whole<'_>), String> = BTreeMap::new();
    for Reflected { upstream, services, files: own } in all {
        for service in services {
            if offers.insert(service.clone(), upstream.clone()).is_some() {
                offered_twice.push(service);
            }
        }
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for name in others(own, &files).map_err(ContractError::Broken)? {
            let whole = whole(name, own).map_err(ContractError::Broken)?;
            let new = new_names.entry((name, whole));
            let new = new.or_insert_with(|| format!("{upstream}/{name}")).clone();
            names.insert(name.to_owned(), new);
        }
        for (name, file) in own {
            match names.get(name) {
                Some(new) => {
                    let file = renamed(file, &names).map_err(ContractError::Broken)?;
                    files.insert(new.clone(), file);
                }
                None => {
                    files.entry(name.clone()).or_insert_with(|| file.clone());
                }
            }
        }
    }
    // Which of them is meant, a policy has to say.
    offers.retain(|service, _| !offered_twice.contains(&service));
    let set = EncodedSet { file: files.into_values().collect() };
    Ok(Contract { pool: pool_of(&set.encode_to_vec())?, offers })
}

/// The file of that name among `files`, with all that it imports.
fn whole<'f>(
    name: &'f str,
    files: &'f BTreeMap<String, Vec<u8>>,
) -> Result<Whole<'f>, DecodeError> {
    let (mut whole, mut wanted) = (Whole::new(), vec![name.to_owned()]);
    while let Some(name) = wanted.pop() {
        // Of those that everybody has one counts for all.
        let Some((name, file)) = files.get_key_value(&name).filter(|_| !is_well_known(&name))
        else {
            continue;
        };
        if whole.insert(name.as_str(), file.as_slice()).is_none() {
            wanted.extend(FileDescriptorProto::decode(&**file)?.dependency);
        }
    }
    Ok(whole)
}

/// Files that everybody has. Compilers of several languages write them in several ways.
pub(super) fn is_well_known(name: &str) -> bool {
    name.starts_with("google/") || name.starts_with("buf/validate/")
}

/// Those of `own` that cannot go by their names: there are others of that name, or they import one
/// for which that is so.
fn others<'f>(
    own: &'f BTreeMap<String, Vec<u8>>,
    known: &BTreeMap<String, Vec<u8>>,
) -> Result<BTreeSet<&'f str>, DecodeError> {
    let is_other = |(name, file): &(&String, &Vec<u8>)| {
        !is_well_known(name) && known.get(*name).is_some_and(|known| known != *file)
    };
    let mut others: BTreeSet<&str> =
        own.iter().filter(is_other).map(|(name, _)| name.as_str()).collect();
    loop {
        let count = others.len();
        for (name, file) in own {
            let imports = FileDescriptorProto::decode(&**file)?.dependency;
            if imports.iter().any(|import| others.contains(import.as_str())) {
                others.insert(name);
            }
        }
        if others.len() == count {
            return Ok(others);
        }
    }
}

/// The file under its new name, importing what it imports under theirs. All else stays as it was
/// encoded, since options are extensions.
fn renamed(file: &[u8], names: &BTreeMap<String, String>) -> Result<Vec<u8>, DecodeError> {
    let (mut rest, mut new) = (file, Vec::with_capacity(file.len()));
    while !rest.is_empty() {
        let field = rest;
        let (number, kind) = decode_key(&mut rest)?;
        let mut content = rest;
        skip_field(kind, number, &mut rest, DecodeContext::default())?;
        if matches!(number, NAME | DEPENDENCY) {
            let mut name = String::new();
            string::merge(kind, &mut name, &mut content, DecodeContext::default())?;
            string::encode(number, names.get(&name).unwrap_or(&name), &mut new);
        } else {
            new.extend_from_slice(&field[..field.len() - rest.len()]);
        }
    }
    Ok(new)
}

/// A `FileDescriptorSet` whose files stay as they were encoded.
#[derive(Clone, PartialEq, Message)]
struct EncodedSet {
    #[prost(bytes = "vec", repeated, tag = "1")]
    file: Vec<Vec<u8>>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use testkit::greeter;

    use super::*;

    /// What `upstream` shows of a service `Echo` in `package`.
    fn shown(upstream: &str, package: &str, field: &str) -> Reflected {
        shown_of(upstream, package, package, field)
    }

    /// The same, where the messages are in the package of somebody else.
    fn shown_of(upstream: &str, package: &str, types_of: &str, field: &str) -> Reflected {
        let types = format!(
            "syntax = 'proto3'; package {types_of}.types; message In {{ string {field} = 1; }}"
        );
        let service = format!(
            "syntax = 'proto3'; package {package};
             import 'google/api/annotations.proto'; import 'types.proto';
             service Echo {{
                 rpc Go({types_of}.types.In) returns ({types_of}.types.In) {{
                     option (google.api.http) = {{get: '/{package}'}};
                 }}
             }}"
        );
        let set = greeter::compile_with("service.proto", &service, &[("types.proto", &types)]);
        let files = EncodedSet::decode(&*set).unwrap().file.into_iter().map(|file| {
            let name = FileDescriptorProto::decode(&*file).unwrap().name().to_owned();
            (name, file)
        });
        Reflected {
            upstream: upstream.to_owned(),
            services: [format!("{package}.Echo")].into(),
            files: files.collect(),
        }
    }

    #[test]
    fn files_of_one_name_that_differ_are_both_served() {
        let all = [shown("one", "a", "x"), shown("two", "b", "y")];
        let contract = merge(&all).unwrap();
        for (service, upstream, field) in [("a.Echo", "one", "x"), ("b.Echo", "two", "y")] {
            assert_eq!(contract.offers[service], upstream);
            let service = contract.pool.get_service_by_name(service).unwrap();
            let method = service.methods().next().unwrap();
            assert!(method.input().get_field_by_name(field).is_some());
            let route = transcoder::HttpRule::of(&method).unwrap();
            assert_eq!(route[0].template, format!("/{}", service.package_name()), "options stay");
        }
    }

    /// Two share a file, and a third one has another of that name: whoever comes first.
    #[test]
    fn a_shared_file_is_one_where_a_third_has_another_of_its_name() {
        let (a, b) = (shown("one", "a", "x"), shown("two", "b", "y"));
        let c = shown_of("three", "c", "b", "y");
        for all in [[&a, &b, &c], [&b, &a, &c], [&b, &c, &a]] {
            let contract = merge(all).unwrap();
            let input = |service: &str| {
                let service = contract.pool.get_service_by_name(service).unwrap();
                service.methods().next().unwrap().input()
            };
            assert_eq!(input("b.Echo"), input("c.Echo"));
            assert_ne!(input("a.Echo"), input("b.Echo"));
        }
    }

    #[test]
    fn what_two_offer_alike_a_policy_has_to_tell_apart() {
        let contract = merge(&[shown("one", "a", "x"), shown("two", "a", "x")]).unwrap();
        assert!(contract.offers.is_empty());
    }

    #[test]
    fn one_name_for_two_messages_is_refused() {
        let error = merge(&[shown("one", "a", "x"), shown("two", "a", "y")]).unwrap_err();
        assert!(error.to_string().contains("a."), "{error}");
    }
}
