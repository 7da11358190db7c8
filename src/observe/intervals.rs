//! How often sources are read, whoever tells of news or does not.

use std::time::Duration;

/// How often sources are read without being told to, and how long doing anything about it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// Git repositories.
    pub git: Duration,
    /// Image registries.
    pub registry: Duration,
    /// Clusters, beside being watched.
    pub cluster: Duration,
    /// Forges.
    pub forge: Duration,
    /// How long a turn of a loop may take: rounds and looks do not wait for anything within one.
    pub turn: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        let half_a_minute = Duration::from_secs(30);
        Self {
            git: half_a_minute,
            registry: half_a_minute,
            cluster: half_a_minute,
            forge: half_a_minute,
            turn: Duration::from_secs(60),
        }
    }
}
