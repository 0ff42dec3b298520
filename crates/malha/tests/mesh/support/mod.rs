//! Runs the real program, and talks to it as the world does.

mod client;
mod dev;
mod house;
mod process;
mod site;

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::RwLock;

pub(crate) use client::{Edge, Person, body, client, text};
pub(crate) use dev::Dev;
pub(crate) use house::{House, MODULES, database};
pub(crate) use process::{Malha, malha};
pub(crate) use site::Site;

/// Services of the mesh, without the gateway.
pub(crate) const SERVICES: [&str; 9] = [
    "identity",
    "customers",
    "accounts",
    "ledger",
    "payments",
    "workflows",
    "events",
    "notifications",
    "webhooks",
];

/// Longest wait for anything that should happen; most takes a hundredth.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// What is loaded and timed, as a [`House`] is, has the machine to itself, while each [`Dev`] shares it.
pub(crate) static MACHINE: RwLock<()> = RwLock::const_new(());

/// Waits until it is so, and fails when it takes too long.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < end, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Ports that nobody has, below those that the kernel gives to outgoing connections.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let process = u16::try_from(std::process::id() % 500).unwrap();
    let next = || 20_000 + process * 20 + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
    std::array::from_fn(|_| {
        loop {
            let port = next();
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return port;
            }
        }
    })
}
