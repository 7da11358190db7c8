//! What expressions mean, which texts are none, and that none runs away.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{Expression, Fault};

fn object() -> Json {
    json!({
        "kind": "Thing",
        "metadata": { "name": "web", "labels": { "app": "web", "a.b/c": "1" }, "generation": 3 },
        "spec": { "replicas": 3, "ratio": 0.5, "big": u64::MAX, "none": null, "list": [1, 2, 2.0, "x"] },
        "status": {
            "phase": "Running",
            "conditions": [
                { "type": "Ready", "status": "True", "observedGeneration": 3 },
                { "type": "Synced", "status": "False", "reason": "Größe" },
            ],
        },
    })
}

/// `true`, `false`, `missing …`, `fault …` or `invalid …`.
fn outcome(text: &str) -> String {
    let expression = match Expression::parse(text) {
        Ok(expression) => expression,
        Err(invalid) => return format!("invalid, {invalid}"),
    };
    match expression.holds(&object()) {
        Ok(it) => it.to_string(),
        Err(Fault::Missing(what)) => format!("missing {what}"),
        Err(fault) => format!("fault: {fault}"),
    }
}

#[test]
fn expressions_mean_what_cel_says() {
    for (text, expected) in [
        // Expressions as they stand in health checks of other engines.
        (
            "status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'True')",
            "true",
        ),
        (
            "status.conditions.exists(e, e.type == 'Synced' && e.status == 'False')",
            "true",
        ),
        (
            "has(status.conditions) && status.conditions.exists_one(c, c.type == \"Ready\" && c.observedGeneration == metadata.generation)",
            "true",
        ),
        ("status.phase in ['Running', 'Succeeded']", "true"),
        (
            "status.conditions.map(c, c.type) == ['Ready', 'Synced']",
            "true",
        ),
        (
            "status.conditions.map(c, c.status == 'True', c.type)[0] == 'Ready'",
            "true",
        ),
        (
            "status.conditions.filter(c, has(c.reason)).size() == 1",
            "true",
        ),
        // Literals, precedence and types.
        ("1 + 2 * 3 == 7 && -7 / 2 == -3 && 7 % 4 == 3", "true"),
        ("(1 + 2) * 3 == 9 && !(1 > 2) && !!true", "true"),
        ("1.5 + 0.5 == 2 && spec.ratio < 1", "true"),
        ("true ? false : true", "false"),
        ("false ? true : 1 == 1 ? true : false", "true"),
        ("'a\\'b\\n' == \"a'b\\n\" && 'Gr\\\\' != 'Gr'", "true"),
        ("'a' + 'b' == 'ab' && 'ab' < 'b' && false < true", "true"),
        (
            "size('Größe') == 5 && size([]) == 0 && metadata.labels.size() == 2",
            "true",
        ),
        (
            "'production'.startsWith('prod') && 'web'.endsWith('b') && 'web'.contains('e')",
            "true",
        ),
        (
            "int('12') == 12 && string(12) == '12' && double('1.5') == 1.5 && int(2.9) == 2",
            "true",
        ),
        (
            "metadata.labels['a.b/c'] == '1' && 'app' in metadata.labels",
            "true",
        ),
        ("metadata.labels.all(key, size(key) > 2)", "true"),
        (
            "spec.list == [1, 2, 2, 'x'] && spec.list[3] == 'x' && !('y' in spec.list)",
            "true",
        ),
        (
            "spec == spec && spec != status && null == spec.none",
            "true",
        ),
        ("spec.big > 1 && 1 == 1.0 && 1 != '1'", "true"),
        ("[[1], [2]].exists(a, a.exists(b, b == 2))", "true"),
        ("[1, 2].all(kind, kind > 0) && kind == 'Thing'", "true"),
        ("[].all(a, false) && ![].exists(a, true)", "true"),
        ("  kind\n ==\t'Thing' ", "true"),
        // A side that decides wins over one that fails.
        ("status.nothing == 1 || true", "true"),
        ("status.nothing == 1 && false", "false"),
        ("true || status.nothing == 1", "true"),
        ("[0, 1].exists(a, 1 / a == 1)", "true"),
        ("[0, 1].all(a, 1 / a == 2)", "false"),
        // What is not there.
        ("status.nothing == 1", "missing `nothing`"),
        ("nothing.at.all == 1", "missing `nothing`"),
        ("status.nothing == 1 || false", "missing `nothing`"),
        ("status.conditions[7].type == 'x'", "missing such element"),
        ("status.conditions[-1].type == 'x'", "missing such element"),
        ("has(spec.none.deep)", "false"),
        ("has(status.nothing) || has(spec.none)", "true"),
        // What does not fit.
        (
            "status.phase",
            "fault: a text stands where true or false is needed",
        ),
        (
            "spec.replicas > 'a'",
            "fault: an integer and a text have no order",
        ),
        (
            "status.phase.more == 1",
            "fault: a text has no field `more`",
        ),
        (
            "1 + 1.0 == 2",
            "fault: an integer and a double cannot be computed with each other",
        ),
        (
            "1 / 0 == 1",
            "fault: a number is too large, or divided by zero",
        ),
        (
            "9223372036854775807 + 1 == 1",
            "fault: a number is too large, or divided by zero",
        ),
        ("kind.all(a, true)", "fault: a text has no elements"),
        ("size(1) == 1", "fault: `size` takes no integer"),
        ("int('x') == 1", "fault: `int` takes no text"),
        (
            "'a'.startsWith(1)",
            "fault: `startsWith` takes no text with integer",
        ),
        ("-'a' == 1", "fault: a text has no negative"),
        (
            "spec.list['a'] == 1",
            "fault: a list has no index that is a text",
        ),
        // What is no expression, or none of ours.
        ("", "invalid, column 1: the expression ends too early"),
        ("a ==", "invalid, column 5: the expression ends too early"),
        ("a b", "invalid, column 3: `b` does not belong here"),
        ("(a", "invalid, column 3: `)` is missing here"),
        ("a = 1", "invalid, column 3: `=` means nothing here"),
        ("a & b", "invalid, column 3: `&` means nothing here"),
        ("'a", "invalid, column 1: this text does not end"),
        ("'ä\\x'", "invalid, column 3: `\\x` is not supported"),
        (
            "1u == 1",
            "invalid, column 2: write numbers as `12` or `1.5`",
        ),
        (
            "99999999999999999999 == 1",
            "invalid, column 21: 99999999999999999999 is too large",
        ),
        ("{'a': 1} == a", "invalid, column 1: maps are not supported"),
        (
            "a.1 == 1",
            "invalid, column 3: a field's name is missing here",
        ),
        ("has(a)", "invalid, column 1: write `has(object.field)`"),
        ("in == 1", "invalid, column 1: `in` does not belong here"),
        ("a 'b'", "invalid, column 3: a text does not belong here"),
        (
            "kind.matches('T.*')",
            "invalid, column 6: `matches` with 1 argument is not supported; there are has, size, int, double, string, startsWith, endsWith, contains, all, exists, exists_one, filter and map",
        ),
    ] {
        assert_eq!(outcome(text), expected, "{text}");
    }
}

