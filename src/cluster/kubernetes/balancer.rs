//! Where a load balancer was set up for a Service: what whoever runs it wrote into the Service's status
//! ([status](https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/#ServiceStatus)).
//!
//! Owns the one request, and what of its answer may be shown.

use std::net::IpAddr;

use http::Request;
use serde::Deserialize;

use super::answer::{self, Asked};
use super::kinds::Kind;
use super::place::Place;
use crate::cluster::ClusterError;
use crate::model::ObjectRef;

/// So many hosts of a Service are told: a load balancer has a few.
const HOSTS: usize = 20;

/// No name of a host is longer.
const HOST_MAX: usize = 253;

/// A Service, as far as it concerns us.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Service {
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    load_balancer: LoadBalancer,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LoadBalancer {
    ingress: Option<Vec<Ingress>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ingress {
    hostname: Option<String>,
    ip: Option<String>,
}

/// Asks for the Service, and tells its hosts.
pub(super) async fn hosts(
    place: &Place,
    kind: &Kind,
    service: &ObjectRef,
) -> Result<Vec<String>, ClusterError> {
    let namespace = service.namespace.as_deref();
    let path = format!("{}/{}", kind.collection(namespace), service.name);
    let Ok(request) = Request::get(path).body(Vec::new()) else {
        return Ok(Vec::new());
    };
    let answered = place.connection.client().request_text(request).await;
    let read =
        answered.and_then(|text| serde_json::from_str(&text).map_err(kube::Error::SerdeError));
    match read {
        Ok(service) => Ok(told(service)),
        Err(error) if answer::is(&error, 404) => Ok(Vec::new()),
        Err(error) => {
            let asked = Asked {
                verb: "get",
                resource: kind.plural.clone(),
                namespace: service.namespace.clone(),
            };
            Err(answer::unavailable(&place.name, &asked, &error))
        }
    }
}

/// A name is told before an address; what is neither is not.
pub(super) fn told(service: Service) -> Vec<String> {
    let ingress = service.status.load_balancer.ingress.into_iter().flatten();
    let hosts = ingress.filter_map(|it| {
        let name = it.hostname.filter(|name| is_name(name));
        name.or_else(|| it.ip.filter(|ip| ip.parse::<IpAddr>().is_ok()))
    });
    hosts.take(HOSTS).collect()
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    (1..=HOST_MAX).contains(&name.len()) && name.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_addresses() {
        let status = |ingress: &str| format!(r#"{{"status":{{"loadBalancer":{{{ingress}}}}}}}"#);
        for (answer, expected) in [
            ("{}".to_owned(), vec![]),
            (status(""), vec![]),
            (status(r#""ingress":null"#), vec![]),
            (
                status(
                    r#""ingress":[{"ip":"192.0.2.7","ipMode":"VIP"},{"ip":"2001:db8::7"},{"hostname":"lb.example.com","ip":"192.0.2.8"}]"#,
                ),
                vec!["192.0.2.7", "2001:db8::7", "lb.example.com"],
            ),
            (
                status(r#""ingress":[{"hostname":"\u001b[31m"},{"ip":"everywhere"},{}]"#),
                vec![],
            ),
        ] {
            let service = serde_json::from_str(&answer).unwrap();
            assert_eq!(told(service), expected, "{answer}");
        }
    }
}
