//! The one integration binary: a module per feature.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod config;
