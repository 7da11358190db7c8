//! How live objects do, from situations in `fixtures/health/`: an object with its pods and events,
//! and what follows when parts of it change. Set `TOWPATH_BLESS=1` to record what is expected anew,
//! and read the diff.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jiff::{Span, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::FileFailurePersistence;
use serde_json::{Map, Value, json};
use towpath::cluster::kubernetes::health::{
    Around, Definition, EventFacts, Evidence, PodFacts, RevisionFacts, Rules, evidence, health,
    next_look,
};
use towpath::model::{Health, HealthField, HealthRule, HealthTest, Identity, ObjectRef};

#[test]
fn objects_do_as_the_cluster_tells() {
    let root = root();
    let mut findings = Vec::new();
    for file in &files() {
        let name = file.strip_prefix(&root).unwrap().display().to_string();
        let text = fs::read_to_string(file).unwrap();
        let mut case: Value = serde_json::from_str(&text).unwrap();
        findings.extend(play(&name, &mut case));
        if std::env::var_os("TOWPATH_BLESS").is_some() {
            fs::write(file, fitted(&case, 0) + "\n").unwrap();
            findings.clear();
        }
    }
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

/// Looks at the situation, then at what it becomes by each merge patch in `then`. Writes what was
/// seen into the case, and returns where that is not what it said.
fn play(name: &str, case: &mut Value) -> Vec<String> {
    let mut situation = case.clone();
    let steps = situation.as_object_mut().unwrap().remove("then");
    let mut findings = Vec::new();
    findings.extend(look(name, &situation, case));
    for index in 0..steps
        .as_ref()
        .map_or(0, |steps| steps.as_array().unwrap().len())
    {
        let step = &mut case["then"][index];
        json_patch::merge(&mut situation, &step["merge"]);
        let name = format!("{name}, then {}", step["why"]);
        findings.extend(look(&name, &situation, step));
    }
    findings
}

fn look(name: &str, situation: &Value, told: &mut Value) -> Option<String> {
    let scene = Scene::read(situation);
    let now: Timestamp = situation["now"].as_str().unwrap().parse().unwrap();
    let (seen, next) = scene.look(now);
    scene.stands_until(now, &seen, next, name);
    let about = ObjectRef::from(Identity {
        group: group(&scene.object).to_owned(),
        kind: scene.object["kind"].as_str().unwrap_or_default().to_owned(),
        namespace: scene.object["metadata"]["namespace"]
            .as_str()
            .map(str::to_owned),
        name: scene.object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    });
    let text = match &seen {
        Health::Current => "current".to_owned(),
        Health::NotExercised(why) => format!("not exercised: {}", cut(why, &about)),
        Health::InProgress(why) => format!("in progress: {}", cut(why, &about)),
        Health::Failed(why) => format!("failed: {}", cut(why, &about)),
    };
    let was = (told.get("expected").cloned(), told.get("next").cloned());
    let next = next.map(|next| json!(next.to_string()));
    let is = (Some(json!(text)), next.clone());
    let told = told.as_object_mut().unwrap();
    let then = told.shift_remove("then");
    told.shift_remove("next");
    told.insert("expected".to_owned(), json!(text));
    told.extend(next.map(|next| ("next".to_owned(), next)));
    told.extend(then.map(|then| ("then".to_owned(), then)));
    (was != is).then(|| format!("{name}:\n  expected {was:?}\n  found    {is:?}"))
}

/// Every text names its object: that is checked here and left out of the fixtures.
fn cut<'a>(why: &'a str, about: &ObjectRef) -> &'a str {
    let cut = why.strip_prefix(&format!("{about}: "));
    cut.unwrap_or_else(|| panic!("`{why}` does not name {about}"))
}

/// An object and what is read around it.
struct Scene {
    object: Value,
    evidence: Evidence,
    rules: Rules,
}

