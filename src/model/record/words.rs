//! The words of the written form, stable for scripts.

use std::str::FromStr;

use super::{Cause, InvalidRecord, Statement, Verdict};

impl Statement {
    /// The word in records.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Adopted { .. } => "adopted",
            Self::Deployment { .. } => "deployment",
            Self::Verdict { .. } => "verdict",
            Self::Degraded { .. } => "degraded",
            Self::Proposed { .. } => "proposed",
            Self::Withdrawn { .. } => "withdrawn",
            Self::Declined { .. } => "declined",
            Self::Pinned { .. } => "pinned",
            Self::Unpinned { .. } => "unpinned",
            Self::Held { .. } => "held",
            Self::Resumed { .. } => "resumed",
            Self::Frozen { .. } => "frozen",
            Self::Thawed { .. } => "thawed",
            Self::Retried { .. } => "retried",
            Self::Promoted(_) => "promoted",
            Self::Ungated { .. } => "ungated",
            Self::Took { .. } => "took",
            Self::ApprovedPrune { .. } => "approved-prune",
            Self::ApprovedAdoption { .. } => "approved-adoption",
            Self::Evidence { .. } => "evidence",
            Self::Refused { .. } => "refused",
            Self::Annotated { .. } => "annotated",
        }
    }
}

impl Cause {
    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Automation => "automation",
            Self::Merge => "merge",
            Self::Hand => "hand",
            Self::Rollback => "rollback",
        }
    }
}

impl FromStr for Cause {
    type Err = InvalidRecord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [
            Self::Baseline,
            Self::Automation,
            Self::Merge,
            Self::Hand,
            Self::Rollback,
        ]
        .into_iter()
        .find(|cause| cause.as_str() == text)
        .ok_or_else(|| InvalidRecord::Unknown(format!("cause {text}")))
    }
}

impl Verdict {
    /// The word in records.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Healthy { .. } => "healthy",
            Self::Failed { .. } => "failed",
            Self::Superseded => "superseded",
        }
    }
}
