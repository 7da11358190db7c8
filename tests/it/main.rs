//! The one integration binary: a module per feature.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod manifest;
