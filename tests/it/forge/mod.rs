//! Forges: one contract for all of them.

mod contract;
mod gitea;
mod github;
mod simulated;
