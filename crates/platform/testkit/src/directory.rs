//! Where each service of the kit is reached.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};

const BACKLOG: u32 = 1024;
const BIND_ATTEMPTS_MAX: u32 = 500;
const BIND_INTERVAL: Duration = Duration::from_millis(10);

/// Gives each service an address from the start, so that members may join before it is served.
///
/// A socket that is bound but does not listen holds the address, and refuses connections as a
/// stopped service does.
pub(crate) struct Directory {
    places: Mutex<BTreeMap<String, Place>>,
}

struct Place {
    address: SocketAddr,
    /// There until the service is served for the first time.
    reserved: Option<TcpSocket>,
}

impl Directory {
    pub(crate) fn new(services: impl Iterator<Item = String>) -> Self {
        Self { places: Mutex::new(services.map(|name| (name, Place::reserve())).collect()) }
    }

    pub(crate) fn endpoints(&self) -> BTreeMap<String, Vec<String>> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.iter().map(|(name, place)| (name.clone(), vec![place.address.to_string()])).collect()
    }

    /// Listens at the address of `service`. When it was served before, its listener may need a
    /// moment to go away.
    pub(crate) async fn listen(&self, service: &str) -> TcpListener {
        let (address, reserved) = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            let place = places.entry(service.to_owned()).or_insert_with(Place::reserve);
            (place.address, place.reserved.take())
        };
        let mut attempt = reserved.map_or_else(|| bind_again(address), Ok);
        for _ in 0..BIND_ATTEMPTS_MAX {
            match attempt.and_then(|socket| socket.listen(BACKLOG)) {
                Ok(listener) => return listener,
                Err(_) => tokio::time::sleep(BIND_INTERVAL).await,
            }
            attempt = bind_again(address);
        }
        panic!("the address {address} of {service} is still in use");
    }
}

impl Place {
    fn reserve() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket is made");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a local port is free");
        // Only now, so that the port is surely nobody else's: connections of this listener inherit
        // it, and so do not stand in the way of the next one.
        socket.set_reuseaddr(true).expect("a socket takes its options");
        let address = socket.local_addr().expect("a bound socket has an address");
        Self { address, reserved: Some(socket) }
    }
}

fn bind_again(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
