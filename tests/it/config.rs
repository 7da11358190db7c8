//! The configuration: what is read, and how every mistake is told.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use towpath::cli::{Output, check, schema};
use towpath::config::schema::Kind;
use towpath::config::{Config, files, watch};
use towpath::model::{ClusterAddress, ClusterSpec, HealthTest, Kubernetes, NotExercised};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The configuration files below a folder, with their paths from it.
fn files_of(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_owned();
            match path.is_dir() {
                true => waiting.push(path),
                false if files::is_wanted(&name) => files.push((name, fs::read(path).unwrap())),
                false => {}
            }
        }
    }
    files.sort();
    files
}

fn checked(files: &[(PathBuf, Vec<u8>)], output: Output) -> (String, u8) {
    let args = check::Args {
        output,
        ..check::Args::default()
    };
    let mut out = Vec::new();
    let code = check::run(&args, &Config::parse(files), &mut out).unwrap();
    (String::from_utf8(out).unwrap(), code)
}

/// Compares with a recorded file, or records it anew where `TOWPATH_UPDATE` is set.
fn compare(recorded: &Path, actual: &str, wrong: &mut Vec<String>) {
    if std::env::var_os("TOWPATH_UPDATE").is_some() {
        fs::write(recorded, actual).unwrap();
    }
    let expected = fs::read_to_string(recorded).unwrap_or_default();
    if expected != actual {
        let diff = similar::TextDiff::from_lines(&expected, actual);
        let name = recorded.display().to_string();
        let diff = diff.unified_diff().header(&name, "now").to_string();
        wrong.push(diff);
    }
}

fn none(wrong: &[String]) {
    let hint = "(TOWPATH_UPDATE=1 records the present answers)";
    assert!(wrong.is_empty(), "{}\n{hint}", wrong.join("\n"));
}

/// `fixtures/config/<case>/`: a configuration and what `check` answers, in `expected.txt`.
#[test]
fn every_mistake_is_told() {
    let mut wrong = Vec::new();
    let mut told = 0;
    let cases = fs::read_dir(root().join("fixtures/config")).unwrap();
    let mut cases: Vec<PathBuf> = cases.map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    for case in &cases {
        let (answer, _) = checked(&files_of(case), Output::Table);
        told += answer.matches(" — ").count();
        assert!(
            !answer.contains("hunter2"),
            "a secret is repeated:\n{answer}"
        );
        compare(&case.join("expected.txt"), &answer, &mut wrong);
    }
    none(&wrong);
    assert!(told >= 40, "only {told} mistakes are covered");
}

#[test]
fn the_example_is_clean() {
    let folder = root().join("environments");
    let loaded = Config::load(&folder).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings, []);
    let parsed = Config::parse(&files_of(&folder)).unwrap();
    assert_eq!(loaded.pipelines, parsed.pipelines);
    let order: Vec<&str> = parsed.pipelines[0]
        .environments
        .iter()
        .map(|environment| environment.name.as_str())
        .collect();
    assert_eq!(order, ["staging", "qa", "production"]);
    let production = &parsed.pipelines[0].environments[2];
    assert_eq!(production.health.timeout, Duration::from_secs(300));
}

#[test]
fn effective_values_name_their_place() {
    let config = Config::parse(&files_of(&root().join("environments"))).unwrap();
    let shown = |application: &str, environment: &str| -> Vec<String> {
        let (application, environment) =
            (application.parse().unwrap(), environment.parse().unwrap());
        let values = config.effective(&application, &environment).into_iter();
        let shown = values.map(|value| {
            let place = value
                .place
                .map_or("default".to_owned(), |place| place.to_string());
            format!("{} = {} ({place})", value.key, value.value)
        });
        shown.collect()
    };
    let values = shown("pipeline-application", "production");
    for expected in [
        "repository.branch = master (production/environment.yaml:6:11)",
        "follow.soak = 10m (production/environment.yaml:15:34)",
        "health.timeout = 5m (applications/pipeline.yaml:15:40)",
        "pace = newest (default)",
        "tags.prefix = deployment- (default)",
    ] {
        assert!(
            values.iter().any(|value| value == expected),
            "{expected}\n{values:#?}"
        );
    }
    assert_eq!(shown("nobody", "production"), [""; 0]);
}

