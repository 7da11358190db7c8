//! The key `evidence`: what an environment asks to be found out about a release before it comes.

use serde_json::json;

use super::form::{Text, Wrong, a_second_or_more};
use super::list::{List, any_list};
use super::problem::quote;
use super::section::{Fields, Section};
use crate::model::EvidenceRule;
use crate::model::evidence::Asks;

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
    Some(EvidenceRule {
        asks: asks?.value,
        max_age: max_age.map(|at| at.value),
    })
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