#[test]
fn texts_that_are_too_deep_or_too_long_are_refused() {
    let deep = |open: &str, close: &str| format!("{}true{}", open.repeat(60), close.repeat(60));
    for text in [
        deep("(", ")"),
        deep("!", ""),
        deep("[", "]"),
        deep("size(", ")"),
        deep("a[", "]"),
        deep("true ? true : ", ""),
        deep("true && ", ""),
        deep("", ".a"),
        deep("-", ""),
    ] {
        let outcome = outcome(&text);
        assert!(outcome.ends_with("nested too deeply"), "{text}: {outcome}");
    }
    let long = outcome(&" ".repeat(5000));
    assert_eq!(
        long,
        "invalid, column 1: an expression has at most 4096 bytes"
    );
}

#[test]
fn an_evaluation_ends_whatever_the_object_is() {
    let items: Vec<u32> = (0..20_000).collect();
    let object = json!({ "items": items, "text": "x".repeat(1 << 20) });
    for text in [
        "items.all(a, items.all(b, items.all(c, a + b + c >= 0)))",
        "items.map(a, items.map(b, items)) == []",
        "items.all(a, text + text != text)",
        "items.all(a, [items, items] == [items, items])",
        "items.all(a, a in items)",
        "[text].all(a, items.all(b, size(a) > 1))",
    ] {
        let expression = Expression::parse(text).unwrap();
        assert_eq!(expression.holds(&object), Err(Fault::TooLong), "{text}");
    }
    let few = Expression::parse("items.all(a, a >= 0)").unwrap();
    assert_eq!(few.holds(&object), Ok(true));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,40}") {
        let _unused = outcome(&text);
    }

    #[test]
    fn no_words_make_it_panic(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "status", "spec", "kind", "metadata", ".", "conditions", "list", "ratio", "[", "]", "(", ")", "0", "1",
                "-1", "9223372036854775807", "'x'", "&&", "||", "==", "<", "+", "-", "/", "%", "!", "?", ":", ",", "in",
                ".all(a,", ".map(a,", ".filter(a,", "a", "size(", "has(", "int(", "string(", "null", "true",
            ]),
            0..12,
        )
    ) {
        let _unused = outcome(&words.join(" "));
    }
}
