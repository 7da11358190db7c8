//! Where clusters are heard: objects, events, refusals, logs, and the rules by which an object's health is read.

use jiff::Timestamp;
use kube::core::Status;
use serde_json::Value;

use super::answer::{self, Asked};
use super::health::{
    Around, Definition, EventFacts, PodFacts, RevisionFacts, Rules, evidence, health, next_look,
};
use super::refusal::{self, About, Refusal};
use super::{balancer, logs, watch};
use crate::doors::{Answer, Door, Knocked, alike, answered, harmless, split};
use crate::model::{Health, HealthRule, HealthTest};

const OBJECTS: &[&str] = &[
    "\"apiVersion\":\"apps/v1\"",
    "\"kind\":\"Deployment\"",
    "\"kind\":\"Pod\"",
    "\"metadata\":{",
    "\"status\":{",
    "\"spec\":{",
    "\"conditions\":[",
    "\"type\":\"Ready\"",
    "\"status\":\"False\"",
    "\"reason\":\"",
    "\"message\":\"",
    "\"replicas\":",
    "\"generation\":",
    "\"observedGeneration\":",
    "\"deletionTimestamp\":\"",
    "\"finalizers\":[",
    "\"loadBalancer\":{\"ingress\":[{\"hostname\":\"",
    "\"ownerReferences\":[",
    "\"containerStatuses\":[",
    "\"waiting\":{",
    "CrashLoopBackOff",
    "\"managedFields\":[",
    "\"time\":\"",
    "9999-12-31T23:59:59Z",
    "-009999-01-02T01:59:59Z",
    "9223372036854775807",
    "-9223372036854775808",
    "1e308",
    "null",
    "\\u001b[31m",
    "\\u202e",
    "{}",
    "[]",
    "\"now\":\"",
];
const RULES: &[&str] = &[
    "status.",
    "metadata.",
    "conditions",
    ".exists(c, ",
    ".all(c, ",
    ".filter(c, ",
    ".map(c, ",
    "c.type == 'Ready'",
    "has(",
    "size(",
    "int(",
    "string(",
    "double(",
    ".startsWith(",
    ".matches(",
    "&&",
    "||",
    "!",
    "==",
    "!=",
    "<",
    ">=",
    " in ",
    "?",
    ":",
    "+",
    "-",
    "*",
    "/",
    "%",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"",
    "\\u0041",
    "0x7fffffffffffffff",
    "9223372036854775808",
    "18446744073709551615u",
    "1e999",
    "null",
    "true",
    ".",
    ",",
];
const REFUSALS: &[&str] = &[
    "\"code\":409",
    "\"code\":422",
    "\"code\":403",
    "\"code\":429",
    "\"code\":500",
    "\"reason\":\"Invalid\"",
    "\"message\":\"",
    "\"details\":{",
    "\"causes\":[",
    "\"field\":\"spec.x\"",
    "\"retryAfterSeconds\":",
    "4294967295",
    "-1",
    "Invalid value: ",
    "admission webhook \\\"x\\\" denied the request: ",
    "conflict with \\\"kubectl\\\"",
    "field is immutable",
    "exceeded quota",
    "\\u001b[2J",
    "\\u202e",
    "\\n",
    "\\\"",
    "null",
];
const STREAM: &[&str] = &[
    "{\"type\":\"ADDED\",\"object\":{",
    "{\"type\":\"BOOKMARK\",\"object\":{",
    "{\"type\":\"ERROR\",\"object\":{",
    "\n",
    "}}\n",
    "\"metadata\":{",
    "\"resourceVersion\":\"1\"",
    "\"code\":410",
    "\\ud800",
    "null",
    "\r",
    "\u{1b}[31m",
    "\u{1b}]0;",
    "\u{7}",
];

pub(crate) const DOORS: &[Door] = &[
    Door {
        name: "kubernetes-health",
        words: OBJECTS,
        knock: objects,
    },
    Door {
        name: "kubernetes-rules",
        words: RULES,
        knock: rules,
    },
    Door {
        name: "kubernetes-refusal",
        words: REFUSALS,
        knock: refusals,
    },
    Door {
        name: "kubernetes-stream",
        words: STREAM,
        knock: stream,
    },
    Door {
        name: "kubernetes-logs",
        words: STREAM,
        knock: written,
    },
];

