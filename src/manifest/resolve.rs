//! What an unquoted scalar means.
//!
//! A manifest means here what it means to `kubectl`: its reader
//! ([go-yaml v2](https://github.com/kubernetes-sigs/yaml/blob/master/goyaml.v2/resolve.go)) still
//! knows YAML 1.1's `yes`, `on` and `0644`. Reading `defaultMode: 0644` as text would make the
//! cluster refuse manifests that work everywhere else.

use serde_json::{Number, Value};

/// The value of an unquoted, untagged scalar; `None` for a number that JSON cannot hold.
pub(super) fn plain(text: &str) -> Option<Value> {
    let Some(first) = text.bytes().next() else {
        return Some(Value::Null);
    };
    match first {
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => {
            Some(word(text).unwrap_or_else(|| text.into()))
        }
        b'0'..=b'9' | b'+' | b'-' | b'.' => match number(text) {
            Numeric::Value(value) => Some(value),
            Numeric::Text => Some(text.into()),
            Numeric::Unreadable => None,
        },
        _ => Some(text.into()),
    }
}

fn word(text: &str) -> Option<Value> {
    Some(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Value::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        "~" | "null" | "Null" | "NULL" => Value::Null,
        _ => return None,
    })
}

enum Numeric {
    Value(Value),
    Text,
    Unreadable,
}

fn number(text: &str) -> Numeric {
    let digits: String = text.chars().filter(|&c| c != '_').collect();
    let (negative, magnitude) = match digits.strip_prefix(['+', '-']) {
        Some(rest) => (digits.starts_with('-'), rest),
        None => (false, digits.as_str()),
    };
    match magnitude {
        ".inf" | ".Inf" | ".INF" => return Numeric::Unreadable,
        ".nan" | ".NaN" | ".NAN" if digits.len() == magnitude.len() => return Numeric::Unreadable,
        _ => {}
    }
    match integer(negative, magnitude) {
        Some(Some(number)) => return Numeric::Value(Value::Number(number)),
        // An integer beyond 64 bits would silently lose digits as a float.
        Some(None) => return Numeric::Unreadable,
        None => {}
    }
    // A float that begins with a dot is read as written, underscores included, which makes it text.
    if !is_float(magnitude) || (text.starts_with('.') && text.contains('_')) {
        return Numeric::Text;
    }
    match digits.parse::<f64>().ok().and_then(float) {
        Some(number) => Numeric::Value(Value::Number(number)),
        // Beyond a float's range it is text to kubectl too: an abbreviated commit id like `1e99999`.
        None => Numeric::Text,
    }
}

/// `None`: not an integer. `Some(None)`: an integer that 64 bits cannot hold.
fn integer(negative: bool, magnitude: &str) -> Option<Option<Number>> {
    let (radix, digits) = match magnitude.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &magnitude[2..]),
        [b'0', b'b' | b'B', ..] => (2, &magnitude[2..]),
        [b'0', b'o' | b'O', ..] => (8, &magnitude[2..]),
        [b'0', _, ..] => (8, &magnitude[1..]),
        _ => (10, magnitude),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let Ok(value) = u64::from_str_radix(digits, radix) else {
        return Some(None);
    };
    Some(match negative {
        false => Some(value.into()),
        true => 0i64.checked_sub_unsigned(value).map(Number::from),
    })
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent_ok = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    let mantissa_ok = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && all_digits(fraction),
        Some((whole, fraction)) => all_digits(whole) && all_digits(fraction),
        None => !mantissa.is_empty() && all_digits(mantissa),
    };
    exponent_ok && mantissa_ok
}

/// A whole float becomes an integer, as Go writes it into JSON: `1.0` is `1` to the cluster.
fn float(value: f64) -> Option<Number> {
    // 2^53: up to here every whole float is exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "checked to be whole and small"
        )]
        return Some((value as i64).into());
    }
    Number::from_f64(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unquoted_scalars_mean_what_kubectl_reads() {
        for (text, expected) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("Null", json!(null)),
            ("true", json!(true)),
            ("yes", json!(true)),
            ("off", json!(false)),
            ("yEs", json!("yEs")),
            ("0", json!(0)),
            ("-0", json!(0)),
            ("-17", json!(-17)),
            ("+17", json!(17)),
            ("0644", json!(420)),
            ("0o644", json!(420)),
            ("0888", json!(888)),
            ("0x1F", json!(31)),
            ("0b101", json!(5)),
            ("1_000", json!(1000)),
            ("18446744073709551615", json!(u64::MAX)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("1.0", json!(1)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1.", json!(1)),
            ("1e3", json!(1000)),
            ("1e-3", json!(0.001)),
            ("1.2.3", json!("1.2.3")),
            ("1e", json!("1e")),
            ("-", json!("-")),
            (".", json!(".")),
            ("100m", json!("100m")),
            ("2024-01-02", json!("2024-01-02")),
            ("1:30", json!("1:30")),
            ("é", json!("é")),
            ("0x", json!("0x")),
            ("1e99999", json!("1e99999")),
        ] {
            assert_eq!(plain(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn numbers_that_json_cannot_hold_are_refused() {
        for text in [
            ".inf",
            "-.Inf",
            ".nan",
            "18446744073709551616",
            "-9223372036854775809",
        ] {
            assert_eq!(plain(text), None, "{text}");
        }
    }
}
