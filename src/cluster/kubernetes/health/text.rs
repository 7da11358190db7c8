//! What others wrote, made fit for one line in front of a person.

use crate::shown;

/// Longer messages are cut: scheduler and admission can fill pages.
const LENGTH_MAX: usize = 400;

/// One line that deceives nobody, without a full stop at its end, cut where it is long.
pub(in crate::cluster::kubernetes) fn clean(said: &str) -> String {
    let mut line = shown::on_one_line(said, LENGTH_MAX);
    line.truncate(line.trim_end_matches('.').len());
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
            ("\u{1b}[31mred\u{1b}[0m", "\\u{1b}[31mred\\u{1b}[0m"),
            ("größe", "größe"),
            ("", ""),
        ] {
            assert_eq!(clean(said), expected);
        }
        let long = clean(&"ä ".repeat(400));
        assert!(long.ends_with("ä…") && long.len() < 410, "{long}");
    }
}
