//! What requests are about, from the cases' files and made up.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use towpath::model::record::Found;
use towpath::model::{
    CommitId, Digest, EvidenceResult, Finding, Identity, ImageVersion, ObjectRef, OnFailure, Rank,
    Release, RequestDiff, Rollback, TitleTemplate, parse_version,
};
use towpath::present::diff::{self, Trial, Tried, Versions};
use towpath::present::request::{
    About, Built, Commit, Commits, Evidence, Outcome, Proven, Runs, Unlike,
};

/// What a case is about.
pub(super) fn about(given: &Value) -> About {
    About {
        application: text(given, "application").parse().unwrap(),
        environment: text(given, "environment").parse().unwrap(),
        branch: text(given, "branch").to_owned(),
        release: read_release(&given["release"]),
        instead_of: given.get("instead-of").map(read_release),
        built: entries(given, "built")
            .map(|(digest, it)| (self::digest(digest), built(it)))
            .collect(),
        source: optional(given, "source").map(|it| it.parse().unwrap()),
        commits: given.get("commits").map(|it| Commits {
            newest: list(it, "newest").map(commit).collect(),
            count: usize::try_from(it["count"].as_u64().unwrap()).unwrap(),
        }),
        proven: list(given, "proven").map(proven).collect(),
        evidence: list(given, "evidence").map(evidence).collect(),
        notices: texts(given, "notices"),
        change: match optional(given, "unknown") {
            Some(why) => Outcome::Unknown(why.to_owned()),
            None => Outcome::Tried(list(given, "objects").map(tried).collect()),
        },
        diff: match optional(given, "diff") {
            Some("fields") => RequestDiff::Fields,
            Some("none") => RequestDiff::None,
            _ => RequestDiff::Full,
        },
        beside: texts(given, "beside"),
        unlike: given.get("unlike").map(|it| Unlike {
            environment: text(it, "environment").parse().unwrap(),
            objects: list(it, "objects").map(|it| tried(it).diff).collect(),
        }),
        base: commit_id(text(given, "base")),
        runs: given.get("runs").map(|it| Runs {
            number: it["number"].as_u64().unwrap(),
            commit: commit_id(text(it, "commit")),
            standing: text(it, "standing").to_owned(),
        }),
        on_failure: match optional(given, "on-failure") {
            Some("rollback") => OnFailure::Rollback,
            _ => OnFailure::Hold,
        },
        rollback: match optional(given, "rollback") {
            Some("direct") => Rollback::Direct,
            _ => Rollback::Gate,
        },
    }
}

pub(super) fn template(given: &Value) -> TitleTemplate {
    optional(given, "title").map_or_else(TitleTemplate::default, |it| it.parse().unwrap())
}

/// More than fits: many objects with many lines.
pub(super) fn large() -> About {
    let objects = (0..40).map(|number| {
        let object = |side: &str| {
            let lines = (0..number * 20).map(|line| format!("{side} {line}"));
            let lines: Vec<String> = lines.collect();
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": format!("large-{number}") },
                "data": { "text": lines.join("\n") + "\n", "number": side },
            })
        };
        json!({ "before": object("a"), "after": object("b") })
    });
    about(&json!({
        "application": "shop", "environment": "production", "branch": "master",
        "release": { "name": "v1.4.0", "images": { "registry.example.com/acme/shop": "v1.4.0 b" } },
        "objects": objects.collect::<Vec<_>>(),
        "base": "5".repeat(40),
    }))
}

/// A release of this name, its image with this tag.
pub(super) fn release(name: &str, tag: &str) -> Release {
    read_release(&json!({
        "name": name,
        "images": { "registry.example.com/acme/shop": format!("{tag} c") },
    }))
}

fn read_release(given: &Value) -> Release {
    let images = entries(given, "images").map(|(repository, it)| {
        let (tag, letter) = it.as_str().unwrap().rsplit_once(' ').unwrap();
        let version = ImageVersion {
            tag: (tag != "-").then(|| tag.to_owned()),
            digest: digest(letter),
        };
        (repository.parse().unwrap(), version)
    });
    let built = optional(given, "built").map(|it| it.parse().unwrap());
    Release::from(towpath::model::Contents {
        name: text(given, "name").to_owned(),
        images: images.collect(),
        rank: Rank {
            version: parse_version(text(given, "name")),
            built: built.unwrap_or(Timestamp::UNIX_EPOCH),
        },
        commit: optional(given, "commit").map(str::to_owned),
    })
}

