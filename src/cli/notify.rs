//! `towpath notify`: whether those who are told of news can be told.

use std::io::Write;

use anyhow::{Result, bail};

use super::exit;
use super::names;
use super::setup::Setup;
use crate::clock;
use crate::model::NotificationName;
use crate::notifications;

/// Send a message that only tests
///
/// To one of `notifications` in towpath.yaml, as Towpath would send news to it: with its address, its form and its
/// signature. Nothing is written down. Exit code 1 where it is not taken, with what was answered.
///
/// `towpath check --online` looks whether each of them can be connected to, and sends nothing.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The notification's name
    #[arg(long, value_name = "NAME")]
    test: NotificationName,
}

/// Sends it.
///
/// # Errors
/// There is no such notification, or it is not taken.
pub async fn run(args: &Args, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let all = &setup.config.settings.notifications;
    let name = &args.test;
    let Some(notification) = all.iter().find(|it| it.name == *name) else {
        if all.is_empty() {
            bail!("there is no notification: write some in towpath.yaml (docs/notifications.md)");
        }
        let known = all.iter().map(|it| it.name.as_str());
        let instead = names::instead(name.as_str(), "there are", known);
        bail!("there is no notification `{name}`: {instead}");
    };
    match notifications::test(&setup.outward()?, notification, clock::now()).await {
        Ok(()) => writeln!(out, "{name} took it")?,
        Err(why) => bail!("{name} did not take it: {why}"),
    }
    Ok(exit::OK)
}
