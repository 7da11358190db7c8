//! The one integration binary: a module per feature.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a helper of tests fails as the tests themselves do"
)]

mod git;