impl Scene {
    fn read(situation: &Value) -> Self {
        let list = |key: &str| -> Vec<Value> {
            situation
                .get(key)
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default()
        };
        let object = situation["object"].clone();
        let pods: Vec<_> = list("pods").iter().map(PodFacts::of).collect();
        let mut own = Vec::new();
        if object["kind"] == "Pod" {
            own.push(PodFacts::of(&object));
        }
        let revisions: Vec<_> = list("replicaSets")
            .iter()
            .filter_map(RevisionFacts::of_replica_set)
            .chain(
                list("controllerRevisions")
                    .iter()
                    .filter_map(RevisionFacts::of_controller_revision),
            )
            .collect();
        let events: Vec<_> = list("events").iter().filter_map(EventFacts::of).collect();
        let definition = situation.get("definition").filter(|it| !it.is_null());
        let around = Around {
            pods: &pods.iter().chain(&own).collect::<Vec<_>>(),
            revisions: &revisions.iter().collect::<Vec<_>>(),
            events: &events.iter().collect::<Vec<_>>(),
            definition: definition.map_or(Definition::Unknown, |it| Definition::of(it, "v1")),
            storage_class: situation.get("storageClass"),
        };
        let rules: Vec<_> = list("rules").iter().map(rule).collect();
        Self {
            evidence: evidence(&object, &around),
            rules: Rules::new(&rules).unwrap(),
            object,
        }
    }

    fn look(&self, now: Timestamp) -> (Health, Option<Timestamp>) {
        (
            health(&self.object, &self.evidence, &self.rules, now),
            next_look(&self.object, &self.evidence, &self.rules, now),
        )
    }

    /// Time alone changes nothing before the time that was told, and something then.
    fn stands_until(&self, now: Timestamp, seen: &Health, next: Option<Timestamp>, name: &str) {
        match next {
            None => {
                let later = now + Span::new().hours(9000);
                assert_eq!(self.look(later), (seen.clone(), None), "{name}, much later");
            }
            Some(next) => {
                assert!(next > now, "{name}: {next} is not later than {now}");
                let before = next - Span::new().milliseconds(1);
                assert_eq!(self.look(before).0, *seen, "{name}, just before {next}");
                assert_ne!(self.look(next).0, *seen, "{name}, at {next}");
            }
        }
    }
}

/// Any JSON, made of what objects are made of.
fn anything() -> impl Strategy<Value = Value> {
    let keys: Vec<&str> = KEYS.split(' ').collect();
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop_oneof![-1_i64..5, Just(i64::MIN), Just(i64::MAX)].prop_map(Value::from),
        Just(json!(u64::MAX)),
        any::<f64>().prop_map(Value::from),
        select(&WORDS[..]).prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((select(keys.clone()), inner), 0..6).prop_map(|fields| {
                let fields = fields
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value));
                Value::Object(fields.collect())
            }),
        ]
    })
}

const KEYS: &str = "metadata spec status name namespace uid generation creationTimestamp deletionTimestamp \
    finalizers managedFields ownerReferences controller labels annotations replicas paused suspend type phase conditions \
    containerStatuses state waiting terminated reason message exitCode restartCount observedGeneration updatedReplicas \
    readyReplicas partition time fieldsV1 f:spec parents revision firstTimestamp lastTimestamp";

const WORDS: [&str; 14] = [
    "True",
    "False",
    "Ready",
    "Stalled",
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "FailedCreate",
    "Warning",
    "Failed",
    "Running",
    "is forbidden",
    "2026-08-21T10:00:00Z",
    "9999-12-31T23:59:59Z",
    "-009999-01-02T01:59:59Z",
];

/// The paths of everything in a value.
fn paths(value: &Value, path: &str, into: &mut Vec<String>) {
    into.push(path.to_owned());
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                paths(item, &format!("{path}/{index}"), into);
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                let key = key.replace('~', "~0").replace('/', "~1");
                paths(value, &format!("{path}/{key}"), into);
            }
        }
        _ => {}
    }
}

