//! The key `evidence`: what an environment asks to be found out about a release before it comes; and whether the forge
//! that a rule asks is known.

use std::time::Duration;

use serde_json::json;

use super::credential::login;
use super::form::{At, Text, Wrong, a_second_or_more};
use super::list::{List, any_list};
use super::problem::{Problems, quote};
use super::resolve::{Unit, forges_by_host, source_forge};
use super::section::{Fields, Section};
use super::terms;
use crate::model::evidence::{Asks, DIGEST};
use crate::model::{EvidenceCheck, EvidenceEndpoint, EvidenceRule, EvidenceSource, RepositoryUrl};
use crate::shown::is_deceptive;

/// The name of a check is not longer than this, in bytes: as long as Gitea keeps a status's context.
const CHECK_MAX: usize = 255;

/// A rule as it is stated.
#[derive(Debug, Clone)]
pub(super) struct Declared {
    asks: Asks,
    max_age: Option<Duration>,
    from: Option<From>,
}

/// Whose answer alone counts.
#[derive(Debug, Clone)]
enum From {
    Endpoint(EvidenceEndpoint),
    /// The check's name: where its forge is, the application says.
    Check(At<String>),
}

/// The form of `evidence`: a list of rules.
pub(super) fn evidence() -> List<Fields<Declared>> {
    any_list(Fields {
        sample: "{ rule: \"scan.critical == 0\", max-age: 7d }",
        read: rule,
    })
}

fn rule(section: &mut Section<'_>) -> Option<Declared> {
    section.hint("name", "write it as the rule: `rule: acceptance`");
    let asks = section.required(
        "rule",
        "What must hold: `NAME` (its result is `pass`), or `NAME.SCORE OPERATOR NUMBER`, where the operator is one of `>=`, `<=`, `==`, `!=`, `>` and `<`.",
        asks(),
    );
    let max_age = section.optional(
        "max-age",
        "How old it may be. Left out: any age.",
        a_second_or_more(),
    );
    let from = section.optional(
        "from",
        "Whose answer alone counts. Left out: what is recorded, and what is attached to the image.",
        Fields {
            sample: "{ get: \"https://scans.example.com/images/{digest}\" }",
            read: from,
        },
    );
    let (asks, from) = (asks?.value, from.map(|at| at.value));
    if let (Some(score), Some(From::Check(check))) = (&asks.score, &from) {
        let what = format!("a check has no scores, so that it has no `{}`", score.field);
        let instead = format!("write `rule: {}`", asks.name);
        section.reading.problems.error(&check.place, what, instead);
    }
    Some(Declared {
        asks,
        max_age: max_age.map(|at| at.value),
        from,
    })
}

fn from(section: &mut Section<'_>) -> Option<From> {
    section.hint("url", "write `get: https://…`");
    section.hint("checks", "write `check: NAME`");
    let endpoint = endpoint(section);
    let check = section.optional(
        "check",
        "The name of a check run, or the context of a status: the forge of the application's `source` is asked for it, of the commit that the image was built of.",
        check_name(),
    );
    section.not_with(
        "credential",
        "check",
        "remove it: the forge is asked as everywhere",
    );
    match section.exactly_one(&["get", "check"], "from: { check: lighthouse }") {
        true => endpoint.map(From::Endpoint).or(check.map(From::Check)),
        false => None,
    }
}

fn endpoint(section: &mut Section<'_>) -> Option<EvidenceEndpoint> {
    let get = section.optional(
        "get",
        "The address that is asked for. `{digest}` stands for the image's. It answers 200 with documents of evidence, or 404.",
        address(),
    );
    let credential = section.optional(
        "credential",
        "The name of the secret that is sent along: as a token, or with `user` as a password. Left out: none is.",
        Fields {
            sample: "{ env: SCANS_TOKEN }",
            read: login,
        },
    );
    let get = get?;
    if credential.is_some() && get.value.starts_with("http://") {
        section.reading.problems.error(
            &get.place,
            "a secret would be sent where everybody on the way can read it",
            "write `https://…`",
        );
    }
    EvidenceEndpoint::new(&get.value, credential.map(|at| at.value))
}

