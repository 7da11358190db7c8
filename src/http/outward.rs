//! Where addresses that somebody wrote into the configuration may lead: smoke tests, notifications, whatever
//! else is asked on behalf of an application's owners, who need not be trusted with this machine.
//!
//! Owns which network addresses are refused, and the resolver that refuses them after a name was looked up, so
//! that a name which leads somewhere else in the meantime is refused too. Private networks are not refused:
//! that is where clusters are. Where a proxy connects, the proxy resolves, and only addresses that stand in the
//! URL itself are judged.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Method, RequestBuilder};
use tokio::net::TcpStream;
use url::{Host, Url};

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What may be reached beside the addresses that may be anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowed {
    /// This machine: 127.0.0.0/8 and ::1.
    pub loopback: bool,
    /// This link, where clouds keep their metadata: 169.254.0.0/16, fe80::/10 and fd00:ec2::254.
    pub link_local: bool,
}

impl Allowed {
    /// All that names a single machine.
    pub const ANYWHERE: Self = Self {
        loopback: true,
        link_local: true,
    };

    /// Why this address is not connected to, in words that follow it; `None`: it may be.
    pub fn objection(self, address: IpAddr) -> Option<&'static str> {
        let v4 = match address {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(v6) => within(v6),
        };
        let (loopback, link_local, nobody) = match (v4, address) {
            (Some(v4), _) | (None, IpAddr::V4(v4)) => (
                v4.is_loopback(),
                v4.is_link_local(),
                v4.octets()[0] == 0 || v4.is_broadcast() || v4.is_multicast(),
            ),
            (None, IpAddr::V6(v6)) => (
                v6.is_loopback(),
                v6.is_unicast_link_local() || v6 == METADATA,
                v6.is_unspecified() || v6.is_multicast(),
            ),
        };
        if nobody {
            Some("is no machine's address")
        } else if loopback && !self.loopback {
            Some(
                "is this machine, which `outward: { allow: [loopback] }` in towpath.yaml would allow",
            )
        } else if link_local && !self.link_local {
            Some(
                "is link-local, which `outward: { allow: [link-local] }` in towpath.yaml would allow",
            )
        } else {
            None
        }
    }

    /// The same of an address that stands in a URL in place of a name.
    pub fn objection_to(self, url: &Url) -> Option<String> {
        let address = match url.host()? {
            Host::Ipv4(v4) => IpAddr::V4(v4),
            Host::Ipv6(v6) => IpAddr::V6(v6),
            Host::Domain(_) => return None,
        };
        let objection = self.objection(address)?;
        Some(format!("{address} {objection}"))
    }
}

/// Where Amazon's machines find their metadata over IPv6.
const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// The IPv4 address that an IPv6 one stands for: mapped (RFC 4291), or behind NAT64 (RFC 6052).
fn within(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, high, low] = v6.segments();
    let is_nat64 = [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0];
    let embedded = || {
        let [[p, q], [r, s]] = [high.to_be_bytes(), low.to_be_bytes()];
        Ipv4Addr::new(p, q, r, s)
    };
    v6.to_ipv4_mapped().or_else(|| is_nat64.then(embedded))
}

/// A client that connects to nothing but what is allowed. Clones of it share one pool.
#[derive(Debug, Clone)]
pub struct Outward {
    client: Client,
    guard: Guard,
}

impl Outward {
    /// Of a client that was made with the same `outward` in its settings.
    pub(super) fn new(client: Client, guard: Guard) -> Self {
        Self { client, guard }
    }

    /// Connects wherever this client does.
    pub fn anywhere(client: Client) -> Self {
        let guard = Guard {
            allowed: Allowed::ANYWHERE,
            proxies: Vec::new(),
        };
        Self { client, guard }
    }

    /// A request to be sent.
    ///
    /// # Errors
    /// Why this address is not connected to. What a name leads to is told by sending.
    pub fn request(&self, method: Method, url: &Url) -> Result<RequestBuilder, String> {
        match self.guard.allowed.objection_to(url) {
            Some(objection) => Err(objection),
            None => Ok(self.client.request(method, url.clone())),
        }
    }