/// What an environment limits is resolved for each application; what it states as a whole is
/// replaced as a whole.
#[test]
fn limits_hold_for_each_application() {
    let files = files_of(&root().join("fixtures/config/clean-one-repository"));
    let config = Config::parse(&files).unwrap_or_else(|problems| panic!("{problems}"));
    let world = |application: &str| {
        let mut pipelines = config.pipelines.iter();
        let pipeline = pipelines
            .find(|pipeline| pipeline.application.name.as_str() == application)
            .unwrap();
        pipeline.environment(&"world".parse().unwrap()).unwrap()
    };
    let (shop, web) = (world("shop"), world("web"));
    let cluster = ClusterSpec::Kubernetes(Kubernetes {
        found: ClusterAddress::InCluster,
        namespace: "shops".to_owned(),
        timeout: Duration::from_secs(30),
    });
    assert_eq!([&shop.cluster, &web.cluster], [&cluster; 2]);
    let access = shop.access.as_ref().unwrap();
    assert_eq!(
        access.namespaces,
        Some(["shared", "shop"].map(str::to_owned).into())
    );
    let deployer = access.impersonate.as_ref().unwrap();
    assert_eq!(deployer.user(), "system:serviceaccount:shop:deployer");
    assert_eq!(
        access.cluster_scoped,
        BTreeSet::from(["Namespace".parse().unwrap()])
    );
    let sops = shop.sops.as_ref().unwrap();
    let key = sops.age_key_file.as_deref();
    assert_eq!(key, Some(Path::new("keys/world.txt")));
    let [smoke] = shop.smoke.as_slice() else {
        panic!("{:?}", shop.smoke);
    };
    assert_eq!(smoke.get.as_str(), "https://shop.example.com/healthz");
    assert_eq!(
        (smoke.expect, smoke.contains.as_deref(), smoke.timeout),
        (204, Some("ok"), Duration::from_secs(10))
    );
    let policies = [&shop, &web].map(|unit| {
        let (health, prune) = (&unit.health, &unit.prune);
        let asks = prune.confirm.len();
        let minutes = health.timeout.as_secs() / 60;
        let says = (health.not_exercised, health.rules.len());
        (minutes, says, prune.limit, asks, prune.removed)
    });
    assert_eq!(
        policies,
        [
            (5, (NotExercised::Proven, 2), Some(3), 1, true),
            (1, (NotExercised::Unproven, 0), Some(5), 0, true),
        ]
    );
    // Configuration does not tell `1` from `"1"`.
    let values = |test: &HealthTest| match test {
        HealthTest::Fields(fields) => fields.iter().flat_map(|it| it.values.clone()).collect(),
        HealthTest::Expression(text) => vec![text.as_str().into()],
    };
    let widget = &shop.health.rules[1];
    let expected: [serde_json::Value; 5] = [
        "true".into(),
        true.into(),
        "Up".into(),
        "1".into(),
        1.into(),
    ];
    assert_eq!(values(&widget.current), expected);
    assert_eq!(
        widget.failed.as_ref().map(values),
        Some(vec!["Broken".into()])
    );
}

/// The answers of `check` and `schema` for scripts and editors.
#[test]
fn answers_are_as_recorded() {
    let mut wrong = Vec::new();
    for kind in Kind::ALL {
        let mut out = Vec::new();
        let code = schema::run(&schema::Args { file: Some(kind) }, &mut out).unwrap();
        assert_eq!(code, 0);
        let recorded = root().join(format!("docs/schema/{}.json", kind.name()));
        compare(&recorded, &String::from_utf8(out).unwrap(), &mut wrong);
    }
    none(&wrong);

    let example = files_of(&root().join("environments"));
    let broken = [(PathBuf::from("qa/environment.yaml"), b"gate: [".to_vec())];
    for (files, ok, code) in [(&example[..], true, 0), (&broken, false, 1)] {
        for output in [Output::Json, Output::Yaml] {
            let (answer, exit) = checked(files, output);
            let answer: serde_json::Value = match output {
                Output::Json => serde_json::from_str(&answer).unwrap(),
                _ => serde_yaml::from_str(&answer).unwrap(),
            };
            assert_eq!((&answer["ok"], exit), (&ok.into(), code));
            assert_eq!(answer["problems"].as_array().unwrap().is_empty(), ok);
        }
    }
}

/// The rows of a schema's keys: dotted path, what it does, default.
fn rows(schema: &serde_json::Value, path: &str, rows: &mut Vec<String>) {
    let required = |key: &str| {
        let required = schema["required"].as_array();
        required.is_some_and(|required| required.iter().any(|name| name == key))
    };
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}{key}");
        let about = inner["description"].as_str().unwrap();
        let default = match &inner["default"] {
            serde_json::Value::Null if required(key) => "required".to_owned(),
            serde_json::Value::Null | serde_json::Value::Object(_) => String::new(),
            serde_json::Value::String(text) => {
                format!("`{}`", if text.is_empty() { "\"\"" } else { text })
            }
            other => format!("`{other}`"),
        };
        rows.push(format!("| `{path}` | {default} | {about} |\n"));
        // What an application overrides is described where the environment states it.
        if key != "in" {
            below(inner, &path, rows);
        }
    }
}

