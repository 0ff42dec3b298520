//! Where a request really comes from, when proxies stand before the edge.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};

use super::metadata::FORWARDED_FOR;
use crate::config::Config;
use crate::serve::Peer;

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Where a request really comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Origin {
    /// The client's address.
    pub(crate) address: IpAddr,
    /// Whether the client came over TLS.
    pub(crate) over_tls: bool,
    /// Whether a correlation id that came along is to be taken over.
    pub(crate) may_name: bool,
}

impl Origin {
    /// The origin of a request of `peer`. Only a trusted proxy is believed what it says of others.
    pub(crate) fn of(settings: &Config, peer: &Peer, headers: &HeaderMap) -> Self {
        let trusted = |address: IpAddr| {
            settings.trusted_proxies.iter().any(|network| network.contains(address))
        };
        let mut origin = Self {
            address: peer.address,
            over_tls: peer.over_tls,
            may_name: settings.client_correlation_ids,
        };
        if settings.trusted_proxies.is_empty() || !trusted(peer.address) {
            return origin;
        }
        origin.may_name = true;
        if let Some(scheme) = headers.get(FORWARDED_PROTO) {
            origin.over_tls = scheme == "https";
        }
        // Every proxy adds whom it got the request from at the end; the first that is no proxy of
        // ours is the client. What stands before it, the client may have made up.
        let hops = headers.get_all(FORWARDED_FOR).iter().rev();
        let hops = hops.flat_map(|hops| hops.to_str().unwrap_or_default().rsplit(','));
        for hop in hops {
            let Ok(address) = hop.trim().parse::<IpAddr>() else { return origin };
            origin.address = address.to_canonical();
            if !trusted(origin.address) {
                return origin;
            }
        }
        origin
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn address(settings: &Config, peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for forwarded in forwarded {
            headers.append(FORWARDED_FOR, forwarded.parse().unwrap());
        }
        let peer = Peer::plain(peer.parse().unwrap());
        Origin::of(settings, &peer, &headers).address.to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_the_last_hop_before_them() {
        let mut settings = Config::default();
        assert_eq!(address(&settings, "10.0.0.1", &["192.0.2.7"]), "10.0.0.1");

        settings.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        assert_eq!(address(&settings, "10.0.0.1", &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(address(&settings, "192.0.2.9", &["192.0.2.7"]), "192.0.2.9");
        assert_eq!(address(&settings, "10.0.0.1", &["1.1.1.1, 192.0.2.7, 10.2.2.2"]), "192.0.2.7");
        assert_eq!(address(&settings, "10.0.0.1", &["1.1.1.1", "192.0.2.7"]), "192.0.2.7");
        assert_eq!(address(&settings, "10.0.0.1", &["made up, 10.2.2.2"]), "10.2.2.2");
        assert_eq!(address(&settings, "10.0.0.1", &[]), "10.0.0.1");
    }
}
