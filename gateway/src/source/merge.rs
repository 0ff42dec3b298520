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

/// Merges what upstreams show. A file that is another than one of the same name elsewhere goes by the
/// name of its upstream too: `service.proto` is a name that many have.
pub(super) fn merge<'r>(
    all: impl IntoIterator<Item = &'r Reflected>,
) -> Result<Contract, ContractError> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut offers = BTreeMap::new();
    let mut offered_twice = Vec::new();
    for Reflected { upstream, services, files: own } in all {
        for service in services {
            if offers.insert(service.clone(), upstream.clone()).is_some() {
                offered_twice.push(service);
            }
        }
        let others = others(own, &files).map_err(ContractError::Broken)?;
        let new_name = |name: &&str| ((*name).to_owned(), format!("{upstream}/{name}"));
        let names: BTreeMap<String, String> = others.iter().map(new_name).collect();
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

    /// What `upstream` shows of a service `Echo` in the package of its name.
    fn shown(upstream: &str, package: &str, field: &str) -> Reflected {
        let types = format!(
            "syntax = 'proto3'; package {package}.types; message In {{ string {field} = 1; }}"
        );
        let service = format!(
            "syntax = 'proto3'; package {package};
             import 'google/api/annotations.proto'; import 'types.proto';
             service Echo {{
                 rpc Go({package}.types.In) returns ({package}.types.In) {{
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
