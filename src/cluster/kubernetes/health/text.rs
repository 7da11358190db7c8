//! What others wrote, made fit for one line in front of a person.

/// Longer messages are cut: scheduler and admission can fill pages.
const LENGTH_MAX: usize = 400;

/// One line without control characters (they could steer a terminal) and without a full stop at its end,
/// cut where it is long.
pub(in crate::cluster::kubernetes) fn clean(said: &str) -> String {
    let mut line = String::new();
    let mut is_after_space = true;
    for letter in said.chars() {
        if line.len() >= LENGTH_MAX {
            line.truncate(line.trim_end().len());
            line.push('…');
            return line;
        }
        let is_space = letter.is_whitespace() || letter.is_control();
        if !is_space {
            line.push(letter);
        } else if !is_after_space {
            line.push(' ');
        }
        is_after_space = is_space;
    }
    line.truncate(line.trim_end().trim_end_matches('.').len());
    line
}

/// `Reason: message`, or the one of them that is there.
pub(super) fn reason(reason: &str, message: &str) -> String {
    match (reason.is_empty(), message.is_empty()) {
        (false, false) => clean(&format!("{reason}: {message}")),
        (true, _) => clean(message),
        (_, true) => clean(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_fits_one_line() {
        for (said, expected) in [
            ("  a\n\n b.\t", "a b"),
            ("\u{1b}[31mred\u{1b}[0m", "[31mred [0m"),
            ("größe", "größe"),
            ("", ""),
        ] {
            assert_eq!(clean(said), expected);
        }
        let long = clean(&"ä ".repeat(400));
        assert!(long.ends_with("ä…") && long.len() < 410, "{long}");
    }
}
