//! Who decides: the planner, and the check that looks at its plans once more. A simulation puts others there, to see
//! that their mistakes are found.

use jiff::Timestamp;

use crate::model::Pipeline;
use crate::plan::check::{self, Finding};
use crate::plan::{self, Plan, World};

/// See the module. Without more it is the one and only planner.
#[derive(Debug, Clone, Copy)]
pub struct Planner {
    /// Decides.
    pub plan: fn(&Pipeline, &World, Timestamp) -> Plan,
    /// Finds what a plan would break.
    pub check: fn(&Pipeline, &World, &Plan, Timestamp) -> Vec<Finding>,
}

impl Default for Planner {
    fn default() -> Self {
        Self {
            plan: plan::plan,
            check: check::check,
        }
    }
}
