//! `applications/*.yaml`: what a team states of its applications.
//!
//! Judges one file alone; see `check` for what files mean to each other.

use std::collections::BTreeMap;
use std::time::Duration;

use super::credential::credential;
use super::environment::FORGES;
use super::form::{At, Form, Reading, duration, misformed};
use super::label;
use super::list::{Table, list};
use super::section::{Fields, Section};
use super::terms;
use super::tunables::{Defaults, Tunables, tunables};
use super::yaml::{Node, Value};
use crate::model::{
    ApplicationName, Credential, EnvironmentName, ImageRepository, ImageSource, Source, TagTemplate,
};

/// An application as its file states it. What is missing or wrong was reported and is `None`.
#[derive(Debug)]
pub(super) struct Declared {
    /// The keys that lead to it in its file, such as `applications[0]`.
    pub(super) key: String,
    pub(super) name: At<ApplicationName>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) source: Option<Source>,
    pub(super) images: Option<At<Vec<At<Image>>>>,
    pub(super) environments: Option<At<Vec<At<EnvironmentName>>>>,
    pub(super) overrides: Vec<(At<EnvironmentName>, Override)>,
}

#[derive(Debug)]
pub(super) struct Image {
    pub(super) repository: At<ImageRepository>,
    pub(super) branch_tag: Tag,
    pub(super) release_tag: Tag,
}

/// A tag's form, where it was not refused.
#[derive(Debug)]
pub(super) enum Tag {
    Absent,
    Refused,
    Stated(TagTemplate),
}

/// What an application sets for itself in one environment.
#[derive(Debug)]
pub(super) struct Override {
    pub(super) manifests: Option<At<Vec<At<String>>>>,
    pub(super) soak: Option<At<Duration>>,
    pub(super) tunables: Tunables,
    /// Every key that stands there.
    pub(super) stated: Vec<At<&'static str>>,
}

/// The form of the whole file. Applications without a usable name are left out.
pub(super) fn file() -> Fields<Vec<Declared>> {
    Fields {
        sample: "applications: [{ … }]",
        read: |section| {
            let applications = section.required(
                "applications",
                "The applications of one team.",
                list(Fields {
                    sample: "{ name: …, images: [{ … }], environments: [staging, qa] }",
                    read: application,
                }),
            )?;
            let declared = applications.value.into_iter();
            Some(declared.map(|application| application.value).collect())
        },
    }
}

fn application(section: &mut Section<'_>) -> Option<Declared> {
    section.hint("image", "write a list: `images: [{ repository: … }]`");
    section.hint(
        "override",
        "write `in: { ENVIRONMENT: { … } }`; `override` stands in environment.yaml",
    );
    let name = section.required(
        "name",
        "Its name; stands in branch names, records and labels.",
        terms::application_name(),
    );
    let labels = section.optional(
        "labels",
        "What people tell applications apart by, such as whose they are: `towpath status --label` shows some of them. As in Kubernetes; nothing is written anywhere.",
        Table {
            key: label::key(),
            value: label::value(),
        },
    );
    let source = section.optional(
        "source",
        "The source repository, where commits are looked up: its address, or `{ url, credential, forge }`.",
        SourceForm,
    );
    let images = section.required(
        "images",
        "The images that one release consists of.",
        list(Fields {
            sample: "{ repository: registry.example.com/acme/web, release-tag: \"{tag}\" }",
            read: image,
        }),
    );
    let environments = section.required(
        "environments",
        "The environments it runs in, in any order.",
        list(terms::environment_name()),
    );
    let overrides = section.optional(
        "in",
        "What it sets for itself in an environment; the environment lists what it may in `override`.",
        Table {
            key: terms::environment_name(),
            value: Fields { sample: "{ health: { timeout: 5m } }", read: overrides },
        },
    );
    Some(Declared {
        key: section.reading.path.join("."),
        name: name?,
        labels: labels.map_or_else(BTreeMap::new, |labels| {
            let labels = labels.value.into_iter();
            labels.map(|(key, value)| (key.value, value)).collect()
        }),
        source: source.map(|source| source.value),
        images,
        environments,
        overrides: overrides.map_or_else(Vec::new, |overrides| overrides.value),
    })
}

/// An address alone, or with its credential.
struct SourceForm;

const SOURCE: Fields<Source> = Fields {
    sample: "{ url: https://github.com/acme/web }",
    read: |section| {
        let url = section.required(
            "url",
            "The address of the source repository.",
            terms::source_url(),
        );
        let credential = credential(section);
        let forge = section.optional(
            "forge",
            "What serves it: `github` or `gitea` (Forgejo too). Left out: as its host's name tells, or an environment with a repository there.",
            FORGES,
        );
        Some(Source {
            url: url?.value,
            credential,
            forge: forge.map(|forge| forge.value),
        })
    },
};

impl Form for SourceForm {
    type Value = Source;

    fn read(&self, node: &Node, reading: &mut Reading) -> Option<Source> {
        match node.value {
            Value::Text(_) => terms::source_url().read(node, reading).map(|url| Source {
                url,
                credential: Credential::Default,
                forge: None,
            }),
            Value::Map(_) => SOURCE.read(node, reading),
            _ => {
                misformed(self, node, reading);
                None
            }
        }
    }

    fn schema(&self) -> serde_json::Value {
        serde_json::json!({ "oneOf": [terms::source_url().schema(), SOURCE.schema()] })
    }

    fn wanted(&self) -> String {
        "an address, or a mapping with `url`, `credential` and `forge`".to_owned()
    }

    fn sample(&self) -> String {
        terms::source_url().sample()
    }
}

fn image(section: &mut Section<'_>) -> Option<Image> {
    section.hint(
        "tag",
        "write `branch-tag` for branch builds or `release-tag` for tagged ones",
    );
    let repository = section.required(
        "repository",
        "The image repository, without tag and digest.",
        terms::image_repository(),
    );
    let branch_tag = tag(
        section,
        "branch-tag",
        "The form of tags of branch builds, such as `{branch}-{commit:7}`; needed where an environment follows branches.",
    );
    let release_tag = tag(
        section,
        "release-tag",
        "The form of tags of release builds, such as `{tag}`; needed where an environment follows tags.",
    );
    Some(Image {
        repository: repository?,
        branch_tag,
        release_tag,
    })
}

fn tag(section: &mut Section<'_>, key: &'static str, about: &str) -> Tag {
    match section.optional(key, about, terms::tag_template()) {
        Some(template) => Tag::Stated(template.value),
        None if section.has(key) => Tag::Refused,
        None => Tag::Absent,
    }
}

impl Tag {
    pub(super) fn template(&self) -> Option<&TagTemplate> {
        match self {
            Self::Stated(template) => Some(template),
            Self::Absent | Self::Refused => None,
        }
    }
}

impl Image {
    pub(super) fn resolved(&self) -> ImageSource {
        ImageSource {
            repository: self.repository.value.clone(),
            branch_tag: self.branch_tag.template().cloned(),
            release_tag: self.release_tag.template().cloned(),
        }
    }
}

fn overrides(section: &mut Section<'_>) -> Option<Override> {
    section.hint(
        "follow",
        "an application may change `soak` alone: write `soak: 10m`",
    );
    let manifests = section.optional(
        "manifests",
        "Its own directories in place of the environment's.",
        list(terms::directory()),
    );
    let soak = section.optional(
        "soak",
        "How long its releases must have run healthy in the followed environments.",
        duration(),
    );
    let tunables = tunables(section, Defaults::Leave);
    Some(Override {
        manifests,
        soak,
        tunables,
        stated: section.stated(),
    })
}
