//! The keys that an environment states for all applications and that an application may state for
//! itself, under `in`, where the environment's `override` lists them.
//!
//! Owns their forms and defaults. What overrides what is made in `resolve`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::cluster::kind;
use super::environment::values;
use super::evidence::{self, evidence};
use super::form::{
    At, Flag, Form, Text, Words, Wrong, a_second_or_more, any_text, count, duration, text,
};
use super::judging::{SmokeStated, health, smoke};
use super::list::{List, Mapped, any_list};
use super::problem::quote;
use super::request::request;
use super::section::{Fields, Section};
use super::stops::FreezeForm;
use super::terms;
use crate::model::freeze::Window;
use crate::model::{
    Adopt, Conflicts, Drift, Gate, HealthPolicy, ImageField, OnFailure, Pace, Prune, Rate,
    RequestPolicy, Rollback, StopTheLine,
};

/// What an environment states for all applications and an application may state for itself.
#[derive(Debug, Default, Clone)]
pub(super) struct Tunables {
    pub(super) patches: Option<At<String>>,
    pub(super) gate: Option<At<Gate>>,
    pub(super) request: Option<Arc<RequestPolicy>>,
    pub(super) health: Option<HealthPolicy>,
    pub(super) smoke: Option<Vec<SmokeStated>>,
    pub(super) on_failure: Option<OnFailure>,
    pub(super) rollback: Option<Rollback>,
    pub(super) freeze: Option<Vec<Window>>,
    pub(super) stop_the_line: Option<StopTheLine>,
    pub(super) pace: Option<Pace>,
    pub(super) rate: Option<Rate>,
    pub(super) min_age: Option<Duration>,
    pub(super) evidence: Option<Vec<evidence::Declared>>,
    pub(super) drift: Option<Drift>,
    pub(super) conflicts: Option<Conflicts>,
    pub(super) prune: Option<Prune>,
    pub(super) adopt: Option<Adopt>,
    pub(super) image_fields: Option<Vec<ImageField>>,
}

/// The keys that `override` may list.
pub(super) const OVERRIDABLE: &[(&str, &str)] = &[
    ("manifests", "manifests"),
    ("patches", "patches"),
    ("soak", "soak"),
    ("gate", "gate"),
    ("request", "request"),
    ("health", "health"),
    ("smoke", "smoke"),
    ("on-failure", "on-failure"),
    ("rollback", "rollback"),
    ("freeze", "freeze"),
    ("stop-the-line", "stop-the-line"),
    ("pace", "pace"),
    ("rate", "rate"),
    ("min-age", "min-age"),
    ("evidence", "evidence"),
    ("drift", "drift"),
    ("conflicts", "conflicts"),
    ("prune", "prune"),
    ("adopt", "adopt"),
    ("image-fields", "image-fields"),
];

/// Whether keys that are left out have their defaults or say nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Defaults {
    Apply,
    Leave,
}

