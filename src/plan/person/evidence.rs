//! What somebody found out about an image, as the record that states it.

use super::Person;
use crate::model::record::Statement;
use crate::model::{Digest, Finding};
use crate::plan::{Step, Walk};

impl Person<'_> {
    /// The record of evidence. Taken of any image, also of one that no release is known of yet.
    ///
    /// # Errors
    /// That no rule of the environment asks for it, or why it cannot be recorded now, in one sentence.
    pub fn found(&self, digest: &Digest, finding: &Finding) -> Result<Step, String> {
        self.with(|unit| {
            let (infra, _) = unit.read()?;
            let rules = unit.environment.evidence.iter();
            let rules = rules.filter(|rule| rule.from.is_none());
            let mut names: Vec<_> = rules.map(|rule| rule.asks.name.as_str()).collect();
            names.dedup();
            if !names.contains(&finding.name.as_str()) {
                let asked = match names.is_empty() {
                    true => "it has no rules of evidence that people say".to_owned(),
                    false => format!("its rules ask for {}", names.join(", ")),
                };
                return Walk::Continue(Err(format!(
                    "nothing asks for `{}` in {}: {asked}",
                    finding.name, self.environment
                )));
            }
            let statement = Statement::Evidence {
                digest: *digest,
                finding: finding.clone(),
            };
            Walk::Continue(Ok(self.say(infra, statement)))
        })
    }
}
