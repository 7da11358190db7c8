//! Forges: one contract for all of them.

mod contract;
mod simulated;