/// The keys that environments and applications share.
pub(super) fn tunables(section: &mut Section<'_>, defaults: Defaults) -> Tunables {
    let patches = section.optional(
        "patches",
        "The directory of JSON patches (RFC 6902) and merge patches (RFC 7396), each with a target selector.",
        terms::directory(),
    );
    let gate = section.tunable(
        "gate",
        "What a promotion waits for: `none`, `branch` (a person merges the branch `towpath/<environment>/<application>`) or `pull-request`.",
        Words(&[("none", Gate::None), ("branch", Gate::Branch), ("pull-request", Gate::PullRequest)]),
        defaults,
        "none",
    );
    let request = section.tunable(
        "request",
        "With `gate: pull-request`: how requests about proposals are made.",
        Fields {
            sample: "{ labels: [deployment] }",
            read: request,
        },
        defaults,
        "{}",
    );
    let health = section.tunable(
        "health",
        "When a deployment is judged.",
        Fields {
            sample: "{ timeout: 10m }",
            read: health,
        },
        defaults,
        "{}",
    );
    let smoke = section.tunable(
        "smoke",
        "Requests that must be answered as expected after the rollout and before the verdict.",
        any_list(Fields {
            sample: "{ get: \"https://{application}.example.com/healthz\" }",
            read: smoke,
        }),
        defaults,
        "[]",
    );
    let on_failure = section.tunable(
        "on-failure",
        "What a failed deployment leads to: `hold` stops the unit, `rollback` takes it back to the last release that was healthy there.",
        Words(&[("hold", OnFailure::Hold), ("rollback", OnFailure::Rollback)]),
        defaults,
        "hold",
    );
    let rollback = section.tunable(
        "rollback",
        "How a rollback is written where there is a gate: through the `gate`, or `direct` to the branch.",
        Words(&[("gate", Rollback::Gate), ("direct", Rollback::Direct)]),
        defaults,
        "gate",
    );
    let freeze = section.tunable(
        "freeze",
        "Windows in which nothing comes by itself; people still may.",
        FreezeForm,
        defaults,
        "[]",
    );
    let stop_the_line = section.tunable(
        "stop-the-line",
        "How far a failure reaches: the failed `unit` alone, or every unit of the `environment`.",
        Words(&[
            ("unit", StopTheLine::Unit),
            ("environment", StopTheLine::Environment),
        ]),
        defaults,
        "unit",
    );
    let pace = section.tunable(
        "pace",
        "When a newer release replaces the running one: `newest` at once, `proven` once the running one is proven or failed.",
        Words(&[("newest", Pace::Newest), ("proven", Pace::Proven)]),
        defaults,
        "newest",
    );
    let rate = section.optional(
        "rate",
        "How many deployments the environment takes by itself in how long a time. Left out: as many as come.",
        Fields {
            sample: "{ at-most: 4, per: 1h }",
            read: rate,
        },
    );
    let min_age = section.tunable(
        "min-age",
        "How old a release's newest image must be before the release comes by itself.",
        duration(),
        defaults,
        "0s",
    );
    let evidence = section.tunable(
        "evidence",
        "What must have been found out about every image of a release before it comes here (docs/evidence.md). A person may promote it nevertheless, with `--unproven`.",
        evidence(),
        defaults,
        "[]",
    );
    let drift = section.tunable(
        "drift",
        "What happens to live objects that differ from what was applied: `correct` applies them again, `report` only says so.",
        Words(&[("correct", Drift::Correct), ("report", Drift::Report)]),
        defaults,
        "correct",
    );
    let conflicts = section.tunable(
        "conflicts",
        "What happens to fields that another manager holds: `force` takes them and names them in the record, `refuse` refuses the apply.",
        Words(&[("force", Conflicts::Force), ("refuse", Conflicts::Refuse)]),
        defaults,
        "force",
    );
    let prune = section.tunable(
        "prune",
        "What may be deleted.",
        Fields {
            sample: "{ limit: 10 }",
            read: match defaults {
                Defaults::Apply => prune,
                Defaults::Leave => prune_of_application,
            },
        },
        defaults,
        "{}",
    );
    let adopt = section.tunable(
        "adopt",
        "What live objects may be taken over: `auto` takes those that no engine marked without asking, `flux`, `argocd` and `helm` those that this engine marked. Left out: none without `towpath adopt`.",
        adoptions(),
        defaults,
        "[]",
    );
    let image_fields = section.tunable(
        "image-fields",
        "Fields of custom resources that hold an image.",
        any_list(Fields {
            sample: "{ kind: Rollout, group: argoproj.io, path: /spec/template/spec/containers/*/image }",
            read: image_field,
        }),
        defaults,
        "[]",
    );
    Tunables {
        patches,
        gate,
        request: request.map(|at| Arc::new(at.value)),
        health: health.map(|at| at.value),
        smoke: smoke.map(|at| values(at.value)),
        on_failure: on_failure.map(|at| at.value),
        rollback: rollback.map(|at| at.value),
        freeze: freeze.map(|at| at.value),
        stop_the_line: stop_the_line.map(|at| at.value),
        pace: pace.map(|at| at.value),
        rate: rate.map(|at| at.value),
        min_age: min_age.map(|at| at.value),
        evidence: evidence.map(|at| values(at.value)),
        drift: drift.map(|at| at.value),
        conflicts: conflicts.map(|at| at.value),
        prune: prune.map(|at| at.value),
        adopt: adopt.map(|at| at.value),
        image_fields: image_fields.map(|at| values(at.value)),
    }
}

