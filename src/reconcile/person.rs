//! What a person says to Towpath, written as a record like everything else: on what was looked at,
//! or not at all.

use jiff::Timestamp;

use super::Reconciler;
use crate::act::Outcome;
use crate::model::{ApplicationName, EnvironmentName, Pipeline};
use crate::plan::{Step, World};

/// How often a lost race is looked at again before it is given up.
const TRIES: usize = 5;

impl Reconciler {
    /// Writes what a person says of a unit. `say` makes it from what is observed, and is asked again
    /// where the world moved on meanwhile. What it needs must have been read.
    ///
    /// # Errors
    /// What `say` says against it, or what the repository answered.
    pub async fn say(
        &self,
        application: &ApplicationName,
        environment: &EnvironmentName,
        say: impl Fn(&Pipeline, &World) -> Result<Step, String>,
        now: Timestamp,
    ) -> Result<(), String> {
        let removed = self.removed();
        let mut all = self.pipelines.iter().chain(&removed);
        let unit = all.find_map(|towed| {
            let is_it = towed.pipeline.application.name == *application;
            let there = towed.pipeline.environment(environment).filter(|_| is_it)?;
            Some((towed, there))
        });
        let (towed, there) =
            unit.ok_or_else(|| format!("{application} does not go to `{environment}`"))?;
        for _ in 0..TRIES {
            let world = self.observatory.world(&towed.pipeline, now);
            let step = say(&towed.pipeline, &world)?;
            match self.write(towed, there, step, now).await {
                Outcome::Done(_) => return Ok(()),
                Outcome::Lost => {}
                Outcome::Failed(failure) => {
                    return Err(format!("{}: {}", failure.source, failure.why));
                }
            }
        }
        Err(format!(
            "{} changed each time it was written: try again",
            there.repository
        ))
    }
}
