//! The one integration binary: a module per feature.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a helper of tests fails as the tests themselves do"
)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail the test, and say why one is skipped"
)]

mod config;
mod demo;
mod git;
mod manifest;
mod registry;
mod scenarios;
