//! What commits and tags say to people. The trailers are for them too: no decision reads them.

use crate::model::record::{Record, Statement, Verdict};
use crate::model::{ApplicationName, DeploymentTags, EnvironmentName, Release};

/// The message of a commit that sets a release.
pub(super) fn commit(
    verb: &str,
    application: &ApplicationName,
    environment: &EnvironmentName,
    release: &Release,
    from: &str,
) -> String {
    let mut message = format!("{environment}: {verb} {application} {release}\n\n");
    message.push_str(&format!("Towpath-Application: {application}\n"));
    message.push_str(&format!("Towpath-Environment: {environment}\n"));
    message.push_str(&format!("Towpath-Release: {release}\n"));
    for (repository, image) in &release.images {
        message.push_str(&format!("Towpath-Digest: {repository}@{}\n", image.digest));
    }
    message.push_str(&format!("Towpath-From: {from}\n"));
    message
}

/// The message of a merge of a proposal.
pub(super) fn merge(
    application: &ApplicationName,
    environment: &EnvironmentName,
    release: &Release,
) -> String {
    format!("{environment}: merge {application} {release}\n")
}

/// The message of a deployment's tag: its outcome, then each unit's verdict, then the records it was made from.
pub(super) fn tag(verdicts: &[&Record], records: &str) -> String {
    let mut lines = Vec::new();
    let (mut failed, mut healthy) = (false, false);
    for record in verdicts {
        let Statement::Verdict {
            release, verdict, ..
        } = &record.statement
        else {
            continue;
        };
        failed |= matches!(verdict, Verdict::Failed { .. });
        healthy |= matches!(verdict, Verdict::Healthy { .. });
        let application = record
            .application
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        let release = release
            .as_ref()
            .map_or("an unknown image", |release| release.name.as_str());
        lines.push(match verdict {
            Verdict::Failed { reason, .. } => {
                format!("{application} {release}: failed: {reason}")
            }
            Verdict::Healthy { exercised: false } => {
                format!("{application} {release}: healthy, not exercised")
            }
            other => format!("{application} {release}: {}", other.as_str()),
        });
    }
    let outcome = match (failed, healthy) {
        (true, _) => "Failed Deployment",
        (false, true) => "Successfully Deployed",
        (false, false) => "Superseded Deployment",
    };
    format!(
        "{outcome}\n\n{}\n\n{} {records}\n",
        lines.join("\n"),
        DeploymentTags::RECORDS
    )
}
