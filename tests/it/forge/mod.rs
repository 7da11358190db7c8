//! Forges: one contract for all of them.

mod contract;
mod github;
mod simulated;