/// A situation: an object, what stands around it, and the moment.
fn objects(bytes: &[u8]) -> Knocked {
    let Ok(situation) = serde_json::from_slice::<Value>(bytes) else {
        return Ok(Answer::Refused);
    };
    let list = |key: &str| situation[key].as_array().cloned().unwrap_or_default();
    let pods: Vec<_> = list("pods").iter().map(PodFacts::of).collect();
    let sets = list("replicaSets");
    let controllers = list("controllerRevisions");
    let of_sets = sets.iter().filter_map(RevisionFacts::of_replica_set);
    let of_controllers = controllers
        .iter()
        .filter_map(RevisionFacts::of_controller_revision);
    let revisions: Vec<_> = of_sets.chain(of_controllers).collect();
    let events: Vec<_> = list("events").iter().filter_map(EventFacts::of).collect();
    let definition = situation.get("definition").filter(|it| !it.is_null());
    let around = Around {
        pods: &pods.iter().collect::<Vec<_>>(),
        revisions: &revisions.iter().collect::<Vec<_>>(),
        events: &events.iter().collect::<Vec<_>>(),
        definition: definition.map_or(Definition::Unknown, |it| Definition::of(it, "v1")),
        storage_class: situation.get("storageClass"),
    };
    let object = &situation["object"];
    let now = situation["now"].as_str().and_then(|it| it.parse().ok());
    if let Ok(service) = serde_json::from_value(object.clone()) {
        for host in balancer::told(service) {
            harmless(&host)?;
        }
    }
    let evidence = evidence(object, &around);
    for now in [
        now.unwrap_or(Timestamp::UNIX_EPOCH),
        Timestamp::MIN,
        Timestamp::MAX,
    ] {
        let seen = health(object, &evidence, &Rules::default(), now);
        shown(&seen)?;
        if next_look(object, &evidence, &Rules::default(), now).is_some_and(|next| next <= now) {
            return Err(format!("it is to be looked at again before {now}"));
        }
    }
    Ok(Answer::Taken)
}

fn shown(seen: &Health) -> Result<(), String> {
    match seen {
        Health::Current => Ok(()),
        Health::NotExercised(why) | Health::InProgress(why) | Health::Failed(why) => harmless(why),
    }
}

/// An expression, and the object that it is asked of.
fn rules(bytes: &[u8]) -> Knocked {
    let [expression, object] = split(bytes);
    let rule = HealthRule {
        group: "example.com".to_owned(),
        kind: "Widget".to_owned(),
        current: HealthTest::Expression(String::from_utf8_lossy(expression).into_owned()),
        in_progress: None,
        failed: None,
        message: Some("/status/message".to_owned()),
    };
    let Ok(rules) = Rules::new(&[rule]) else {
        return Ok(Answer::Refused);
    };
    let mut object: Value = serde_json::from_slice(object).unwrap_or_default();
    if let Some(object) = object.as_object_mut() {
        object.insert("apiVersion".to_owned(), "example.com/v1".into());
        object.insert("kind".to_owned(), "Widget".into());
    }
    let evidence = evidence(&object, &Around::default());
    shown(&health(&object, &evidence, &rules, Timestamp::UNIX_EPOCH))?;
    Ok(Answer::Taken)
}

/// A refusal, as the API server states it.
fn refusals(bytes: &[u8]) -> Knocked {
    let Ok(status) = serde_json::from_slice::<Status>(bytes) else {
        return Ok(Answer::Refused);
    };
    for secret in [false, true] {
        let about = About {
            verb: "patch",
            plural: "deployments",
            resource: "deployments.apps",
            namespace: Some("default"),
            name: "web",
            secret,
        };
        told(&refusal::judge(status.code, &status, about))?;
    }
    let asked = Asked {
        verb: "list",
        resource: "pods".to_owned(),
        namespace: None,
    };
    harmless(&answer::detail(&asked, &kube::Error::Api(status.boxed())))?;
    Ok(Answer::Taken)
}

fn told(refusal: &Refusal) -> Result<(), String> {
    match refusal {
        Refusal::Stale | Refusal::Replaced | Refusal::Missing => Ok(()),
        Refusal::Held(held) => held.iter().try_for_each(|held| {
            harmless(&held.manager)?;
            harmless(&held.field)
        }),
        Refusal::Immutable(text)
        | Refusal::Invalid(text)
        | Refusal::Refused(text)
        | Refusal::Prevented(text)
        | Refusal::Unavailable { detail: text, .. } => harmless(text),
    }
}

/// The events of a watch, one a line.
fn stream(bytes: &[u8]) -> Knocked {
    let whole = watch::events(bytes, bytes.len().max(1));
    alike("in pieces of seven bytes", &watch::events(bytes, 7), &whole)?;
    if let Err(told) = &whole {
        harmless(told)?;
    }
    Ok(answered(&whole))
}

/// What a job wrote last.
fn written(bytes: &[u8]) -> Knocked {
    match logs::shown(bytes) {
        Some(lines) => harmless(&lines).map(|()| Answer::Taken),
        None => Ok(Answer::Refused),
    }
}
