//! The one integration binary: a module per feature.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail the test, and say why one is skipped"
)]

mod cli;
mod config;
mod day;
mod demo;
mod docs;
mod doors;
mod evidence;
mod forge;
mod git;
mod gitea;
mod github;
mod health;
mod hostile;
mod kube;
mod looks;
mod manifest;
mod online;
mod present;
mod registry;
mod request;
mod scenarios;
mod secrets;
mod serve;
mod simulation;
mod smoke;
mod teams;
mod testbed;
mod tidy;
mod wires;
