//! Where the modules listen.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use tokio::net::TcpListener;

use crate::modules::{Module, Start};
use crate::settings::Settings;

/// Distance from the port of the first module to that of the admin listener.
const ADMIN_OFFSET: u16 = 1000;

/// An address to listen on, and the setting that says so.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) setting: String,
}

/// Fails for the first port that is taken, before anything starts.
pub(crate) fn check(settings: &Settings, modules: &[&Module]) -> Result<()> {
    let mut places = Vec::new();
    for module in modules {
        places.extend(of_module(settings, module)?);
    }
    places.push(admin(settings, modules)?);
    for place in places {
        std::net::TcpListener::bind(place.address).with_context(|| taken(&place))?;
    }
    Ok(())
}

/// Listens at `place`.
pub(crate) async fn listen(place: Place) -> Result<TcpListener> {
    TcpListener::bind(place.address).await.with_context(|| taken(&place))
}

/// Where a service listens for its peers.
pub(crate) fn of_service(settings: &Settings, name: &str) -> Result<Place> {
    let setting = format!("mesh.listen.{name}");
    let Some(&address) = settings.mesh.listen.get(name) else {
        bail!("{name} has no address: set {setting}");
    };
    Ok(Place { address, setting })
}

/// Where the process answers `/metrics`, `/livez` and `/readyz`.
pub(crate) fn admin(settings: &Settings, modules: &[&Module]) -> Result<Place> {
    let setting = "telemetry.listen".to_owned();
    if let Some(address) = settings.telemetry.listen {
        return Ok(Place { address, setting });
    }
    let services = modules.iter().filter(|module| !matches!(module.start, Start::Edge));
    let Some(first) = services.chain(modules.iter()).next() else { bail!("nothing to serve") };
    let Some(place) = of_module(settings, first)?.into_iter().next() else {
        bail!("{} listens nowhere: set {setting}", first.name);
    };
    let Some(port) = place.address.port().checked_add(ADMIN_OFFSET) else {
        bail!("there is no port for the admin listener: set {setting}");
    };
    Ok(Place { address: SocketAddr::from(([127, 0, 0, 1], port)), setting })
}

fn of_module(settings: &Settings, module: &Module) -> Result<Vec<Place>> {
    if !matches!(module.start, Start::Edge) {
        return Ok(vec![of_service(settings, module.name)?]);
    }
    let edge = [("gateway.https", settings.gateway.https), ("gateway.http", settings.gateway.http)];
    let places = edge.into_iter().filter_map(|(setting, address)| {
        Some(Place { address: address?, setting: setting.to_owned() })
    });
    Ok(places.collect())
}

fn taken(place: &Place) -> String {
    format!("cannot listen on {}; the setting {} changes it", place.address, place.setting)
}
