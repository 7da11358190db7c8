//! Where people reach what is deployed: as its manifests say, and at the hosts that clusters give to load balancers.
//!
//! Read are Ingress, HTTPRoute and the Services of load balancers. What a cluster gave is asked for elsewhere.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::manifest::{Object, Rendered};

/// What ExternalDNS takes a Service's names from
/// ([annotations](https://kubernetes-sigs.github.io/external-dns/latest/docs/annotations/annotations/)).
const EXTERNAL_DNS: &str = "external-dns.alpha.kubernetes.io/hostname";

/// The addresses of these objects, sorted: `https://shop.example.com/`, or `tcp://192.0.2.1:5432`.
pub fn addresses(rendered: &Rendered) -> BTreeSet<String> {
    let shown = rendered.objects.iter().filter(|it| !it.is_secret());
    shown.flat_map(|object| of(object)).collect()
}

fn of(object: &Object) -> Vec<String> {
    let reference = &object.reference;
    match (reference.group.as_str(), reference.kind.as_str()) {
        ("networking.k8s.io", "Ingress") => ingress(&object.value()),
        ("gateway.networking.k8s.io", "HTTPRoute") => route(&object.value()),
        ("", "Service") => service(&object.value()),
        _ => Vec::new(),
    }
}

/// A host is served by TLS where `tls` lists it, also by a wildcard
/// ([Ingress](https://kubernetes.io/docs/reference/kubernetes-api/service-resources/ingress-v1/)).
fn ingress(value: &Value) -> Vec<String> {
    let tls: Vec<&str> = list(value, "/spec/tls")
        .flat_map(|it| list(it, "/hosts").filter_map(Value::as_str))
        .collect();
    let mut found = Vec::new();
    for rule in list(value, "/spec/rules") {
        let Some(host) = text(rule, "/host") else {
            continue;
        };
        let is_covered = |name: &&str| {
            let wild = name.strip_prefix('*');
            *name == host
                || wild.is_some_and(|end| {
                    host.strip_suffix(end)
                        .is_some_and(|label| !label.contains('.'))
                })
        };
        let scheme = match tls.iter().any(is_covered) {
            true => "https",
            false => "http",
        };
        let mut paths: Vec<&str> = list(rule, "/http/paths")
            .map(|it| text(it, "/path").unwrap_or("/"))
            .collect();
        if paths.is_empty() || paths.contains(&"/") {
            paths = vec!["/"];
        }
        found.extend(paths.iter().map(|path| format!("{scheme}://{host}{path}")));
    }
    found
}

/// Whether its listener speaks TLS stands in the Gateway, which may be another's: HTTPS is what a name in public has.
fn route(value: &Value) -> Vec<String> {
    let hosts = list(value, "/spec/hostnames").filter_map(Value::as_str);
    hosts.map(|host| format!("https://{host}/")).collect()
}

/// The Services of load balancers among these objects.
pub fn balanced(rendered: &Rendered) -> impl Iterator<Item = &Object> {
    let is_one = |it: &&Object| {
        let reference = &it.reference;
        let is_service = (reference.group.as_str(), reference.kind.as_str()) == ("", "Service");
        is_service && is_balanced(&it.value())
    };
    rendered.objects.iter().map(|it| &**it).filter(is_one)
}

/// The addresses of such a Service at a host.
pub fn balanced_at(service: &Object, host: &str) -> Vec<String> {
    at_ports(&service.value(), host)
}

fn is_balanced(value: &Value) -> bool {
    text(value, "/spec/type") == Some("LoadBalancer")
}

fn service(value: &Value) -> Vec<String> {
    if !is_balanced(value) {
        return Vec::new();
    }
    let names = value.pointer("/metadata/annotations");
    let names = names
        .and_then(|it| it.get(EXTERNAL_DNS))
        .and_then(Value::as_str);
    let names = names
        .into_iter()
        .flat_map(|it| it.split(',').map(str::trim));
    let mut hosts: Vec<&str> = names.filter(|it| !it.is_empty()).collect();
    hosts.extend(text(value, "/spec/loadBalancerIP"));
    hosts
        .iter()
        .flat_map(|host| at_ports(value, host))
        .collect()
}

/// A host with each of the Service's ports: those of HTTP tell their scheme, of the others the protocol does.
fn at_ports(value: &Value, host: &str) -> Vec<String> {
    // Only an address of IPv6 holds colons, and is told apart from its port by brackets.
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    let ports: Vec<&Value> = list(value, "/spec/ports").collect();
    if ports.is_empty() {
        return vec![format!("tcp://{host}")];
    }
    let address = |port: &&Value| {
        let protocol = text(port, "/protocol").unwrap_or("TCP");
        match (protocol, port.get("port").and_then(Value::as_u64)?) {
            ("TCP", 443) => Some(format!("https://{host}/")),
            ("TCP", 80) => Some(format!("http://{host}/")),
            (_, port) => Some(format!("{}://{host}:{port}", protocol.to_lowercase())),
        }
    };
    ports.iter().filter_map(address).collect()
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten()
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_with_their_scheme() {
        let value = |text: &str| serde_yaml::from_str::<Value>(text).unwrap();
        for (read, manifest, expected) in [
            (
                ingress as fn(&Value) -> Vec<String>,
                "spec: { tls: [{ hosts: ['*.example.com'] }], rules: [{ host: a.example.com }, { host: a.b.example.com, http: { paths: [{ path: /api }] } }] }",
                vec!["https://a.example.com/", "http://a.b.example.com/api"],
            ),
            (ingress, "spec: { defaultBackend: {} }", vec![]),
            (
                route,
                "spec: { hostnames: [shop.example.com] }",
                vec!["https://shop.example.com/"],
            ),
            (
                service,
                "metadata: { annotations: { external-dns.alpha.kubernetes.io/hostname: 'a.example.com, b.example.com' } }\nspec: { type: LoadBalancer, loadBalancerIP: 192.0.2.1, ports: [{ port: 5432 }] }",
                vec![
                    "tcp://a.example.com:5432",
                    "tcp://b.example.com:5432",
                    "tcp://192.0.2.1:5432",
                ],
            ),
            (
                service,
                "spec: { type: LoadBalancer, loadBalancerIP: '2001:db8::1', ports: [{ port: 80 }, { port: 443 }, { port: 53, protocol: UDP }] }",
                vec![
                    "http://[2001:db8::1]/",
                    "https://[2001:db8::1]/",
                    "udp://[2001:db8::1]:53",
                ],
            ),
            (service, "spec: { ports: [{ port: 80 }] }", vec![]),
        ] {
            assert_eq!(read(&value(manifest)), expected, "{manifest}");
        }
    }
}
