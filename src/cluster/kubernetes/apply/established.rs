//! Waits until the server serves the kinds that an apply has just brought.
//!
//! Only where something of the same apply is of such a kind.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::item::Item;
use super::{Hand, Work};
use crate::cluster::ClusterError;
use crate::cluster::kubernetes::refusal::Refusal;
use crate::cluster::kubernetes::request::View;

/// Where several API servers run, a new CRD is held back for 5 s so that all of them know it.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is established is told of at once, by the API server that established it.
const TOLD: Duration = Duration::from_secs(5);

/// How soon and how seldom it is looked after.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

impl Hand<'_> {
    /// Waits for the CRDs of the apply that others of its objects need.
    pub(super) async fn established(&self, work: &mut Work<'_>) -> Result<(), ClusterError> {
        let end = Instant::now() + PATIENCE;
        let Work { items, brought, .. } = work;
        for index in 0..items.len() {
            let crd = items.get(index).filter(|item| !item.later);
            let Some(defined) = crd.and_then(|item| super::stages::defined_by(item.object)) else {
                continue;
            };
            let is_needed = items.iter().any(|item| {
                let reference = &item.object.reference;
                !item.later && (&reference.group, &reference.kind) == (&defined.0, &defined.1)
            });
            if is_needed && let Err(refusal) = self.is_established(&items[index], end).await {
                let item = &items[index];
                return Err(super::error(
                    self.context.cluster,
                    &item.object.reference,
                    Some(&item.object.place),
                    refusal,
                ));
            }
        }
        let is_awaited = |item: &Item<'_>| !item.later && brought.defines(&item.object.reference);
        self.served(items, is_awaited).await
    }

    async fn is_established(&self, crd: &Item<'_>, end: Instant) -> Result<(), Refusal> {
        let (mut pause, longest) = PAUSES;
        loop {
            let found = self.sender.get(crd.target()?, View::Whole).await?;
            let found = found.ok_or(Refusal::Replaced)?;
            match standing(&found) {
                Standing::Established => return Ok(()),
                Standing::Refused(reason) => return Err(Refusal::Prevented(reason)),
                Standing::NotYet if Instant::now() >= end => {
                    return Err(Refusal::Unavailable {
                        detail: format!("it is not established after {} s", PATIENCE.as_secs()),
                        retry_after: None,
                    });
                }
                Standing::NotYet => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Asks what the cluster serves until it knows the kinds that came. What it never gets to know is
    /// told when it is judged.
    async fn served(
        &self,
        items: &mut [Item<'_>],
        is_awaited: impl Fn(&Item<'_>) -> bool,
    ) -> Result<(), ClusterError> {
        let end = Instant::now() + TOLD;
        let (mut pause, longest) = PAUSES;
        loop {
            let mut missing = false;
            for item in items.iter_mut().filter(|item| is_awaited(item)) {
                missing |= item.target().is_err() && self.find(item).await.is_err();
            }
            if !missing || Instant::now() >= end {
                return Ok(());
            }
            let refreshed = self.context.kinds.refresh().await;
            if let Err(error) = refreshed {
                return Err(ClusterError::Unavailable {
                    cluster: self.context.cluster.to_owned(),
                    detail: crate::cluster::kubernetes::answer::chain(&error),
                    retry_after: None,
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Established,
    Refused(String),
    NotYet,
}

/// What a CRD's conditions say.
fn standing(crd: &Value) -> Standing {
    let conditions = crd["status"]["conditions"].as_array();
    let is = |kind: &str, status: &str| {
        let mut conditions = conditions.into_iter().flatten();
        conditions.find(|it| it["type"] == kind && it["status"] == status)
    };
    if let Some(refused) = is("NamesAccepted", "False") {
        let message = refused["message"].as_str().unwrap_or_default();
        return Standing::Refused(format!("its names are not accepted: {message}"));
    }
    match is("Established", "True") {
        Some(_) => Standing::Established,
        None => Standing::NotYet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_crd_says_whether_it_is_served() {
        let condition =
            |kind: &str, status: &str| json!({"type": kind, "status": status, "message": "taken"});
        for (conditions, expected) in [
            (
                json!([
                    condition("NamesAccepted", "True"),
                    condition("Established", "True")
                ]),
                Standing::Established,
            ),
            (
                json!([
                    condition("NamesAccepted", "True"),
                    condition("Established", "False")
                ]),
                Standing::NotYet,
            ),
            (
                json!([condition("NamesAccepted", "False")]),
                Standing::Refused("its names are not accepted: taken".to_owned()),
            ),
            (json!(null), Standing::NotYet),
        ] {
            let crd = json!({"status": {"conditions": conditions}});
            assert_eq!(standing(&crd), expected);
        }
    }
}