/// Every file's first situation, without its rules: those were checked when they were read.
static SITUATIONS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let texts = files()
        .into_iter()
        .map(|file| fs::read_to_string(file).unwrap());
    let situations = texts.map(|text| {
        let mut situation: Map<String, Value> = serde_json::from_str(&text).unwrap();
        situation.retain(|key, _| !matches!(key.as_str(), "rules" | "then"));
        Value::Object(situation)
    });
    situations.collect()
});

proptest! {
    #![proptest_config(ProptestConfig {
        // Cases that once failed are tried first.
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/properties/health.txt"),
        ))),
        ..ProptestConfig::with_cases(400)
    })]

    /// A situation in which anything is replaced by anything is read all the same, and its answer
    /// stands until the time that is told.
    #[test]
    fn no_object_makes_it_panic(
        file in any::<Index>(),
        damage in vec((any::<Index>(), anything()), 1..4),
        now in prop_oneof![Just(Timestamp::MIN), Just(Timestamp::MAX), Just(Timestamp::UNIX_EPOCH)],
    ) {
        let mut situation = file.get(&SITUATIONS).clone();
        let moment: Timestamp = situation["now"].as_str().unwrap().parse().unwrap();
        for (place, value) in damage {
            let mut places = Vec::new();
            for key in ["object", "pods", "replicaSets", "controllerRevisions", "events", "storageClass", "definition"] {
                if let Some(part) = situation.get(key) {
                    paths(part, &format!("/{key}"), &mut places);
                }
            }
            *situation.pointer_mut(place.get(&places[..]).as_str()).unwrap() = value;
        }
        let scene = Scene::read(&situation);
        scene.look(now);
        let (seen, next) = scene.look(moment);
        if let Some(next) = next {
            prop_assert!(next > moment);
            prop_assert_eq!(scene.look(next - Span::new().nanoseconds(1)).0, seen);
        }
    }
}

fn rule(rule: &Value) -> HealthRule {
    let text = |key: &str| rule.get(key).and_then(Value::as_str).map(str::to_owned);
    HealthRule {
        group: text("group").unwrap(),
        kind: text("kind").unwrap(),
        current: test(&rule["current"]),
        in_progress: rule.get("inProgress").map(test),
        failed: rule.get("failed").map(test),
        message: text("message"),
    }
}

fn test(test: &Value) -> HealthTest {
    match test {
        Value::String(text) => HealthTest::Expression(text.clone()),
        fields => HealthTest::Fields(
            fields
                .as_object()
                .unwrap_or(&Map::new())
                .iter()
                .map(field)
                .collect(),
        ),
    }
}

fn field((pointer, values): (&String, &Value)) -> HealthField {
    HealthField {
        pointer: pointer.clone(),
        values: match values {
            Value::Array(values) => values.clone(),
            value => vec![value.clone()],
        },
    }
}

fn group(object: &Value) -> &str {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    version.split_once('/').map_or("", |(group, _)| group)
}

/// JSON in which whatever fits on a line stands on one.
fn fitted(value: &Value, indent: usize) -> String {
    let line = on_a_line(value);
    if indent + line.chars().count() <= LINE_MAX {
        return line;
    }
    let space = " ".repeat(indent + 2);
    let items: Vec<String> = match value {
        Value::Array(items) => items.iter().map(|item| fitted(item, indent + 2)).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| format!("{}: {}", json!(key), fitted(value, indent + 2)))
            .collect(),
        _ => return line,
    };
    let (open, close) = if value.is_array() {
        ('[', ']')
    } else {
        ('{', '}')
    };
    let items = items.join(&format!(",\n{space}"));
    format!("{open}\n{space}{items}\n{}{close}", " ".repeat(indent))
}

const LINE_MAX: usize = 140;

fn on_a_line(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(on_a_line).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let fields = map
                .iter()
                .map(|(key, value)| format!("{}: {}", json!(key), on_a_line(value)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/health")
}

fn files() -> Vec<PathBuf> {
    let folders = entries(&root());
    let mut files: Vec<PathBuf> = folders.iter().flat_map(|folder| entries(folder)).collect();
    files.sort();
    files
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}
