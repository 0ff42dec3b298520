//! The composition root: every module of Malha, in one table.
//!
//! A new service is one entry here and one field in [`Settings`].

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Result, bail};
use clock::Clock;
use futures::future::BoxFuture;
use mesh::{Mesh, Service};
use storage::Database;

use crate::settings::Settings;

/// One part of Malha that can be served by itself.
#[derive(Debug)]
pub(crate) struct Module {
    /// Name in the mesh, on the command line and in its certificate.
    pub(crate) name: &'static str,
    /// Default port of its gRPC listener; the edge has listeners of its own.
    pub(crate) port: Option<u16>,
    /// Modules whose contracts it calls. They stop after it; they need not start before it.
    pub(crate) calls: &'static [&'static str],
    /// How it starts.
    pub(crate) start: Start,
}

/// How a module starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    /// A service with a schema of its own in PostgreSQL.
    Stored(fn(Parts, Database) -> BoxFuture<'static, Result<Service>>),
    /// A service that keeps its own data.
    Own(fn(Parts) -> BoxFuture<'static, Result<Service>>),
    /// The edge: it serves HTTP to the world, not gRPC to the mesh.
    Edge,
}

/// What a constructor builds its service from.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) settings: Arc<Settings>,
    pub(crate) mesh: Mesh,
    pub(crate) clock: Clock,
}

/// All modules, callers before the called: the order in which they stop.
pub(crate) const MODULES: &[Module] = &[
    Module {
        name: "gateway",
        port: None,
        calls: &[
            "identity",
            "notifications",
            "webhooks",
            "customers",
            "accounts",
            "payments",
            "workflows",
            "ledger",
        ],
        start: Start::Edge,
    },
    Module {
        name: "identity",
        port: Some(7101),
        calls: &["customers", "accounts"],
        start: Start::Stored(|parts, database| {
            Box::pin(async move {
                let config = parts.settings.identity.clone();
                Ok(identity::start(config, &parts.mesh, database, parts.clock).await?)
            })
        }),
    },
    Module {
        name: "notifications",
        port: Some(7107),
        calls: &["customers"],
        start: Start::Stored(|parts, database| {
            Box::pin(async move {
                let config = parts.settings.notifications.clone();
                let bus = parts.settings.events.open(&database).await?;
                let bus_kept = parts.settings.events.relay.bus_kept;
                Ok(notifications::start(config, &parts.mesh, database, bus, bus_kept, parts.clock)
                    .await?)
            })
        }),
    },
    Module {
        name: "customers",
        port: Some(7102),
        calls: &[],
        start: Start::Stored(|parts, database| {
            Box::pin(async move {
                let config = parts.settings.customers.clone();
                Ok(customers::start(config, &parts.mesh, database, parts.clock).await?)
            })
        }),
    },
    Module {
        name: "payments",
        port: Some(7105),
        calls: &["accounts", "ledger"],
        start: Start::Stored(|parts, database| {
            Box::pin(async move {
                let config = parts.settings.payments.clone();
                Ok(payments::start(config, &parts.mesh, database, parts.clock).await?)
            })
        }),
    },
    Module {
        name: "accounts",
        port: Some(7103),
        calls: &["ledger"],
        start: Start::Stored(|parts, database| {
            Box::pin(async move {
                let config = parts.settings.accounts.clone();
                let bus = parts.settings.events.open(&database).await?;
                Ok(accounts::start(config, &parts.mesh, database, bus, parts.clock).await?)
            })
        }),
    },
    Module {
        name: "workflows",
        port: Some(7108),
        calls: &[],
        start: Start::Stored(|parts, database| {
            Box::pin(async move {
                let config = parts.settings.workflows.clone();
                Ok(workflows::start(config, &parts.mesh, database, parts.clock))
            })
        }),
    },
    Module {
        name: "ledger",
        port: Some(7104),
        calls: &[],
        start: Start::Own(|parts| {
            Box::pin(async move {
                let config = parts.settings.ledger.clone();
                Ok(ledger::start(config, &parts.mesh, parts.clock).await?)
            })
        }),
    },
    Module {
        name: "webhooks",
        port: Some(7109),
        calls: &[],
        start: Start::Stored(|parts, database| {
            Box::pin(async move {
                let config = parts.settings.webhooks.clone();
                let bus = parts.settings.events.open(&database).await?;
                let bus_kept = parts.settings.events.relay.bus_kept;
                let resolver = Arc::new(webhooks::SystemResolver);
                let Parts { mesh, clock, .. } = parts;
                Ok(webhooks::start(config, &mesh, database, clock, bus, bus_kept, resolver).await?)
            })
        }),
    },
    Module {
        name: "events",
        port: Some(7106),
        calls: &[],
        start: Start::Stored(|parts, database| {
            Box::pin(async move {
                let config = parts.settings.events.clone();
                Ok(events::start(config, database).await?)
            })
        }),
    },
];