impl Section<'_> {
    fn tunable<F: Form>(
        &mut self,
        key: &'static str,
        about: &str,
        form: F,
        defaults: Defaults,
        default: &str,
    ) -> Option<At<F::Value>> {
        match defaults {
            Defaults::Apply => self.or(key, about, form, default),
            Defaults::Leave => self.optional(key, about, form),
        }
    }
}

fn rate(section: &mut Section<'_>) -> Option<Rate> {
    let at_most = section.required(
        "at-most",
        "So many deployments, from 1 to 20.",
        Text {
            wanted: "a number of deployments",
            sample: "4",
            parse: |text| match text.parse() {
                Ok(number @ 1..=Rate::AT_MOST) => Ok(number),
                _ => Err(Wrong::new(
                    format!("{} is not a number from 1 to 20", quote(text)),
                    "write `at-most: 4`",
                )),
            },
            schema: || json!({ "type": "integer", "minimum": 1, "maximum": Rate::AT_MOST }),
        },
    );
    let per = section.required("per", "In so long a time.", a_second_or_more());
    Some(Rate {
        at_most: at_most?.value,
        per: per?.value,
    })
}

fn prune(section: &mut Section<'_>) -> Option<Prune> {
    let prune = prune_of_application(section);
    let removed = section.or(
        "removed",
        "Whether the objects of an application that is taken out of the configuration are deleted. They are left running and reported otherwise.",
        Flag,
        "false",
    );
    Some(Prune {
        removed: removed?.value,
        ..prune?
    })
}

fn prune_of_application(section: &mut Section<'_>) -> Option<Prune> {
    section.hint(
        "removed",
        "write it in environment.yaml: an application that is taken out says nothing any more",
    );
    let limit = section.optional(
        "limit",
        "The most objects one apply may delete. Left out: the larger of 10 and a tenth of the set.",
        count(),
    );
    let confirm = section.or(
        "confirm",
        "Kinds that are deleted only after `towpath approve --prune`, in addition to Namespace, PersistentVolumeClaim, PersistentVolume, StatefulSet, CustomResourceDefinition and Services of type LoadBalancer.",
        any_list(kind()),
        "[]",
    );
    Some(Prune {
        limit: limit.map(|limit| limit.value),
        confirm: values(confirm?.value).into_iter().collect(),
        removed: false,
    })
}

fn adoptions() -> impl Form<Value = Adopt> {
    let words = Words(&[
        ("auto", "auto"),
        ("flux", "flux"),
        ("argocd", "argocd"),
        ("helm", "helm"),
    ]);
    Mapped {
        form: List {
            item: words,
            empty: true,
            alone: true,
        },
        into: |words| {
            let mut adopt = Adopt::default();
            for word in values(words) {
                match word {
                    "auto" => adopt.auto = true,
                    engine if adopt.engines.iter().any(|known| known == engine) => {}
                    engine => adopt.engines.push(engine.to_owned()),
                }
            }
            adopt
        },
    }
}

fn image_field(section: &mut Section<'_>) -> Option<ImageField> {
    let kind = section.required("kind", "The object's kind.", text("a kind", "Rollout"));
    let group = section.or(
        "group",
        "The object's API group; empty for the core group.",
        any_text("an API group", "argoproj.io"),
        "\"\"",
    );
    let path = section.required(
        "path",
        "A JSON pointer to the image, in which `*` stands for every element of a list.",
        terms::pointer(),
    );
    Some(ImageField {
        kind: kind?.value,
        group: group?.value,
        path: path?.value,
    })
}
