//! The key `evidence`: what an environment asks to be found out about a release before it comes.

use serde_json::json;

use super::credential::login;
use super::form::{Text, Wrong, a_second_or_more};
use super::list::{List, any_list};
use super::problem::quote;
use super::section::{Fields, Section};
use super::terms;
use crate::model::evidence::{Asks, DIGEST};
use crate::model::{EvidenceEndpoint, EvidenceRule};

/// The form of `evidence`: a list of rules.
pub(super) fn evidence() -> List<Fields<EvidenceRule>> {
    any_list(Fields {
        sample: "{ rule: \"scan.critical == 0\", max-age: 7d }",
        read: rule,
    })
}

fn rule(section: &mut Section<'_>) -> Option<EvidenceRule> {
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
            read: endpoint,
        },
    );
    Some(EvidenceRule {
        asks: asks?.value,
        max_age: max_age.map(|at| at.value),
        from: from.map(|at| at.value.into()),
    })
}

fn endpoint(section: &mut Section<'_>) -> Option<EvidenceEndpoint> {
    section.hint("url", "write `get: https://…`");
    let get = section.required(
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