/// The modules of these names, in the order of the table; `all` names every one.
pub(crate) fn select(names: &[String]) -> Result<Vec<&'static Module>> {
    let known = || MODULES.iter().map(|module| module.name).collect::<Vec<_>>().join(", ");
    for name in names {
        if name != "all" && !MODULES.iter().any(|module| module.name == name) {
            bail!("there is no service `{name}`; there are: {}, all", known());
        }
    }
    let is_wanted = |module: &&Module| names.iter().any(|it| it == "all" || it == module.name);
    Ok(MODULES.iter().filter(is_wanted).collect())
}

/// Where each service listens unless a setting says otherwise: on the loopback.
pub(crate) fn addresses() -> impl Iterator<Item = (&'static str, SocketAddr)> {
    MODULES.iter().filter_map(|module| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, module.port?));
        Some((module.name, address))
    })
}

/// Names of the modules that have a schema in the database.
pub(crate) fn stored(settings: &Settings) -> Vec<&'static str> {
    let is_stored = |module: &&Module| match module.start {
        Start::Stored(_) => true,
        Start::Own(_) => false,
        Start::Edge => settings.edge_is_stored(),
    };
    MODULES.iter().filter(is_stored).map(|module| module.name).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use contracts::policy;

    use super::*;

    fn position(name: &str) -> usize {
        MODULES.iter().position(|module| module.name == name).unwrap()
    }

    #[test]
    fn callers_stand_before_those_they_call() {
        for (caller, module) in MODULES.iter().enumerate() {
            for called in module.calls {
                assert!(caller < position(called), "{} calls {called}", module.name);
            }
        }
    }

    #[test]
    fn calls_are_those_that_the_contracts_admit() {
        for module in MODULES {
            let admitted: BTreeSet<_> = contracts::pool()
                .services()
                .flat_map(|service| service.methods().collect::<Vec<_>>())
                .filter(|method| policy::of_method(method).unwrap().admits_caller(module.name))
                // Everybody reads the keys of identity, and caches them.
                .filter(|method| method.name() != "GetJwks" || module.name == "gateway")
                .map(|method| {
                    method.parent_file().package_name().split('.').nth(1).unwrap().to_owned()
                })
                .collect();
            let declared = module.calls.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(admitted, declared, "{}", module.name);
        }
    }

    #[test]
    fn every_service_has_an_address_of_its_own() {
        let ports: BTreeSet<_> = addresses().map(|(_, address)| address.port()).collect();

        let services = MODULES.iter().filter(|module| !matches!(module.start, Start::Edge));
        assert_eq!(ports.len(), services.count());
    }

    #[test]
    fn selection_keeps_the_order_of_the_table_and_refuses_unknown_names() {
        let names =
            |names: &[&str]| -> Vec<String> { names.iter().map(|&name| name.to_owned()).collect() };

        let some = select(&names(&["ledger", "payments", "ledger"])).unwrap();
        assert_eq!(
            some.iter().map(|module| module.name).collect::<Vec<_>>(),
            ["payments", "ledger"]
        );
        assert_eq!(select(&names(&["all"])).unwrap().len(), MODULES.len());
        let refusal = select(&names(&["cards"])).unwrap_err().to_string();
        assert!(refusal.contains("`cards`") && refusal.contains("payments"), "{refusal}");
    }
}