    /// Connects, and sends nothing. Where proxies connect it is not tried, and gives `false`.
    ///
    /// # Errors
    /// Why it cannot be connected.
    pub async fn connect(&self, url: &Url) -> Result<bool, String> {
        if let Some(objection) = self.guard.allowed.objection_to(url) {
            return Err(objection);
        }
        if !self.guard.proxies.is_empty() {
            return Ok(false);
        }
        let port = url.port_or_known_default().unwrap_or_default();
        let addresses = match url.host() {
            None => return Err("it has no host".to_owned()),
            Some(Host::Ipv4(v4)) => vec![SocketAddr::from((v4, port))],
            Some(Host::Ipv6(v6)) => vec![SocketAddr::from((v6, port))],
            Some(Host::Domain(name)) => {
                let mut found = self.guard.clone().look_up(name).await;
                for address in found.iter_mut().flatten() {
                    address.set_port(port);
                }
                found.map_err(|error| error.to_string())?
            }
        };
        let connected = TcpStream::connect(&addresses[..]);
        let connected = tokio::time::timeout(CONNECT, connected).await;
        match connected {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no connection within {} s", CONNECT.as_secs())),
        }
    }
}

/// Looks names up with the system, and gives the addresses that are allowed.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    pub(super) allowed: Allowed,
    /// Names that are connected to wherever they lead: those of proxies.
    pub(super) proxies: Vec<String>,
}

impl Guard {
    /// Where a name leads, as far as that is allowed. The port is put in by whoever connects.
    async fn look_up(self, name: &str) -> Result<Vec<SocketAddr>, BoxError> {
        let allowed = match self.proxies.iter().any(|proxy| proxy == name) {
            true => Allowed::ANYWHERE,
            false => self.allowed,
        };
        let (mut kept, mut refused) = (Vec::new(), None);
        for address in tokio::net::lookup_host((name, 0)).await? {
            match allowed.objection(address.ip()) {
                None => kept.push(address),
                Some(objection) => refused = Some(format!("{} {objection}", address.ip())),
            }
        }
        match (kept.is_empty(), refused) {
            (true, Some(refused)) => Err(refused.into()),
            (true, None) => Err("the name leads nowhere".into()),
            (false, _) => Ok(kept),
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = guard.look_up(name.as_str()).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_and_its_link_are_refused_however_they_are_written() {
        let (loopback, link) = (Some("loopback"), Some("link-local"));
        for (address, refused) in [
            ("10.0.0.1", None),
            ("192.168.1.1", None),
            ("93.184.216.34", None),
            ("2001:db8::1", None),
            ("fd00::1", None),
            ("127.0.0.1", loopback),
            ("127.8.8.8", loopback),
            ("::1", loopback),
            ("::ffff:127.0.0.1", loopback),
            ("64:ff9b::7f00:1", loopback),
            ("169.254.169.254", link),
            ("::ffff:169.254.169.254", link),
            ("fe80::1", link),
            ("fd00:ec2::254", link),
            ("0.0.0.0", Some("no machine")),
            ("::", Some("no machine")),
            ("224.0.0.1", Some("no machine")),
            ("255.255.255.255", Some("no machine")),
        ] {
            let parsed: IpAddr = address.parse().unwrap();
            let objection = Allowed::default().objection(parsed);
            match refused {
                None => assert_eq!(objection, None, "{address}"),
                Some(word) => assert!(objection.is_some_and(|it| it.contains(word)), "{address}"),
            }
            let anyway = Allowed::ANYWHERE.objection(parsed).is_some();
            assert_eq!(anyway, refused == Some("no machine"), "{address}");
            let host = match parsed {
                IpAddr::V4(v4) => v4.to_string(),
                IpAddr::V6(v6) => format!("[{v6}]"),
            };
            let url = Url::parse(&format!("http://{host}:8080/hook")).unwrap();
            assert_eq!(
                Allowed::default().objection_to(&url).is_some(),
                refused.is_some()
            );
        }
        // Other spellings are the same address once they are parsed.
        for url in ["http://2130706433/", "http://0x7f.1/", "http://127.1/"] {
            assert!(
                Allowed::default()
                    .objection_to(&Url::parse(url).unwrap())
                    .is_some()
            );
        }
    }

    #[tokio::test]
    async fn a_name_is_judged_by_where_it_leads() {
        let guard = |proxies: &[&str]| Guard {
            allowed: Allowed::default(),
            proxies: proxies.iter().map(|name| (*name).to_owned()).collect(),
        };
        let localhost = || "localhost".parse().unwrap();
        let refused = guard(&[]).resolve(localhost()).await.err().unwrap();
        assert!(refused.to_string().contains("is this machine"), "{refused}");
        assert!(guard(&["localhost"]).resolve(localhost()).await.is_ok());
    }
}