fn below(schema: &serde_json::Value, path: &str, found: &mut Vec<String>) {
    rows(schema, &format!("{path}."), found);
    let list = schema.get("items").map(|items| (items, "[]"));
    let table = schema
        .get("additionalProperties")
        .map(|values| (values, ".*"));
    for (inner, mark) in list.into_iter().chain(table) {
        below(inner, &format!("{path}{mark}"), found);
    }
    for inner in schema["oneOf"].as_array().into_iter().flatten() {
        below(inner, path, found);
    }
}

/// The tables of keys in the manual are those of the schemas.
#[test]
fn every_key_is_documented() {
    let recorded = root().join("docs/configuration.md");
    let mut manual = fs::read_to_string(&recorded).unwrap();
    for kind in Kind::ALL {
        let mut found = vec!["| key | default | |\n|---|---|---|\n".to_owned()];
        rows(&towpath::config::schema::of(kind), "", &mut found);
        let begin = format!("<!-- keys of {}, from its schema -->\n", kind.name());
        let (before, rest) = manual.split_once(&begin).expect("the manual has the table");
        let (_, after) = rest
            .split_once("<!-- end -->")
            .expect("the table has an end");
        manual = format!("{before}{begin}{}<!-- end -->{after}", found.concat());
    }
    let mut wrong = Vec::new();
    compare(&recorded, &manual, &mut wrong);
    none(&wrong);
}

/// What an environment may list in `override` is what an application may write under `in`.
#[test]
fn overrides_agree_in_both_files() {
    let environment = towpath::config::schema::of(Kind::Environment);
    let applications = towpath::config::schema::of(Kind::Applications);
    let listed = environment["properties"]["override"]["items"]["enum"]
        .as_array()
        .unwrap();
    let listed: BTreeSet<&str> = listed.iter().map(|key| key.as_str().unwrap()).collect();
    let application = &applications["properties"]["applications"]["items"]["properties"];
    let written = application["in"]["additionalProperties"]["properties"]
        .as_object()
        .unwrap();
    assert_eq!(listed, written.keys().map(String::as_str).collect());
}

/// Bytes are cut out, doubled and replaced in the example: an answer always comes, and no panic.
#[test]
fn hostile_files_are_refused_not_obeyed() {
    const PIECES: [&str; 16] = [
        "{",
        "}",
        "[",
        "]",
        ": ",
        "\n",
        "\n  ",
        "- ",
        "&a ",
        "*a",
        "!x ",
        "<<: ",
        "\"",
        "\u{0}",
        "{application}",
        "%",
    ];
    let example = files_of(&root().join("environments"));
    let cut = (
        0..example.len(),
        any::<prop::sample::Index>(),
        0_usize..40,
        0..PIECES.len(),
    );
    let config = ProptestConfig {
        failure_persistence: None,
        rng_seed: prop::test_runner::RngSeed::Fixed(7),
        ..ProptestConfig::with_cases(500)
    };
    proptest!(config, |(cuts in prop::collection::vec(cut, 1..5))| {
        let mut files = example.clone();
        for (file, place, length, piece) in cuts {
            let bytes = &mut files[file].1;
            let start = place.index(bytes.len() + 1);
            let end = bytes.len().min(start + length);
            bytes.splice(start..end, PIECES[piece].bytes());
        }
        if let Err(problems) = Config::parse(&files) {
            prop_assert!(problems.errors() > 0);
        }
    });
}

#[test]
fn deep_and_wide_files_are_refused_in_time() {
    for text in [
        "[".repeat(500_000),
        "{a: ".repeat(200_000),
        "- ".repeat(400_000),
        "a: &x [*x, *x]\n".repeat(10_000),
        "x: y\n".repeat(150_000),
        (0..60_000).map(|n| format!("k{n}: v\n")).collect(),
    ] {
        let files = [(PathBuf::from("towpath.yaml"), text.into_bytes())];
        assert!(Config::parse(&files).is_err());
    }
}

/// A thousand applications in three environments of one repository each: what is compared with each
/// other must not be compared one by one.
#[test]
fn many_applications_are_read_in_time() {
    let mut files = files_of(&root().join("environments"));
    files.retain(|(path, _)| !path.starts_with("applications"));
    for (_, bytes) in &mut files {
        let text = String::from_utf8(std::mem::take(bytes)).unwrap();
        *bytes = text
            .replace("[kubernetes]", "[\"apps/{application}\"]")
            .into_bytes();
    }
    let applications: String = (0..1000)
        .map(|n| {
            format!(
                "- name: app-{n}\n  images: [{{ repository: acme/app-{n}, branch-tag: \"{{branch}}-{{commit:7}}\", release-tag: \"{{tag}}\" }}]\n  environments: [production, qa, staging]\n"
            )
        })
        .collect();
    let text = format!("applications:\n{applications}");
    files.push((PathBuf::from("applications/all.yaml"), text.into_bytes()));
    let config = Config::parse(&files).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.pipelines.len(), 1000);
    let (answer, _) = checked(&files, Output::Table);
    assert!(answer.contains("and 992 more"), "{answer}");
}

