//! Label selectors as `kubectl --selector` takes them.

use serde_json::Value;

/// Requirements on labels, all of which must hold
/// ([labels and selectors](https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    /// Also true where the label is absent.
    NotIn(Vec<String>),
}

impl Selector {
    /// Reads `a=b,c!=d,e in (f,g),h notin (i),j,!k`; `None` if it is malformed.
    pub(super) fn parse(text: &str) -> Option<Self> {
        split(text)?
            .into_iter()
            .map(requirement)
            .collect::<Option<_>>()
            .map(Self)
    }

    /// Whether an object's `metadata.labels` match.
    pub(super) fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| object.get("metadata")?.get("labels")?.get(key)?.as_str();
        self.0.iter().all(|requirement| {
            let value = label(&requirement.key);
            let listed = |values: &[String]| {
                value.is_some_and(|value| values.iter().any(|listed| listed == value))
            };
            match &requirement.test {
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
                Test::In(values) => listed(values),
                Test::NotIn(values) => !listed(values),
            }
        })
    }
}

/// Splits at the commas outside of parentheses.
fn split(text: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let (mut start, mut open) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            '(' if !open => open = true,
            ')' if open => open = false,
            '(' | ')' => return None,
            ',' if !open => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!open).then_some(parts)
}

fn requirement(text: &str) -> Option<Requirement> {
    let text = text.trim();
    let (key, test) = if let Some(key) = text.strip_prefix('!') {
        (key, Test::Absent)
    } else if let Some((key, value)) = text.split_once("!=") {
        (key, Test::NotIn(vec![word(value, true)?]))
    } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        (key, Test::In(vec![word(value, true)?]))
    } else if let Some((head, list)) = text.split_once('(') {
        let values = list
            .strip_suffix(')')?
            .split(',')
            .map(|value| word(value, true));
        let values = values.collect::<Option<_>>()?;
        let (key, operator) = head.trim().rsplit_once(char::is_whitespace)?;
        match operator {
            "in" => (key, Test::In(values)),
            "notin" => (key, Test::NotIn(values)),
            _ => return None,
        }
    } else {
        (text, Test::Exists)
    };
    Some(Requirement {
        key: word(key, false)?,
        test,
    })
}

fn word(text: &str, may_be_empty: bool) -> Option<String> {
    let text = text.trim();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let empty_ok = may_be_empty || !text.is_empty();
    (empty_ok && text.bytes().all(allowed)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_match_as_kubectl_does() {
        let object = json!({"metadata": {"labels": {"app": "web", "tier": "front", "x/y": ""}}});
        for (selector, expected) in [
            ("app=web", true),
            ("app == web, tier!=back", true),
            ("app=api", false),
            ("none!=x", true),
            ("app in (api, web)", true),
            ("app notin (api,web)", false),
            ("none notin (a)", true),
            ("x/y", true),
            ("x/y=", true),
            ("!app", false),
            ("!none,tier", true),
        ] {
            assert_eq!(
                Selector::parse(selector).unwrap().matches(&object),
                expected,
                "{selector}"
            );
        }
        assert!(!Selector::parse("app").unwrap().matches(&json!({})));
    }

    #[test]
    fn malformed_selectors_are_refused() {
        for text in [
            "", "a,", "a in b", "a in (b", "a)", "a is (b)", "a=b=c", "!", "in (a)", "a b",
        ] {
            assert_eq!(Selector::parse(text), None, "{text}");
        }
    }
}