fn check_name() -> Text<String> {
    Text {
        wanted: "the name of a check",
        sample: "lighthouse",
        parse: |text| match text.trim() == text
            && (1..=CHECK_MAX).contains(&text.len())
            && !text.contains(is_deceptive)
        {
            true => Ok(text.to_owned()),
            false => Err(Wrong::new(
                format!("{} is not the name of a check", quote(text)),
                "write it as the forge shows it, on one line",
            )),
        },
        schema: || json!({ "minLength": 1, "maxLength": CHECK_MAX }),
    }
}

impl Declared {
    /// The rule for an application with this source; `None` where it needs one.
    pub(super) fn resolved(&self, source: Option<&RepositoryUrl>) -> Option<EvidenceRule> {
        let from = match &self.from {
            None => None,
            Some(From::Endpoint(endpoint)) => {
                Some(EvidenceSource::Endpoint(endpoint.clone().into()))
            }
            Some(From::Check(check)) => Some(EvidenceSource::Check(
                EvidenceCheck {
                    source: source?.clone(),
                    name: check.value.clone(),
                    evidence: self.asks.name.clone(),
                }
                .into(),
            )),
        };
        Some(EvidenceRule {
            asks: self.asks.clone(),
            max_age: self.max_age,
            from,
        })
    }
}

/// Checks are asked for where the application's source lives, of a forge that is known.
pub(super) fn checks_have_a_forge(units: &[Unit<'_>], problems: &mut Problems) {
    let forges = forges_by_host(units);
    for unit in units {
        let application = &unit.application.name.value;
        let rules = unit.tunables.evidence.iter().flatten();
        for rule in rules {
            let Some(From::Check(At { place, .. })) = &rule.from else {
                continue;
            };
            let Some(source) = &unit.application.source else {
                let what = format!(
                    "`{application}` has no `source`, of whose commits this could be asked"
                );
                problems.error(place, what, format!("name the `source` of `{application}`"));
                continue;
            };
            if source_forge(source, &forges).is_some() {
                continue;
            }
            let url = &source.url;
            let (what, instead) = match url.host() {
                Some(_) => (
                    "nothing tells what serves",
                    format!("write `source: {{ url: {url}, forge: github }}`, or `forge: gitea`"),
                ),
                None => (
                    "no forge serves",
                    "take `from` out, or ask somebody else with `get`".to_owned(),
                ),
            };
            let what = format!("{what} {url}, the `source` of `{application}`");
            problems.error(place, what, instead);
        }
    }
}

fn address() -> Text<String> {
    Text {
        wanted: "an address",
        sample: "\"https://scans.example.com/images/{digest}\"",
        parse: |text| {
            let url = terms::over_http(
                &text.replace(DIGEST, "digest"),
                "remove it, and name it: `credential: { env: NAME, user: NAME }`",
            )?;
            if url.is_none() {
                return Err(Wrong::new(
                    format!("{} is not an address", quote(text)),
                    "write `https://host/path/{digest}`",
                ));
            }
            let path = text.splitn(4, '/').nth(3).unwrap_or_default();
            if !path.contains(DIGEST)
                || text.matches(DIGEST).count() != path.matches(DIGEST).count()
            {
                return Err(Wrong::new(
                    format!("{} does not say of which image", quote(text)),
                    "write `{digest}` where the image's digest is to stand, after the host",
                ));
            }
            Ok(text.to_owned())
        },
        schema: || json!({ "pattern": "^https?://[^/]+/.*\\{digest\\}" }),
    }
}

fn asks() -> Text<Asks> {
    Text {
        wanted: "a rule",
        sample: "\"scan.critical == 0\"",
        parse: |text| {
            text.parse().map_err(|error| {
                Wrong::new(
                    format!("{} is not a rule: {error}", quote(text)),
                    "write it like `acceptance`, `scan.critical == 0` or `lighthouse.performance >= 0.9`",
                )
            })
        },
        schema: || json!({ "pattern": "^[A-Za-z0-9_-]{1,63}(\\.[A-Za-z0-9_-]{1,63} *(>=|<=|==|!=|>|<) *-?[0-9]+(\\.[0-9]+)?)?$" }),
    }
}