/// What only a real folder has: links, pipes, sizes.
#[test]
#[cfg(unix)]
fn folders_are_read_with_care() {
    let outside = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(outside.path().join("secret"), "hunter2: [").unwrap();
    fs::create_dir(at("applications")).unwrap();
    fs::create_dir(at(".git")).unwrap();
    fs::write(at(".git/x.yaml"), "[").unwrap();
    fs::write(at("notes.txt"), "[").unwrap();
    fs::write(at("here.yml"), "").unwrap();
    let link = std::os::unix::fs::symlink::<PathBuf, PathBuf>;
    link(outside.path().join("secret"), at("towpath.yaml")).unwrap();
    link(at("missing"), at("applications/gone.yaml")).unwrap();
    link(at("here.yml"), at("applications/inside.yaml")).unwrap();
    link(PathBuf::from("/dev/zero"), at("applications/zero.yaml")).unwrap();
    let large = " ".repeat(usize::try_from(files::LARGEST).unwrap() + 1);
    fs::write(at("applications/large.yaml"), large).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(at("applications/socket.yaml")).unwrap();

    let problems = Config::load(folder.path()).unwrap_err().to_string();
    drop(socket);
    let shown = problems.replace(&folder.path().display().to_string(), "C");
    let expected = [
        "C/applications/gone.yaml: this file cannot be read: No such file or directory (os error 2) — let Towpath read it, or remove it",
        "C/applications/inside.yaml:1:1: `applications` is missing — write `applications: [{ name: …, images: [{ … }], environments: [staging, qa] }]`",
        "C/applications/large.yaml: this file is larger than 1 MiB — spread it over several files; `applications/` takes one per team",
        "C/applications/socket.yaml: this is not a regular file — put a file here, or remove it",
        "C/applications/zero.yaml: this link leads out of the folder — put the file itself here",
        "C/here.yml: warning: this file is not read — configuration is `towpath.yaml`, `teams.yaml`, `<environment>/environment.yaml` and `applications/*.yaml`; move it elsewhere",
        "C/towpath.yaml: this link leads out of the folder — put the file itself here",
    ];
    assert_eq!(shown.lines().collect::<Vec<_>>(), expected);

    let problems = Config::load(&at("nowhere")).unwrap_err().to_string();
    assert!(problems.contains("there is no such folder"), "{problems}");
}

/// Real files on a real disk: each change is told, whatever the way it is made.
#[tokio::test]
async fn changes_of_the_folder_are_told() {
    type Change = fn(&Path);
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("environments");
    fs::create_dir_all(folder.join("qa")).unwrap();
    let mut watch = watch::watch(&folder).unwrap();
    let changes: [(&str, Change); 9] = [
        ("a file is written", |folder| {
            fs::write(folder.join("qa/environment.yaml"), "a").unwrap();
        }),
        ("an editor saves by renaming", |folder| {
            fs::write(folder.join("qa/.environment.yaml.swp"), "b").unwrap();
            let file = folder.join("qa/environment.yaml");
            fs::rename(folder.join("qa/.environment.yaml.swp"), file).unwrap();
        }),
        ("an environment is made", |folder| {
            fs::create_dir(folder.join("new")).unwrap();
            fs::write(folder.join("new/environment.yaml"), "c").unwrap();
        }),
        ("a file in it is written", |folder| {
            fs::write(folder.join("new/environment.yaml"), "d").unwrap();
        }),
        ("a file is removed", |folder| {
            fs::remove_file(folder.join("new/environment.yaml")).unwrap();
        }),
        ("the folder is removed", |folder| {
            fs::remove_dir_all(folder).unwrap();
        }),
        ("the folder is made again", |folder| {
            fs::create_dir_all(folder.join("qa")).unwrap();
        }),
        ("a file in the new folder is written", |folder| {
            fs::write(folder.join("qa/environment.yaml"), "e").unwrap();
        }),
        ("another folder takes its place", |folder| {
            let other = folder.with_extension("new");
            fs::create_dir(&other).unwrap();
            fs::rename(folder, folder.with_extension("old")).unwrap();
            fs::rename(&other, folder).unwrap();
        }),
    ];
    let told = async |watch: &mut watch::Watch, name: &str| {
        let told = tokio::time::timeout(Duration::from_secs(10), watch.changed()).await;
        assert!(told.is_ok(), "not told: {name}");
    };
    for (name, change) in changes {
        change(&folder);
        told(&mut watch, name).await;
    }
    fs::write(folder.join("towpath.yaml"), "f").unwrap();
    told(&mut watch, "a file in the folder that took its place").await;
    assert!(watch::watch(&outer.path().join("nowhere")).is_err());
}