fn digest(letter: &str) -> Digest {
    format!("sha256:{}", letter.repeat(64)).parse().unwrap()
}

fn built(given: &Value) -> Built {
    Built {
        created: optional(given, "created").map(|it| it.parse().unwrap()),
        revision: optional(given, "revision").map(str::to_owned),
        source: optional(given, "source").map(str::to_owned),
    }
}

fn commit(given: &Value) -> Commit {
    Commit {
        id: commit_id(text(given, "id")),
        subject: text(given, "subject").to_owned(),
        author: text(given, "author").to_owned(),
    }
}

fn commit_id(text: &str) -> CommitId {
    text.parse().unwrap()
}

fn proven(given: &Value) -> Proven {
    Proven {
        environment: text(given, "environment").parse().unwrap(),
        number: given["number"].as_u64().unwrap(),
        tag: optional(given, "tag").map(str::to_owned),
        repository: text(given, "repository").parse().unwrap(),
        healthy_at: text(given, "healthy-at").parse().unwrap(),
        exercised: given.get("exercised").is_none_or(|it| it == true),
        soak: Duration::from_secs(given["soak"].as_u64().unwrap()),
        soaked_at: optional(given, "soaked-at").map(|it| it.parse().unwrap()),
        smoke: texts(given, "smoke"),
    }
}

fn evidence(given: &Value) -> Evidence {
    let found = given.get("by").map(|by| Found {
        digest: digest(text(given, "digest")),
        finding: Finding {
            name: text(given, "name").parse().unwrap(),
            result: match given["pass"] == true {
                true => EvidenceResult::Pass,
                false => EvidenceResult::Fail,
            },
            scores: entries(given, "scores")
                .map(|(name, score)| (name.parse().unwrap(), score.as_f64().unwrap()))
                .collect(),
            link: optional(given, "link").map(|it| it.parse().unwrap()),
        },
        by: by.as_str().unwrap().to_owned(),
        at: text(given, "at").parse().unwrap(),
    });
    Evidence {
        rule: text(given, "rule").to_owned(),
        repository: text(given, "repository").parse().unwrap(),
        found,
        holds: given["holds"] == true,
    }
}

fn tried(given: &Value) -> Tried {
    let (before, after) = (given.get("before"), given.get("after"));
    let object = before.or(after).unwrap();
    let version = text(object, "apiVersion");
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let reference = ObjectRef::from(Identity {
        group: group.to_owned(),
        kind: text(object, "kind").to_owned(),
        namespace: optional(&object["metadata"], "namespace").map(str::to_owned),
        name: text(&object["metadata"], "name").to_owned(),
    });
    let versions = Versions {
        reference: &reference,
        before,
        after,
        secret: false,
    };
    Tried {
        diff: diff::compare(versions),
        trial: match optional(given, "refused") {
            Some(why) => Trial::Refused(why.to_owned()),
            None => Trial::Taken,
        },
    }
}

fn text<'a>(given: &'a Value, key: &str) -> &'a str {
    optional(given, key).unwrap_or_else(|| panic!("`{key}` is missing in {given}"))
}

fn optional<'a>(given: &'a Value, key: &str) -> Option<&'a str> {
    let value = given.get(key)?;
    Some(value.as_str().unwrap_or_else(|| panic!("`{key}`: {value}")))
}

fn texts(given: &Value, key: &str) -> Vec<String> {
    let texts = list(given, key).map(|it| it.as_str().unwrap().to_owned());
    texts.collect()
}

fn list<'a>(given: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    given
        .get(key)
        .into_iter()
        .flat_map(|it| it.as_array().unwrap())
}

fn entries<'a>(given: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    given
        .get(key)
        .into_iter()
        .flat_map(|it| it.as_object().unwrap())
}
