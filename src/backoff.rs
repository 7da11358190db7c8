//! How long whoever failed rests before it tries again: twice as long each time, up to a most.

use std::time::Duration;

/// The rest before the try that follows so many failed ones: `first` after the first of them
/// (`retries` = 0), twice that after the second, never more than `most`.
pub(crate) fn backoff(first: Duration, retries: u32, most: Duration) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(retries));
    doubled.min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rest_is_twice_as_long_until_the_most() {
        let rest =
            |retries| backoff(Duration::from_secs(1), retries, Duration::from_secs(60)).as_secs();
        let rests: Vec<_> = [0, 1, 2, 5, 6, 7, 31, 32, u32::MAX]
            .into_iter()
            .map(rest)
            .collect();
        assert_eq!(rests, [1, 2, 4, 32, 60, 60, 60, 60, 60]);
    }
}
